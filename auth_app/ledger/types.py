"""What the credit ledger says: entries, decisions, summaries, and its refusals.

CreditError
├── InsufficientCredits
├── UnknownAccount
├── KeyReused
├── LimitReached
├── NothingToRefund
├── HoldExceeded
├── HoldEnded
├── NothingToReverse
└── BalanceOverflow
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from fltr_project.words import counted

# user_credits.credits is a PostgreSQL integer.
LARGEST = 2**31 - 1


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

    def __init__(self, transaction_id: str, left: int, *, is_hold: bool = False) -> None:
        super().__init__(
            f"{transaction_id!r} is a hold: settle or release it."
            if is_hold
            else f"Of usage {transaction_id!r} {counted(left, 'credits')} {'is' if left == 1 else 'are'} "
            "left to refund."
            if left
            else f"There is no usage {transaction_id!r} with credits left to refund."
        )
        self.left = left


class HoldExceeded(CreditError):
    """More was used than the hold has; settle it with ``overage`` to charge that too."""

    def __init__(self, hold_id: str, held: int, used: int) -> None:
        super().__init__(
            f"Hold {hold_id!r} is of {counted(held, 'credits')}, and {used:,} were used. "
            "With overage=True the balance pays what is above it."
        )
        self.held, self.used = held, used


class HoldEnded(CreditError):
    """The hold has ended otherwise before: ``state`` is settled, released or expired; or unknown.

    ``charged`` is what it was settled with.
    """

    def __init__(self, hold_id: str, state: str, charged: int = 0) -> None:
        super().__init__(
            {
                "settled": f"Hold {hold_id!r} was settled with {counted(charged, 'credits')}.",
                "released": f"Hold {hold_id!r} was released, and its credits were given back.",
                "expired": f"Hold {hold_id!r} expired, and its credits were given back.",
            }.get(state, f"There is no hold {hold_id!r}.")
        )
        self.hold_id, self.state, self.charged = hold_id, state, charged


class NothingToReverse(CreditError):
    """There is no such purchase, or not that much of it is left to reverse or to reinstate."""

    def __init__(self, purchase_id: str, left: int, action: str) -> None:
        super().__init__(
            f"Of purchase {purchase_id!r} {counted(left, 'credits')} {'is' if left == 1 else 'are'} "
            f"left to {action}."
            if left
            else f"There is no purchase {purchase_id!r} with credits left to {action}."
        )
        self.left = left


class BalanceOverflow(CreditError):
    """The balance would pass the largest number that the column holds."""


def _asked(amount: int) -> str:
    return f"{amount:,} {'was' if amount == 1 else 'were'} asked for"


# Entry, Spend and Decision are named tuples because they are made by the thousand: a frozen dataclass
# takes five times as long to make.
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
    # Of a hold, and of the refund that ended it: when it expires.
    held_until: datetime | None = None
    # The purchase whose reversal this is part of.
    reversal_of: str | None = None
    # Whether this call found the row by its idempotency key instead of writing it.
    replayed: bool = False


class Hold(NamedTuple):
    """Credits that were taken for work whose price is known at its end; time in UTC."""

    id: str
    user_id: str
    team_id: str | None
    amount: int
    operation: str
    resource_id: str | None
    api_key_id: str | None
    metadata: Any
    created_at: datetime
    # From then on whoever needs the credits gives them back.
    held_until: datetime
    payer: str
    balance_after: int
    idempotency_key: str | None
    # open, settled, released or expired; all but open only of a hold that was replayed. Open too past
    # held_until, as long as nobody has needed the credits.
    state: str = "open"
    # The refund that has ended it.
    refund_id: str | None = None
    replayed: bool = False


class Settlement(NamedTuple):
    """What a hold was settled with; amounts in credits."""

    hold_id: str
    # Of the usage, to refund it later; None where nothing was charged.
    id: str | None
    held: int
    charged: int
    # What was used beyond the hold and the balance could not pay.
    uncharged: int
    balance_after: int
    created_at: datetime
    replayed: bool = False

    @property
    def given_back(self) -> int:
        return max(0, self.held - self.charged)


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
    # What is wrong with an invalid spend; None where SQL has found it.
    problem: str | None = None

    @property
    def ok(self) -> bool:
        return self.verdict in {"done", "replayed"}


@dataclass(frozen=True, slots=True)
class Reversal:
    """What a reversal took back; amounts in credits."""

    # The row that takes all of it, ``-entry.amount``.
    entry: Entry
    # What of that the account did not have and now owes.
    missing: int

    @property
    def taken(self) -> int:
        return -self.entry.amount - self.missing


@dataclass(frozen=True, slots=True)
class Statement:
    """An account's balance by its ledger, and what changed it between two moments; amounts in credits."""

    opening: int
    # In the order of the balances; those that another client wrote itself have no ``balance_after``.
    entries: tuple[Entry, ...]

    @property
    def closing(self) -> int:
        return self.opening + sum(entry.amount for entry in self.entries)


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

    ``granted + refunded - spent - held - expired - reversed + corrected`` is what the balances changed by.
    """

    # Holds are no use until they are settled, and then what was charged is.
    spent: int
    refunded: int
    # Bought or given, what expired of it included; corrections are no grants.
    granted: int
    # What did not fit below a renewal's limit.
    expired: int
    # By ``reconcile_credits --repair``, negative where it took credits; ``reversed`` is where it gave some.
    corrected: int
    operations: tuple[OperationUsage, ...]
    # What holds have taken, less what ended holds have given back: the holds that are open now, where
    # the span has no end and no start. Negative in a span that ends more than it began.
    held: int = 0
    # What was taken back of purchases, less what was reinstated and what is owed.
    reversed: int = 0
