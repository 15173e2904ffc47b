"""The guards that the contract lists for the credit tables, each with a check of its own.

A guard must stand in the live catalog as in the contract, enabled and valid, and must refuse the
write that it is there for, with its SQLSTATE. So whatever guard is missing, the check of that guard
fails, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from django.db import connections

from fltr_project.schema import contract
from fltr_project.schema.facts import (
    Check,
    DisabledTrigger,
    Fact,
    ForeignKey,
    Index,
    Key,
    Trigger,
)

from . import credits as ledger
from .smoke_live import MARK, Live, Wrong, expect, expect_account, raw_user, refused

TABLES = ("users", "user_credits", "teams", "api_key_credits", "credit_transactions")
# Where rows of a user are, and by which column.
OWNED = {
    "teams": "owner_id",
    "user_credits": "user_id",
    "api_key_credits": "user_id",
    "credit_transactions": "user_id",
}


def present(live: Live, fact: Fact) -> None:
    """The live catalog holds what the contract's fact does, not less: enabled, valid, enforced."""
    if fact.table not in live.catalog.tables:
        raise Wrong(f"{fact.object} is missing, with its table")
    finding = live.faults.get(fact)
    if finding is not None:
        what = (
            f"is {finding.found}, and has to be {finding.expected}"
            if finding.found
            else "is missing"
        )
        raise Wrong(f"{fact.object} {what}")


# By the constraint's name in the contract: a write that it refuses, as any client may send it.
_ENTRY = (
    "INSERT INTO public.credit_transactions (user_id, amount, type{0}) VALUES (%(user)s, {1}{2})"
)
_KEY = (
    "INSERT INTO public.api_key_credits (api_key, user_id, {0})"
    " VALUES ('smoke_credits-bad', %(user)s, -1)"
)
BAD_WRITES = {
    "user_credits_credits_check": "UPDATE public.user_credits SET credits = -1"
    " WHERE user_id = %(user)s",
    "user_credits_total_credits_purchased_check": "UPDATE public.user_credits"
    " SET total_credits_purchased = -1 WHERE user_id = %(user)s",
    "teams_credits_check": "INSERT INTO public.teams (name, owner_id, credits)"
    " VALUES ('smoke_credits', %(user)s, -1)",
    "api_key_credits_credits_check": _KEY.format("credits"),
    "api_key_credits_daily_limit_check": _KEY.format("daily_limit"),
    "api_key_credits_monthly_limit_check": _KEY.format("monthly_limit"),
    "api_key_credits_spent_check": _KEY.format("spent_that_month"),
    "credit_transactions_amount_check": _ENTRY.format("", "0", ", 'bonus'"),
    "credit_transactions_amount_type_check": _ENTRY.format("", "5", ", 'usage'"),
    "credit_transactions_type_check": _ENTRY.format("", "5", ", 'gift'"),
    "credit_transactions_payer_check": _ENTRY.format(", payer", "5", ", 'bonus', 'bank'"),
    "credit_transactions_payer_api_key_id_check": _ENTRY.format(
        ", payer", "5", ", 'bonus', 'api_key'"
    ),
    "credit_transactions_balance_after_check": _ENTRY.format(
        ", balance_after", "5", ", 'bonus', -1"
    ),
    "credit_transactions_idempotency_key_check": _ENTRY.format(
        ", idempotency_key", "5", ", 'bonus', ''"
    ),
    # A link that is no refund; the trigger that limits refunds has to let it pass to the check.
    "credit_transactions_refund_of_type_check": _ENTRY.format(
        ", refund_of", "1", ", 'bonus', %(usage)s"
    ),
}


def _check_constraint(fact: Check, live: Live) -> str:
    present(live, fact)
    with refused(live, "23514", "a row that breaks it"), connections[live.using].cursor() as cursor:
        cursor.execute(BAD_WRITES[fact.name], {"user": live.spender, "usage": live.usage})
    return "23514"


def _sign_up_trigger(fact: Trigger, live: Live) -> str:
    present(live, fact)
    return expect_account(live, raw_user(live))


def _keeps_history(fact: Trigger, live: Live) -> str:
    present(live, fact)
    user_id = live.user(10)
    used = ledger.consume(user_id, 1, operation=MARK, using=live.using)
    for statement in (
        "UPDATE public.credit_transactions SET amount = -2 WHERE id = %s",
        "UPDATE public.credit_transactions SET team_id = NULL, operation = '' WHERE id = %s",
        "DELETE FROM public.credit_transactions WHERE id = %s",
    ):
        with refused(live, "LC006", statement.partition(" WHERE")[0]):
            live.execute(statement, used.id)
    team_id = live.team(user_id, 1)
    with refused(live, "LC006", "taking a row from its team"):
        live.execute(
            "UPDATE public.credit_transactions SET team_id = NULL WHERE team_id = %s", team_id
        )
    return "UPDATE and DELETE: LC006"


