"""Purchases whose payment was taken back, and the statement of an account that shows it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import connections
from hypothesis import given, settings
from hypothesis import strategies as st

from auth_app import ledger
from auth_app.ledger import reconcile
from auth_app.models import ApiKeyCredits, CreditTransaction, Team, User, UserCredits
from fltr_project.postgres.target import connect

pytestmark = pytest.mark.django_db(databases=["auth"])


@pytest.fixture
def ada() -> str:
    """A user with 100 credits, owner of a team and of an API key without any."""
    user = User.objects.create(id="ada", name="Ada", email="ada@example.invalid")
    Team.objects.create(id="team", name="Team", owner=user)
    ApiKeyCredits.objects.create(api_key="key", user=user, team_id="team")
    return str(user.pk)


def bought(user_id: str, amount: int, **options: Any) -> str:
    return ledger.grant(user_id, amount, operation="pack", **options).id


def adds_up() -> bool:
    connect("auth")
    return list(reconcile.drifts()) == []


def purchased() -> int:
    return UserCredits.objects.get().total_credits_purchased


def test_fault_a11_what_is_left_is_taken_and_the_rest_is_owed(ada: str) -> None:
    """A purchase of 1000 is charged back when 950 are left."""
    purchase = bought(ada, 1000)
    ledger.consume(ada, 150, operation="q")
    reversal = ledger.reverse(purchase, idempotency_key="dp_1")
    assert (reversal.entry.amount, reversal.taken, reversal.missing) == (-1000, 950, 50)
    assert (ledger.balance(ada), ledger.owed(ada), purchased()) == (0, 50, 0)
    # What is owed is no credit to spend.
    with pytest.raises(ledger.InsufficientCredits):
        ledger.consume(ada, 1, operation="q")
    again = ledger.reverse(purchase, idempotency_key="dp_1")
    assert again.entry == reversal.entry._replace(replayed=True)
    assert again.missing == 50
    with pytest.raises(ledger.NothingToReverse, match=r"no purchase .* with credits left") as error:
        ledger.reverse(purchase)
    assert error.value.left == 0
    with pytest.raises(ledger.KeyReused):
        ledger.reverse(purchase, 5, idempotency_key="dp_1")
    assert adds_up()


def test_in_parts_never_more_than_was_bought(ada: str) -> None:
    purchase = bought(ada, 30)
    assert ledger.reverse(purchase, 10).taken == 10
    with pytest.raises(ledger.NothingToReverse, match="20 credits are left to reverse") as error:
        ledger.reverse(purchase, 21)
    assert error.value.left == 20
    assert ledger.reverse(purchase).taken == 20
    assert (ledger.balance(ada), purchased()) == (100, 0)


@pytest.mark.parametrize("what", ["none", "usage", "bonus", "reversal"])
def test_error_only_a_purchase_is_reversed(ada: str, what: str) -> None:
    purchase = bought(ada, 9)
    row = {
        "none": "none",
        "usage": ledger.consume(ada, 5, operation="q").id,
        "bonus": ledger.grant(ada, 5, operation="gift", type="bonus").id,
        "reversal": ledger.reverse(purchase).entry.id,
    }[what]
    before = ledger.balance(ada)
    for call in (ledger.reverse, ledger.reinstate):
        with pytest.raises(ledger.NothingToReverse, match=f"There is no purchase '{row}'"):
            call(row)
    assert ledger.balance(ada) == before


def test_a_reversal_is_no_usage_to_be_refunded(ada: str) -> None:
    purchase = bought(ada, 9)
    reversal = ledger.reverse(purchase)
    with pytest.raises(ledger.NothingToRefund):
        ledger.refund(reversal.entry.id)
    with pytest.raises(Exception, match="nothing to refund"):
        CreditTransaction.objects.create(
            user_id=ada, amount=1, type="refund", refund_of=reversal.entry.id
        )


@pytest.mark.parametrize("payer", [{}, {"team_id": "team"}, {"api_key": "key"}])
def test_the_next_purchase_pays_what_is_owed_if_asked(ada: str, payer: dict[str, Any]) -> None:
    start = ledger.balance(ada, **payer)
    first, second = bought(ada, 40, **payer), bought(ada, 50, **payer)
    ledger.consume(ada, start + 90, operation="q", **payer)
    assert ledger.reverse(first).missing == 40
    assert ledger.reverse(second).missing == 50
    assert ledger.owed(ada, **payer) == 90
    # Not asked: all of it is there to spend.
    assert ledger.grant(ada, 5, operation="pack", **payer).balance_after == 5
    entry = ledger.grant(ada, 60, operation="pack", collect=True, idempotency_key="k", **payer)
    assert (entry.amount, entry.balance_after) == (60, 65)
    # The oldest first: 40 of the first, 20 of the second.
    assert (ledger.balance(ada, **payer), ledger.owed(ada, **payer)) == (5, 30)
    assert ledger.grant(
        ada, 60, operation="pack", collect=True, idempotency_key="k", **payer
    ).replayed
    assert ledger.owed(ada, **payer) == 30
    settled = CreditTransaction.objects.filter(type="usage", operation="shortfall").order_by("id")
    assert [(row.reversal_of, row.amount, row.resource_id) for row in settled] == [
        (first, -40, entry.id),
        (second, -20, entry.id),
    ]
    bought(ada, 31, collect=True, **payer)
    assert (ledger.balance(ada, **payer), ledger.owed(ada, **payer)) == (6, 0)
    bought(ada, 1, collect=True, **payer)
    assert ledger.balance(ada, **payer) == 7
    assert adds_up()


def test_a_renewal_collects_too(ada: str) -> None:
    purchase = bought(ada, 10)
    ledger.consume(ada, 110, operation="q")
    ledger.reverse(purchase)
    ledger.renew(ada, 100, limit=100, collect=True)
    assert (ledger.balance(ada), ledger.owed(ada)) == (90, 0)


def test_a_dispute_that_was_won_gives_everything_back(ada: str) -> None:
    purchase = bought(ada, 1000)
    ledger.consume(ada, 150, operation="q")
    ledger.reverse(purchase)
    entry = ledger.reinstate(purchase, idempotency_key="won")
    assert (entry.type, entry.amount, entry.reversal_of) == ("refund", 1000, purchase)
    assert (ledger.balance(ada), ledger.owed(ada), purchased()) == (950, 0, 1000)
    assert ledger.reinstate(purchase, idempotency_key="won") == entry._replace(replayed=True)
    with pytest.raises(ledger.NothingToReverse, match="with credits left to reinstate"):
        ledger.reinstate(purchase)
    # Disputed once more.
    assert ledger.reverse(purchase).taken == 950
    assert adds_up()


def test_it_is_reinstated_in_parts_and_pays_what_is_owed_first(ada: str) -> None:
    purchase = bought(ada, 100)
    ledger.consume(ada, 170, operation="q")
    assert ledger.reverse(purchase).missing == 70
    ledger.reinstate(purchase, 60)
    assert (ledger.balance(ada), ledger.owed(ada)) == (0, 10)
    with pytest.raises(ledger.NothingToReverse, match="40 credits are left to reinstate"):
        ledger.reinstate(purchase, 41)
    ledger.reinstate(purchase)
    assert (ledger.balance(ada), ledger.owed(ada)) == (30, 0)
    assert adds_up()


def test_error_reinstated_credits_have_to_fit(ada: str) -> None:
    purchase = bought(ada, 1000)
    ledger.reverse(purchase)
    bought(ada, 2**31 - 1 - 100)
    with pytest.raises(ledger.BalanceOverflow):
        ledger.reinstate(purchase)
    # They are spent, and the sum of all purchases still has no room.
    ledger.consume(ada, 2**31 - 1, operation="q")
    with pytest.raises(ledger.BalanceOverflow):
        ledger.reinstate(purchase)


def test_what_others_have_written_does_not_stop_it(ada: str) -> None:
    """A program that keeps no sum of purchases, and one that has written a balance by itself."""
    purchase = bought(ada, 1000)
    UserCredits.objects.update(total_credits_purchased=3, credits=7)
    assert ledger.reverse(purchase).missing == 993
    assert (ledger.balance(ada), purchased()) == (0, 0)


def test_error_the_team_is_gone(ada: str) -> None:
    purchase = bought(ada, 9, team_id="team")
    ApiKeyCredits.objects.all().delete()
    Team.objects.all().delete()
    for call in (ledger.reverse, ledger.reinstate):
        with pytest.raises(ledger.CreditError):
            call(purchase)
    with pytest.raises(ledger.UnknownAccount):
        ledger.reverse(purchase)


def test_in_sql_it_is_an_error_with_a_state(ada: str) -> None:
    purchase = bought(ada, 9)
    with connections["auth"].cursor() as cursor:
        cursor.execute("SELECT amount, reversal_of FROM public.reverse_credits(%s, 4)", [purchase])
        assert cursor.fetchone() == (-4, purchase)
        with pytest.raises(
            Exception, match=r"of purchase .* 5 credits are left to reverse"
        ) as error:
            cursor.execute("SELECT public.reverse_credits(%s, 6)", [purchase])
        assert getattr(error.value.__cause__, "sqlstate", None) == "LC005"


def test_the_summary_counts_it_apart(ada: str) -> None:
    purchase = bought(ada, 1000)
    ledger.consume(ada, 150, operation="q")
    ledger.reverse(purchase)
    summary = ledger.usage_summary(ada)
    assert (summary.spent, summary.granted, summary.reversed) == (150, 1100, 950)
    bought(ada, 60, collect=True)
    ledger.reinstate(purchase, 10)
    summary = ledger.usage_summary(ada)
    assert [each.operation for each in summary.operations] == ["q"]
    changed = summary.granted + summary.refunded - summary.spent - summary.expired
    assert changed - summary.reversed + summary.corrected == ledger.balance(ada)


# --- the statement of an account


def test_opening_and_movements_are_closing(ada: str) -> None:
    purchase = bought(ada, 20)
    whole = ledger.statement(ada)
    assert (whole.opening, whole.closing) == (0, 120)
    assert [entry.operation for entry in whole.entries] == ["signup", "pack"]
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    assert ledger.statement(ada, since=moment) == ledger.Statement(opening=120, entries=())
    assert ledger.statement(ada, until=whole.entries[0].created_at).entries == ()
    ledger.reverse(purchase)
    later = ledger.statement(ada)
    assert later.closing == ledger.balance(ada)
    assert later.entries[-1].balance_after == later.closing
    assert later.entries[-1].reversal_of == purchase


def test_each_payer_has_a_statement_of_its_own(ada: str) -> None:
    bought(ada, 7, team_id="team")
    bought(ada, 9, api_key="key")
    ledger.consume(ada, 2, operation="q", api_key="key")
    assert ledger.statement(ada).closing == 100
    assert ledger.statement(ada, team_id="team").closing == 7
    assert [each.amount for each in ledger.statement(ada, api_key="key").entries] == [9, -2]
    User.objects.create(id="eve", name="Eve", email="eve")
    payers: list[dict[str, Any]] = [{"team_id": "team"}, {"api_key": "key"}]
    for payer in payers:
        with pytest.raises(ledger.UnknownAccount):
            ledger.statement("eve", **payer)
    with pytest.raises(ledger.UnknownAccount):
        ledger.statement("nobody")


steps = st.lists(
    st.tuples(
        st.sampled_from(["buy", "collect", "spend", "reverse", "reinstate"]), st.integers(1, 40)
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_whatever_happens_it_is_as_in_the_model(steps: list[tuple[str, int]]) -> None:
    user = User.objects.create(name="U", email="u@example.invalid").pk
    balance = 100
    # Of each: bought, reversed, owed.
    purchases: dict[str, list[int]] = {}
    for step, amount in steps:
        oldest_owing = [each for each in purchases.values() if each[2]]
        if step in {"buy", "collect"}:
            new = bought(user, amount, collect=step == "collect")
            balance += amount
            purchases[new] = [amount, 0, 0]
            for each in oldest_owing if step == "collect" else ():
                paid = min(each[2], amount)
                each[2] -= paid
                amount -= paid
                balance -= paid
        elif step == "spend":
            try:
                ledger.consume(user, amount, operation="q")
                assert amount <= balance
                balance -= amount
            except ledger.InsufficientCredits:
                assert amount > balance
        elif purchases:
            id_ = list(purchases)[amount % len(purchases)]
            each = purchases[id_]
            left = each[0] - each[1] if step == "reverse" else each[1]
            call: Any = ledger.reverse if step == "reverse" else ledger.reinstate
            if amount > left:
                with pytest.raises(ledger.NothingToReverse):
                    call(id_, amount)
            elif step == "reverse":
                missing = max(0, amount - balance)
                assert call(id_, amount).missing == missing
                each[1] += amount
                each[2] += missing
                balance -= amount - missing
            else:
                call(id_, amount)
                paid = min(each[2], amount)
                each[1] -= amount
                each[2] -= paid
                balance += amount - paid
        assert ledger.balance(user) == ledger.statement(user).closing == balance >= 0
        assert ledger.owed(user) == sum(each[2] for each in purchases.values())
    User.objects.filter(pk=user).delete()
