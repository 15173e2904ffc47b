"""Taking back what was bought, when the payment provider refunds or loses the payment."""

from __future__ import annotations

from typing import Any

from django.db import connections

from . import calls
from .types import Entry, NothingToReverse, Reversal

_ANSWER = f"SELECT r.verdict, r.balance, {calls.entry_columns('(r.entry)')}"
_REVERSE = f"{_ANSWER}, r.missing FROM public.try_reverse_credits({calls.typed('text integer jsonb text')}) AS r"
_REINSTATE = (
    f"{_ANSWER} FROM public.try_reinstate_credits({calls.typed('text integer jsonb text')}) AS r"
)
_OWED = """
    SELECT coalesce(sum(t.amount), 0)::bigint FROM public.credit_transactions t
    WHERE t.reversal_of IS NOT NULL AND t.operation = 'shortfall' AND t.payer = %(payer)s AND {rows}
"""


def reverse(
    purchase_id: str,
    amount: int | None = None,
    *,
    metadata: Any = None,
    idempotency_key: str | None = None,
    using: str = "auth",
) -> Reversal:
    """Take ``amount`` credits of a purchase back from who got them, or all that is left of it.

    For a refund or a dispute at the payment provider, whose event id is a good ``idempotency_key``.
    What the account does not have is ``missing``: the balance goes to 0 and never below, and the ledger
    remembers what is ``owed``, which ``grant(..., collect=True)`` takes from a later purchase. One round
    trip. Raises NothingToReverse for anything but a purchase with that much left, UnknownAccount when the
    account is gone, KeyReused, and ValueError for an argument that the ledger does not take.
    """
    answer = _call(_REVERSE, purchase_id, amount, metadata, idempotency_key, using, "reverse")
    entry = calls.entry(answer, replayed=answer["verdict"] == "replayed")
    return Reversal(entry=entry, missing=answer["missing"])


def reinstate(
    purchase_id: str,
    amount: int | None = None,
    *,
    metadata: Any = None,
    idempotency_key: str | None = None,
    using: str = "auth",
) -> Entry:
    """Give ``amount`` credits of a reversed purchase back, or all that was reversed: a dispute was won.

    What is still owed of this purchase is settled with it first. One round trip. Raises as ``reverse``
    does, and BalanceOverflow.
    """
    answer = _call(_REINSTATE, purchase_id, amount, metadata, idempotency_key, using, "reinstate")
    return calls.entry(answer, replayed=answer["verdict"] == "replayed")


def owed(
    user_id: str,
    *,
    team_id: str | None = None,
    api_key: str | None = None,
    using: str = "auth",
) -> int:
    """The credits that the account lacked when purchases of it were reversed. Read-only."""
    payer, account = calls.payer(user_id, team_id, api_key)
    with connections[using].cursor() as cursor:
        cursor.execute(_OWED.format(rows=calls.ROWS_OF[payer]), {**account, "payer": payer})
        (total,) = cursor.fetchone()
    return int(total)


def _call(
    statement: str,
    purchase_id: str,
    amount: int | None,
    metadata: Any,
    idempotency_key: str | None,
    using: str,
    action: str,
) -> dict[str, Any]:
    """The answer to a call that was accepted; raises for every other verdict."""
    if amount is not None:
        calls.require_amount(amount)
    calls.require_texts(purchase_id=purchase_id)
    calls.require_key(idempotency_key)
    answer = calls.answer(
        statement, (purchase_id, amount, calls.to_jsonb(metadata), idempotency_key), using
    )
    verdict = answer["verdict"]
    if verdict.startswith("nothing_to_"):
        raise NothingToReverse(purchase_id, answer["balance"], action)
    if verdict not in calls.ACCEPTED:
        raise calls.refusal(
            verdict, answer["balance"], amount or 0, f"The payer of {purchase_id!r}"
        )
    return answer