def _keeps_all(fact: Trigger, live: Live) -> str:
    present(live, fact)
    return "there and enabled for every session"


def _limits_refunds(fact: Trigger, live: Live) -> str:
    present(live, fact)
    user_id = live.user(10)
    used = ledger.consume(user_id, 5, operation=MARK, using=live.using)
    ledger.refund(used.id, 3, using=live.using)
    with refused(live, "LC005", "a raw refund above the usage"):
        live.execute(
            "INSERT INTO public.credit_transactions (user_id, amount, type, refund_of)"
            " VALUES (%s, 3, 'refund', %s)",
            *(user_id, used.id),
        )
    return "a raw refund of 3 of the 2 that are left: LC005"


TRIGGERS: dict[str, Callable[[Trigger, Live], str]] = {
    "users_open_credit_account": _sign_up_trigger,
    "credit_transactions_keep_history": _keeps_history,
    "credit_transactions_keep_all": _keeps_all,
    "credit_transactions_limit_refund": _limits_refunds,
}


def _unique_idempotency(fact: Key, live: Live) -> str:
    present(live, fact)
    user_id = live.user()
    with refused(live, "23505", "a second row with the same idempotency key"):
        for _ in range(2):
            live.execute(
                "INSERT INTO public.credit_transactions (user_id, amount, type, idempotency_key)"
                " VALUES (%s, 1, 'bonus', 'smoke')",
                user_id,
            )
    return "23505"


def _present_key(fact: Key, live: Live) -> str:
    present(live, fact)
    return "there and valid"


def _indexes(facts: Sequence[Index], live: Live) -> str:
    for fact in facts:
        present(live, fact)
    return f"{len(facts)} there and valid"


def _foreign_keys(facts: Sequence[ForeignKey], live: Live) -> str:
    for fact in facts:
        present(live, fact)
    if off := live.catalog.of(DisabledTrigger):
        raise Wrong(f"{off[0].object} are not enforced")
    with refused(live, "23503", "a transaction of nobody"):
        live.execute(
            "INSERT INTO public.credit_transactions (user_id, amount, type)"
            " VALUES ('smoke_credits-nobody', 1, 'bonus')"
        )
    owner, member = live.user(10), live.user(10)
    team_id = live.team(owner, 10)
    live.key(owner, 10)
    live.execute("UPDATE public.user_credits SET team_id = %s WHERE user_id = %s", team_id, owner)
    ledger.grant(member, 5, operation=MARK, using=live.using)
    live.execute(
        "INSERT INTO public.credit_transactions (user_id, amount, type, team_id)"
        " VALUES (%s, 1, 'bonus', %s)",
        *(member, team_id),
    )
    live.execute("DELETE FROM public.users WHERE id = %s", owner)
    live.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table, column in OWNED.items():
        left = live.value(
            f"SELECT count(*) FROM public.{table} WHERE {column} = %s",  # noqa: S608
            owner,
        )
        expect(f"the number of {table} rows of a deleted user", left, 0)
    left = live.value(
        "SELECT count(*) FROM public.credit_transactions WHERE user_id = %s AND team_id IS NOT NULL",
        member,
    )
    expect("the number of another user's rows that name the deleted team", left, 0)
    return f"{len(facts)} there and enforced; deleting a user and a team works"


def guards() -> dict[str, Callable[[Live], str]]:
    """The checks by name, from the contract's checks, keys, triggers, indexes and foreign keys."""
    facts = [fact for fact in contract.load("auth").facts if fact.table in TABLES]
    checks: dict[str, Callable[[Live], str]] = {}
    for fact in facts:
        if isinstance(fact, Trigger):
            checks[f"trigger {fact.name}"] = partial(TRIGGERS[fact.name], fact)
        elif isinstance(fact, Check):
            checks[f"check {fact.name}"] = partial(_check_constraint, fact)
        elif isinstance(fact, Key):
            unique = "idempotency_key" in fact.definition
            checks[f"key {fact.name}"] = partial(
                _unique_idempotency if unique else _present_key, fact
            )
    indexes = [fact for fact in facts if isinstance(fact, Index)]
    foreign_keys = [fact for fact in facts if isinstance(fact, ForeignKey)]
    checks["indexes"] = partial(_indexes, indexes)
    checks["foreign keys"] = partial(_foreign_keys, foreign_keys)
    return checks
