"""Batches say and write the same, whichever way they are decided: at once, or item by item."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from hypothesis import example, given, settings
from hypothesis import strategies as st

from auth_app import ledger
from auth_app.ledger import reconcile
from auth_app.models import CreditTransaction, User, UserCredits

pytestmark = pytest.mark.django_db(databases=["auth"])

# Names that sort in more than one way.
CREDITS = {"poor": 0, "modest": 10, "Modest": 10, "möglich": 10, "rich": 2**31 - 1}
# Decides nothing; because it has a key, the batch is not decided at once.
APART = ledger.Spend("nobody", 1, "b", idempotency_key="apart")

fitting = st.tuples(
    st.sampled_from(["modest", "Modest", "möglich", "rich"]),
    st.integers(1, 3),
    st.sampled_from(["b", "ü"]),
    st.sampled_from([None, "", "r"]),
    st.none(),
    st.none(),
    st.sampled_from([None, {"a": [1]}, "text"]),
).map(lambda values: ledger.Spend(*values))
amounts = st.sampled_from([-(2**62), -1, 0, 1, 9, 10, 2**31 - 1, 2**31, 2**62])
spends = fitting | st.tuples(st.sampled_from([*CREDITS, "nobody"]), amounts, st.just("b")).map(
    lambda values: ledger.Spend(*values)
)


def spent(batch: list[ledger.Spend]) -> tuple[list[Any], list[Any], dict[str, int]]:
    """What a batch says, the rows that it writes in their order, and the balances; rolled back."""
    with transaction.atomic(using="auth"):
        for user, balance in CREDITS.items():
            User.objects.create(id=user, name="U", email=user)
            UserCredits.objects.filter(user_id=user).update(credits=balance)
        drifting = len(list(reconcile.drifts()))
        decisions = ledger.consume_many(batch)
        assert len(list(reconcile.drifts())) == drifting
        rows = CreditTransaction.objects.filter(type="usage").order_by("id")
        written = list(
            rows.values_list(
                *("user_id", "team_id", "amount", "operation", "resource_id", "api_key_id"),
                *("transaction_metadata", "payer", "balance_after", "idempotency_key"),
            )
        )
        done = [each for each in decisions if each.ok]
        assert [each.transaction_id for each in done] == list(rows.values_list("id", flat=True))
        assert {each.created_at for each in done} == {row.created_at for row in rows}
        balances = dict(UserCredits.objects.values_list("user_id", "credits"))
        transaction.set_rollback(True, using="auth")
    said = [(each.spend, each.verdict, each.balance, each.ok) for each in decisions]
    return said, written, balances


@settings(max_examples=60, deadline=None)
@given(batch=st.lists(fitting, max_size=4) | st.lists(spends, max_size=8))
@example(batch=[ledger.Spend("modest", 4, "b"), ledger.Spend("modest", 6, "b")])
@example(batch=[ledger.Spend("rich", -(2**62), "b"), ledger.Spend("rich", 1, "b")])
@example(batch=[ledger.Spend("rich", 2**31 - 1, "b"), ledger.Spend("rich", 2**31 - 1, "b")])
def test_all_at_once_is_as_one_after_the_other(batch: list[ledger.Spend]) -> None:
    at_once, one_by_one = spent(batch), spent([*batch, APART])
    assert one_by_one[0].pop() == (APART, "unknown_account", None, False)
    assert at_once == one_by_one


@pytest.mark.parametrize("amount", [1.5, True, "5", None, 2**63])
def test_what_is_no_whole_number_is_that_spends_verdict(amount: Any) -> None:
    User.objects.create(id="a", name="A", email="a")
    batch = [ledger.Spend("a", 1, "b"), ledger.Spend("a", amount, "b"), ledger.Spend("a", 2, "b")]
    first, bad, last = ledger.consume_many(batch)
    assert (bad.verdict, bad.ok, bad.problem) == (
        "invalid",
        False,
        f"an amount of credits is from 1 to 2147483647, got {amount!r}",
    )
    assert (first.balance, last.balance, last.spend) == (99, 97, batch[2])


def test_a_key_in_a_batch_that_fits_counts_once() -> None:
    User.objects.create(id="a", name="A", email="a")
    batch = [ledger.Spend("a", 1, "b", idempotency_key=key) for key in ("k", "k", None)]
    first, again = ledger.consume_many(batch), ledger.consume_many(batch)
    assert [each.verdict for each in first] == ["done", "replayed", "done"]
    assert [each.verdict for each in again] == ["replayed", "replayed", "done"]
    assert len({each.transaction_id for each in [*first, *again]}) == 3
    assert ledger.balance("a") == 97
