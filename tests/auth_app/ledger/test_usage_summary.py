"""What a user has used, apart from what expired and what was corrected."""

from __future__ import annotations

import pytest

from auth_app import ledger
from auth_app.ledger import reconcile
from tests.conftest import Databases


@pytest.fixture
def ada(databases: Databases) -> str:
    """A user with 100 credits from the sign-up."""
    databases.execute("auth", "INSERT INTO public.users (id, name, email) VALUES ('ada', 'A', 'a')")
    return "ada"


def changed(summary: ledger.UsageSummary) -> int:
    given = summary.granted + summary.refunded + summary.corrected
    return given - summary.spent - summary.expired


def test_what_expired_at_a_renewal_is_not_spent(ada: str) -> None:
    ledger.grant(ada, 900, operation="pack")
    ledger.renew(ada, 50, limit=1000)
    ledger.consume(ada, 3, operation="query")
    ledger.renew(ada, 1000, limit=1000)
    summary = ledger.usage_summary(ada)
    assert summary == ledger.UsageSummary(
        spent=3,
        refunded=0,
        granted=100 + 900 + 50 + 1000,
        expired=50 + 997,
        corrected=0,
        operations=(ledger.OperationUsage("query", 1, 3, 0),),
    )
    assert changed(summary) == ledger.balance(ada) == 1000


@pytest.mark.parametrize("drift", [7, -8])
def test_a_correction_is_neither_spent_nor_granted(
    ada: str, databases: Databases, drift: int
) -> None:
    ledger.refund(ledger.consume(ada, 5, operation="query").id, 2)
    databases.execute("auth", "UPDATE public.user_credits SET credits = credits + %s", drift)
    list(reconcile.repair())
    summary = ledger.usage_summary(ada)
    assert summary == ledger.UsageSummary(
        spent=5,
        refunded=2,
        granted=100,
        expired=0,
        corrected=drift,
        operations=(ledger.OperationUsage("query", 1, 5, 2),),
    )
    assert changed(summary) == ledger.balance(ada)


def test_a_renewal_of_that_name_is_granted(ada: str) -> None:
    ledger.renew(ada, 10, limit=105, operation="rollover")
    ledger.grant(ada, 4, operation="reconcile")
    summary = ledger.usage_summary(ada)
    assert (summary.granted, summary.expired, summary.corrected) == (114, 5, 0)
