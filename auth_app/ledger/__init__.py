"""The credit ledger. A program spends, grants and reads credits through these names::

    from auth_app import ledger

    ledger.consume(user_id, 5, operation="query")
    hold = ledger.hold(user_id, 50, operation="answer")
    ledger.settle(hold, 37)

Each balance change is one call of a SQL function (``sql/``), which also writes the transaction row.
The functions hold for every client; Python adds arguments, types and exceptions. A call is one
statement to the database ``using`` (``auth`` by default): on its own it is its own transaction,
inside ``transaction.atomic(using=using)`` it joins that. A refusal is an exception of this package
and writes nothing. It does not abort the caller's transaction, because the functions answer with a
verdict instead of an SQL error.

Who pays: the API key's own pool where ``api_key`` is given, else the team where ``team_id`` is (its
owner and members may use it), else the user.

``pricing`` (what things cost, ``charge``) and ``reconcile`` are modules of their own. Nothing here
imports a model, so an app may import it before Django's apps are loaded.
"""

from __future__ import annotations

from .granting import grant, refund, renew
from .holding import hold, release, settle
from .reading import balance, history, statement, usage_summary
from .reversing import owed, reinstate, reverse
from .spending import consume, consume_many
from .types import (
    BalanceOverflow,
    CreditError,
    Decision,
    Entry,
    Hold,
    HoldEnded,
    HoldExceeded,
    InsufficientCredits,
    KeyReused,
    LimitReached,
    NothingToRefund,
    NothingToReverse,
    OperationUsage,
    Reversal,
    Settlement,
    Spend,
    Statement,
    UnknownAccount,
    UsageSummary,
)

__all__ = [
    "BalanceOverflow",
    "CreditError",
    "Decision",
    "Entry",
    "Hold",
    "HoldEnded",
    "HoldExceeded",
    "InsufficientCredits",
    "KeyReused",
    "LimitReached",
    "NothingToRefund",
    "NothingToReverse",
    "OperationUsage",
    "Reversal",
    "Settlement",
    "Spend",
    "Statement",
    "UnknownAccount",
    "UsageSummary",
    "balance",
    "consume",
    "consume_many",
    "grant",
    "history",
    "hold",
    "owed",
    "refund",
    "reinstate",
    "release",
    "renew",
    "reverse",
    "settle",
    "statement",
    "usage_summary",
]
