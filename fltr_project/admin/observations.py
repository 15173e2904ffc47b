"""What takes too long for a page, and is looked at when somebody asks: whether all balances agree with the ledger."""

from __future__ import annotations

from django.db import connections, transaction
from django.utils import timezone

from auth_app.api_keys import masked
from auth_app.ledger import reconcile
from fltr_project.models import Observation
from fltr_project.words import counted

from . import keys

CREDITS = "credits of auth"
# Milliseconds: adding two million rows up takes one or two seconds.
STATEMENT_TIMEOUT = 60_000
MOST = 20


def look_at_credits(person: str, using: str = "auth") -> Observation:
    """Add every ledger up and keep what was found, with the time and who asked. Reads only, but for that.

    Raises what the database raises.
    """
    began = timezone.now()
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT}")
        found = list(reconcile.drifts(using))
    looked, _ = Observation.objects.using("default").update_or_create(
        subject=CREDITS,
        defaults={
            "at": began,
            "person": person,
            "found": {
                "summary": f"{counted(len(found), 'accounts')} drift"
                + ("s" if len(found) == 1 else ""),
                "number": len(found),
                "accounts": [_account(each) for each in found[:MOST]],
            },
        },
    )
    return looked


def _account(drift: reconcile.Drift) -> dict[str, object]:
    # The account of a key is the secret itself.
    is_key = drift.payer == "api_key"
    return {
        "payer": drift.payer,
        "label": masked(drift.account) if is_key else drift.account,
        "owner": drift.owner,
        "digest": keys.digest(drift.account) if is_key else None,
        "balance": drift.balance,
        "ledger": drift.ledger,
        "difference": drift.difference,
    }
