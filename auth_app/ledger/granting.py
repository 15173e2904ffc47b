"""Giving credits: grants, renewals and refunds."""

from __future__ import annotations

from typing import Any, Literal

from . import calls
from .types import LARGEST, Entry, NothingToRefund

GrantType = Literal["purchase", "bonus"]

_ANSWER = f"SELECT r.verdict, r.balance, {calls.entry_columns('(r.entry)')}"
_GRANT = f"{_ANSWER} FROM public.try_grant_credits({calls.typed('text integer text text text text text jsonb text integer boolean')}) AS r"
_REFUND = f"{_ANSWER} FROM public.try_refund_credits({calls.typed('text integer jsonb text')}) AS r"


def grant(
    user_id: str,
    amount: int,
    *,
    operation: str,
    type: GrantType = "purchase",  # noqa: A002 - the column's name
    resource_id: str | None = None,
    team_id: str | None = None,
    api_key: str | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
    collect: bool = False,
    using: str = "auth",
) -> Entry:
    """Give ``amount`` credits (1 or more), bought (``purchase``) or not (``bonus``). One round trip.

    A payment provider's event id is a good ``idempotency_key``: delivered twice, granted once.
    With ``collect`` what the account owes of reversed purchases is taken from them at once, in rows of
    their own; the balance after it is ``balance``'s. Raises UnknownAccount, KeyReused, BalanceOverflow, and ValueError for another type or amount or
    an empty key.
    """
    return _grant(
        user_id,
        amount,
        type_=type,
        operation=operation,
        resource_id=resource_id,
        team_id=team_id,
        api_key=api_key,
        metadata=metadata,
        idempotency_key=idempotency_key,
        balance_limit=None,
        collect=collect,
        using=using,
    )


def renew(
    user_id: str,
    amount: int,
    *,
    limit: int,
    operation: str = "renewal",
    type: GrantType = "purchase",  # noqa: A002 - the column's name
    team_id: str | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
    collect: bool = False,
    using: str = "auth",
) -> Entry:
    """Grant a new period's ``amount`` with rollover: the balance is lifted to ``limit`` at most.

    What would lift it above expires at once, as a usage with the operation ``rollover``; credits
    that were there before are never taken. One round trip. Raises as ``grant`` does, and ValueError for
    a limit below the amount.
    """
    calls.require_amount(amount)
    if not amount <= limit <= LARGEST:
        raise ValueError(f"a limit of {limit} is not between the {amount} granted and {LARGEST}")
    return _grant(
        user_id,
        amount,
        type_=type,
        operation=operation,
        resource_id=None,
        team_id=team_id,
        api_key=None,
        metadata=metadata,
        idempotency_key=idempotency_key,
        balance_limit=limit,
        collect=collect,
        using=using,
    )


def refund(
    transaction_id: str,
    amount: int | None = None,
    *,
    metadata: Any = None,
    idempotency_key: str | None = None,
    using: str = "auth",
) -> Entry:
    """Give ``amount`` credits of a usage back to who paid it, or all that is left. One round trip.

    Refunds of one usage together never exceed it, however many clients try. Raises NothingToRefund
    for anything but a usage with that much left, UnknownAccount when the payer is gone, KeyReused,
    BalanceOverflow, and ValueError for an amount out of range or an empty key.
    """
    if amount is not None:
        calls.require_amount(amount)
    calls.require_texts(transaction_id=transaction_id)
    calls.require_key(idempotency_key)
    answer = calls.answer(
        _REFUND, (transaction_id, amount, calls.to_jsonb(metadata), idempotency_key), using
    )
    if answer["verdict"] == "nothing_to_refund":
        raise NothingToRefund(transaction_id, answer["balance"])
    if answer["verdict"] == "is_hold":
        raise NothingToRefund(transaction_id, 0, is_hold=True)
    return _entry_or_refusal(answer, amount or 0, f"The payer of {transaction_id!r}")


def _grant(
    user_id: str,
    amount: int,
    *,
    type_: GrantType,
    operation: str,
    resource_id: str | None,
    team_id: str | None,
    api_key: str | None,
    metadata: Any,
    idempotency_key: str | None,
    balance_limit: int | None,
    collect: bool,
    using: str,
) -> Entry:
    calls.require_amount(amount)
    calls.require_operation(operation)
    calls.require_key(idempotency_key)
    calls.require_texts(user_id=user_id, resource_id=resource_id, team_id=team_id, api_key=api_key)
    if type_ not in {"purchase", "bonus"}:
        raise ValueError(f"credits are granted as 'purchase' or 'bonus', not as {type_!r}")
    answer = calls.answer(
        _GRANT,
        (
            user_id,
            amount,
            type_,
            operation,
            resource_id,
            team_id,
            api_key,
            calls.to_jsonb(metadata),
            idempotency_key,
            balance_limit,
            collect,
        ),
        using,
    )
    return _entry_or_refusal(answer, amount, calls.account_name(user_id, team_id, api_key))


def _entry_or_refusal(answer: dict[str, Any], amount: int, account: str) -> Entry:
    if answer["verdict"] not in calls.ACCEPTED:
        raise calls.refusal(answer["verdict"], answer["balance"], amount, account)
    return calls.entry(answer, replayed=answer["verdict"] == "replayed")
