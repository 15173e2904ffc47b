"""What the credit ledger says: entries, decisions, summaries, and its refusals.

CreditError
├── InsufficientCredits
├── UnknownAccount
├── KeyReused
├── LimitReached
├── NothingToRefund
└── BalanceOverflow
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from fltr_project.words import counted


class CreditError(Exception):
    """A change of credits that was refused; nothing was written."""


class InsufficientCredits(CreditError):
    """The balance is smaller than what was to be spent."""

    def __init__(self, account: str, balance: int, amount: int) -> None:
        super().__init__(f"{account} has {counted(balance, 'credits')}, and {_asked(amount)}.")
        self.balance, self.amount = balance, amount


class UnknownAccount(CreditError):
    """There is no such account, or the user may not use it."""


class KeyReused(CreditError):
    """The idempotency key belongs to another change of this user."""


class LimitReached(CreditError):
    """The API key's daily or monthly limit does not leave that much."""

    def __init__(self, period: str, left: int, amount: int) -> None:
        super().__init__(
            f"The API key's {period} limit leaves {counted(left, 'credits')}, and {_asked(amount)}. "
            "It counts anew at midnight UTC"
            + (" of the first day of the month." if period == "monthly" else ".")
        )
        self.period, self.left, self.amount = period, left, amount


class NothingToRefund(CreditError):
    """There is no such usage, or not that much of it is left to give back."""

    def __init__(self, transaction_id: str, left: int) -> None:
        super().__init__(
            f"Of usage {transaction_id!r} {counted(left, 'credits')} {'is' if left == 1 else 'are'} "
            "left to refund."
            if left
            else f"There is no usage {transaction_id!r} with credits left to refund."
        )
        self.left = left


class BalanceOverflow(CreditError):
    """The balance would pass the largest number that the column holds."""


def _asked(amount: int) -> str:
    return f"{amount:,} {'was' if amount == 1 else 'were'} asked for"


# Entry, Spend and Decision are made by the thousand. A frozen dataclass sets each of its fields by a
# call: of Entry alone that was a fifth of what a consume costs its client.
class Entry(NamedTuple):
    """A row of ``credit_transactions``; amounts in credits, time in UTC."""

    id: str
    user_id: str
    team_id: str | None
    amount: int
    type: str
    operation: str | None
    resource_id: str | None
    api_key_id: str | None
    metadata: Any
    created_at: datetime
    payer: str
    # The payer's balance with this amount in it; None where another client wrote the row.
    balance_after: int | None
    refund_of: str | None
    idempotency_key: str | None
    # Whether this call found the row by its idempotency key instead of writing it.
    replayed: bool = False


class Spend(NamedTuple):
    """One consume of a batch, with the arguments of ``consume``."""

    user_id: str
    amount: int
    operation: str
    resource_id: str | None = None
    team_id: str | None = None
    api_key: str | None = None
    metadata: Any = None
    idempotency_key: str | None = None


class Decision(NamedTuple):
    """What became of one consume of a batch.

    ``verdict`` is done, replayed, insufficient, unknown_account, key_reused, daily_limit,
    monthly_limit or invalid; ``balance`` the account's after it, or what was too small.
    """

    spend: Spend
    verdict: str
    balance: int | None
    transaction_id: str | None
    created_at: datetime | None

    @property
    def ok(self) -> bool:
        return self.verdict in {"done", "replayed"}


@dataclass(frozen=True, slots=True)
class OperationUsage:
    operation: str | None
    consumes: int
    # Credits, both positive.
    spent: int
    refunded: int


@dataclass(frozen=True, slots=True)
class UsageSummary:
    """What a user spent in a span of time, from whatever balance; amounts in credits.

    ``granted + refunded - spent - lapsed + corrected`` is what the balances changed by.
    """

    spent: int
    refunded: int
    # Bought or given, what lapsed of it included; corrections are no grants.
    granted: int
    # What did not fit below a renewal's limit.
    lapsed: int
    # By ``reconcile_credits --repair``, negative where it took credits; all others are positive.
    corrected: int
    operations: tuple[OperationUsage, ...]
