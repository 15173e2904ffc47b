"""Spending credits, one at a time and by the thousand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import connections

from . import calls
from .types import Decision, Entry, Spend

_CONSUME = f"""
    SELECT verdict, balance, id, team_id, resource_id, metadata, created_at
    FROM public.try_consume_credits({calls.typed("text integer text text text text jsonb text")}, NULL::timestamp)
"""  # noqa: S608
_CONSUME_MANY = f"""
    SELECT verdict, balance, id, created_at FROM public.consume_credits_many({calls.typed("jsonb")}) ORDER BY place
"""  # noqa: S608


def consume(
    user_id: str,
    amount: int,
    *,
    operation: str,
    resource_id: str | None = None,
    team_id: str | None = None,
    api_key: str | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
    using: str = "auth",
) -> Entry:
    """Spend ``amount`` credits (1 or more). One round trip; all of it or nothing.

    With an ``idempotency_key`` it happens once for ever: a repeat returns the original row.
    ``metadata`` is anything JSON holds. Raises InsufficientCredits with the balance, LimitReached,
    UnknownAccount, KeyReused, and ValueError for an argument that the ledger does not take (an amount
    out of range, an empty operation, a key of more than 255 characters, metadata over 16 kB).
    """
    calls.require_amount(amount)
    calls.require_operation(operation)
    calls.require_key(idempotency_key)
    calls.require_texts(user_id=user_id, resource_id=resource_id, team_id=team_id, api_key=api_key)
    with connections[using].cursor() as cursor:
        cursor.execute(
            _CONSUME,
            (
                user_id,
                amount,
                operation,
                resource_id,
                team_id,
                api_key,
                calls.to_jsonb(metadata),
                idempotency_key,
            ),
        )
        verdict, left, id_, paying_team, resource, written, created_at = cursor.fetchone()
    if verdict not in calls.ACCEPTED:
        account = calls.account_name(user_id, team_id, api_key)
        raise calls.refusal(verdict, left or 0, amount, account)
    return Entry(
        id=id_,
        user_id=user_id,
        team_id=paying_team,
        amount=-amount,
        type="usage",
        operation=operation,
        resource_id=resource,
        api_key_id=api_key,
        metadata=calls.from_jsonb(written),
        created_at=calls.in_utc(created_at),
        payer="api_key" if api_key is not None else "team" if team_id is not None else "user",
        balance_after=left,
        refund_of=None,
        idempotency_key=idempotency_key,
        replayed=verdict == "replayed",
    )


def consume_many(spends: Iterable[Spend], *, using: str = "auth") -> list[Decision]:
    """Spend thousands of times in one statement; a decision for each, in the order given.

    Spends of one account are decided in their order: one that does not fit is refused, a later one
    may still fit. Accounts are locked in key order, so batches do not deadlock with each other.
    Inside one batch an idempotency key is one request. Raises nothing for a refusal: a spend with an
    argument that ``consume`` would not take is ``invalid`` and has a ``problem``, and the rest goes on.
    """
    items = list(spends)
    problems: dict[int, str] = {}
    documents = []
    for place, item in enumerate(items):
        try:
            documents.append(_document(item))
        except ValueError as error:
            problems[place] = str(error)
    rows: Iterator[tuple[Any, ...]] = iter(())
    if documents:
        with connections[using].cursor() as cursor:
            cursor.execute(_CONSUME_MANY, (f"[{','.join(documents)}]",))
            rows = iter(cursor.fetchall())
    decisions = []
    for place, item in enumerate(items):
        if place in problems:
            decisions.append(Decision(item, "invalid", None, None, None, problems[place]))
            continue
        verdict, balance, id_, created_at = next(rows)
        decisions.append(
            Decision(item, verdict, balance, id_, created_at and calls.in_utc(created_at))
        )
    return decisions


def _document(item: Spend) -> str:
    """A spend as ``consume_credits_many`` takes it; raises ValueError for what ``consume`` refuses."""
    calls.require_amount(item.amount)
    calls.require_operation(item.operation)
    calls.require_key(item.idempotency_key)
    calls.require_texts(
        user_id=item.user_id,
        resource_id=item.resource_id,
        team_id=item.team_id,
        api_key=item.api_key,
    )
    fields = {name: value for name, value in item._asdict().items() if value is not None}
    metadata = calls.to_jsonb(fields.pop("metadata", None))
    text = json.dumps(fields, ensure_ascii=False)
    return text if metadata is None else f'{text[:-1]}, "metadata": {metadata}}}'
