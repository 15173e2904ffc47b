"""The credit ledger: spend, grant and refund, each balance change with its transaction row.

Everything happens in the database ``using`` (``auth`` by default) and joins the caller's transaction
there, or is one of its own. Balances can never go below zero: the statement that spends asks for
the balance itself, and a check constraint refuses every other client's mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from django.db import connections, transaction
from psycopg.types.json import Jsonb


class CreditError(Exception):
    """A change of credits that was refused; nothing was written."""


class InsufficientCredits(CreditError):
    """The balance is smaller than what was to be spent."""

    def __init__(self, user_id: str, balance: int, amount: int) -> None:
        super().__init__(f"User {user_id!r} has {balance} credits, and {amount} were asked for.")
        self.balance, self.amount = balance, amount


class UnknownAccount(CreditError):
    """There is no credit account of that user."""


class NothingToRefund(CreditError):
    """There is no such usage, or all of it has been given back."""


@dataclass(frozen=True)
class Entry:
    """A row of ``credit_transactions`` with the user's balance after it; amounts in credits."""

    id: str
    user_id: str
    amount: int
    type: str
    created_at: datetime
    balance_after: int


# One statement, so one round trip, and the balance is asked for and taken under one row lock.
CHANGE = """
    WITH account AS (
        UPDATE public.user_credits
        SET credits = credits + %(amount)s,
            total_credits_purchased = total_credits_purchased + %(purchased)s,
            updated_at = timezone('utc', now())
        WHERE user_id = %(user_id)s AND credits + %(amount)s >= 0
        RETURNING user_id, team_id, credits
    ), entry AS (
        INSERT INTO public.credit_transactions
            (user_id, team_id, amount, type, operation, resource_id, transaction_metadata, refund_of)
        SELECT user_id, team_id, %(amount)s, %(type)s, %(operation)s, %(resource_id)s,
               %(metadata)s, %(refund_of)s
        FROM account
        RETURNING id, user_id, amount, type, created_at
    )
    SELECT entry.*, account.credits FROM entry, account
"""


def consume(
    user_id: str,
    amount: int,
    *,
    operation: str,
    resource_id: str | None = None,
    metadata: dict[str, Any] | None = None,
    using: str = "auth",
) -> Entry:
    """Spend ``amount`` credits (1 or more) of the user. One round trip.

    Raises InsufficientCredits with the balance, UnknownAccount, and ValueError for an amount
    below 1.
    """
    _require_positive(amount)
    entry = _change(
        user_id, -amount, "usage", using, operation, resource_id=resource_id, metadata=metadata
    )
    if entry is None:
        raise InsufficientCredits(user_id, balance(user_id, using=using), amount)
    return entry


def grant(
    user_id: str,
    amount: int,
    *,
    type: str = "purchase",  # noqa: A002 - the column's name
    operation: str,
    resource_id: str | None = None,
    metadata: dict[str, Any] | None = None,
    using: str = "auth",
) -> Entry:
    """Give the user ``amount`` credits (1 or more), bought (``purchase``) or not (``bonus``).

    One round trip. Raises UnknownAccount, and ValueError for another type or an amount below 1.
    """
    _require_positive(amount)
    if type not in {"purchase", "bonus"}:
        raise ValueError(f"credits are granted as 'purchase' or 'bonus', not as {type!r}")
    entry = _change(
        user_id, amount, type, using, operation, resource_id=resource_id, metadata=metadata
    )
    if entry is None:
        raise UnknownAccount(f"There is no credit account of user {user_id!r}.")
    return entry


def refund(transaction_id: str, amount: int | None = None, *, using: str = "auth") -> Entry:
    """Give back ``amount`` credits of a usage, or what is left of it.

    One transaction that locks the usage, so that concurrent refunds together never exceed it.
    Raises NothingToRefund for anything but a usage with that much left, ValueError for an amount
    below 1.
    """
    if amount is not None:
        _require_positive(amount)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT user_id, -amount, operation, resource_id FROM public.credit_transactions"
            " WHERE id = %s AND type = 'usage' FOR UPDATE",
            [transaction_id],
        )
        row = cursor.fetchone()
        if row is None:
            raise NothingToRefund(f"There is no usage with the id {transaction_id!r}.")
        user_id, spent, operation, resource_id = row
        cursor.execute(
            "SELECT coalesce(sum(amount), 0) FROM public.credit_transactions WHERE refund_of = %s",
            [transaction_id],
        )
        left = spent - cursor.fetchone()[0]
        if left < (amount or 1):
            raise NothingToRefund(f"Of usage {transaction_id!r} {left} credits are left to refund.")
        entry = _change(
            user_id,
            amount or left,
            "refund",
            using,
            operation,
            resource_id=resource_id,
            refund_of=transaction_id,
        )
    if entry is None:
        raise UnknownAccount(f"There is no credit account of user {user_id!r}.")
    return entry


def balance(user_id: str, *, using: str = "auth") -> int:
    """The user's credits. Read-only; raises UnknownAccount."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT credits FROM public.user_credits WHERE user_id = %s", [user_id])
        row = cursor.fetchone()
    if row is None:
        raise UnknownAccount(f"There is no credit account of user {user_id!r}.")
    return int(row[0])


def _change(
    user_id: str,
    amount: int,
    type_: str,
    using: str,
    operation: str | None,
    *,
    resource_id: str | None = None,
    metadata: dict[str, Any] | None = None,
    refund_of: str | None = None,
) -> Entry | None:
    """Change the balance and write the row; None when there is no account with enough in it."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            CHANGE,
            # psycopg adapts Jsonb, which the stubs do not know.
            cast(
                dict[str, Any],
                {
                    "user_id": user_id,
                    "amount": amount,
                    "purchased": amount if type_ == "purchase" else 0,
                    "type": type_,
                    "operation": operation,
                    "resource_id": resource_id,
                    "metadata": None if metadata is None else Jsonb(metadata),
                    "refund_of": refund_of,
                },
            ),
        )
        row = cursor.fetchone()
    if row is None:
        return None
    id_, user, changed, kind, created_at, after = row
    return Entry(id_, user, changed, kind, created_at.replace(tzinfo=UTC), after)


def _require_positive(amount: int) -> None:
    if amount < 1:
        raise ValueError(f"an amount of credits is 1 or more, got {amount}")
