"""What each kind of program may in ``fltr_auth``: the table of docs/roles.md, which a test compares."""

from __future__ import annotations

from fltr_project.catalog.access import Access

ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
READ = ("SELECT",)
TRACKING = {"django_migrations": READ, "__drizzle_migrations": READ}
SEQUENCE = "__drizzle_migrations_id_seq"

SPENDING = (
    "consume_credits",
    "consume_credits_many",
    "hold_credits",
    "refund_credits",
    "release_credits",
    "settle_credits",
    "try_consume_credits",
    "try_hold_credits",
    "try_refund_credits",
    "try_release_credits",
    "try_settle_credits",
)
GRANTING = (
    "grant_credits",
    "refund_credits",
    "reinstate_credits",
    "reverse_credits",
    "try_grant_credits",
    "try_refund_credits",
    "try_reinstate_credits",
    "try_reverse_credits",
)

# What is left out is a secret (a password, a token, the value of a verification), or a balance.
USER_SESSION = "id, user_id, expires_at, ip_address, user_agent, created_at, updated_at"
LOGIN = (
    "id, user_id, account_id, provider_id, scope, access_token_expires_at, refresh_token_expires_at,"
    " created_at, updated_at"
)
REQUEST = "id, identifier, expires_at, created_at, updated_at"
TEAM = "name, owner_id, created_at, updated_at"
KEY = "user_id, team_id, daily_limit, monthly_limit, created_at, updated_at"

APP = Access(
    tables={
        "users": ("SELECT", "INSERT", "UPDATE"),
        "sessions": ALL,
        "accounts": ALL,
        "verifications": ALL,
        "subscriptions": ALL,
        "teams": ("SELECT", f"INSERT (id, {TEAM})", f"UPDATE ({TEAM})"),
        "user_credits": ("SELECT", "UPDATE (team_id, updated_at)"),
        "credit_transactions": READ,
        "api_key_credits": (
            "SELECT",
            f"INSERT (api_key, {KEY})",
            "UPDATE (daily_limit, monthly_limit, updated_at)",
        ),
        **TRACKING,
    },
    functions=SPENDING,
)
BILLING = Access(
    tables={
        "users": ("SELECT", "UPDATE (stripe_customer_id, updated_at)"),
        "subscriptions": ALL,
        "teams": READ,
        "user_credits": READ,
        "credit_transactions": READ,
        "api_key_credits": READ,
        **TRACKING,
    },
    functions=GRANTING,
)
AUDITOR = Access(
    tables={
        "users": READ,
        "sessions": (f"SELECT ({USER_SESSION})",),
        "accounts": (f"SELECT ({LOGIN})",),
        "verifications": (f"SELECT ({REQUEST})",),
        "subscriptions": READ,
        "teams": READ,
        "user_credits": READ,
        "credit_transactions": READ,
        # A key's ledger is found by the key.
        "api_key_credits": READ,
        **TRACKING,
    },
    sequences={SEQUENCE: READ},
)
WRITER = Access(
    tables={
        "users": ALL,
        "sessions": ALL,
        "accounts": ALL,
        "verifications": ALL,
        "subscriptions": ALL,
        "teams": ALL,
        "user_credits": ALL,
        # Its rows are never changed, and go with their user.
        "credit_transactions": ("SELECT", "INSERT"),
        "api_key_credits": ALL,
        "django_migrations": READ,
        "__drizzle_migrations": ("SELECT", "INSERT"),
    },
    functions=tuple(sorted({*SPENDING, *GRANTING})),
    sequences={SEQUENCE: ("SELECT", "USAGE")},
    new={"tables": ALL, "sequences": ("SELECT", "USAGE")},
)


def kinds() -> dict[str, Access]:
    return {"app": APP, "billing": BILLING, "auditor": AUDITOR, "writer": WRITER}
