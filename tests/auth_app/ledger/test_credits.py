from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from auth_app import ledger
from auth_app.models import ApiKeyCredits, CreditTransaction, Team, User, UserCredits

pytestmark = pytest.mark.django_db(databases=["auth"])


@pytest.fixture
def alice() -> str:
    """A user with 100 credits, owner of a team with 50 and of an API key with 30."""
    user = User.objects.create(name="Alice", email="alice@example.invalid")
    Team.objects.create(id="team", name="Team", owner=user)
    ApiKeyCredits.objects.create(api_key="key", user=user)
    ledger.grant(user.pk, 50, team_id="team", operation="fill")
    ledger.grant(user.pk, 30, api_key="key", operation="fill")
    return str(user.pk)


@pytest.fixture
def bob() -> str:
    return str(User.objects.create(name="Bob", email="bob@example.invalid").pk)


def amounts(user_id: str) -> list[tuple[str, int, int | None]]:
    return [
        (entry.type, entry.amount, entry.balance_after)
        for entry in reversed(ledger.history(user_id))
        if entry.operation not in {"fill", "signup"}
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda user: ledger.consume(user, 1, operation="q", idempotency_key="k"),
        lambda user: ledger.consume(user, 1, operation="q", team_id="team"),
        lambda user: ledger.consume(user, 1, operation="q", api_key="key"),
        lambda user: ledger.grant(user, 1, operation="q"),
        lambda user: ledger.renew(user, 1, limit=200),
        lambda user: ledger.balance(user),
        lambda user: ledger.history(user),
        lambda user: ledger.usage_summary(user),
        lambda user: ledger.statement(user),
        lambda user: ledger.statement(user, team_id="team"),
        lambda user: ledger.statement(user, api_key="key"),
        lambda user: ledger.owed(user),
        lambda user: ledger.consume_many([ledger.Spend(user, 1, "q")] * 50),
    ],
)
def test_a_call_is_one_statement(alice: str, call: Any) -> None:
    with CaptureQueriesContext(connections["auth"]) as queries:
        call(alice)
    assert len(queries) == 1


def test_a_refund_is_one_statement(alice: str) -> None:
    used = ledger.consume(alice, 2, operation="q")
    with CaptureQueriesContext(connections["auth"]) as queries:
        ledger.refund(used.id)
    assert len(queries) == 1


def test_consume_returns_the_row_that_it_wrote(alice: str) -> None:
    entry = ledger.consume(
        alice,
        30,
        operation="query",
        resource_id="r",
        metadata={"a": [1, None]},
        idempotency_key="k",
    )
    row = CreditTransaction.objects.get(pk=entry.id)
    assert entry == ledger.Entry(
        id=row.pk,
        user_id=alice,
        team_id=None,
        amount=-30,
        type="usage",
        operation="query",
        resource_id="r",
        api_key_id=None,
        metadata={"a": [1, None]},
        created_at=row.created_at,
        payer="user",
        balance_after=70,
        refund_of=None,
        idempotency_key="k",
    )
    assert row.created_at.tzinfo is dt.UTC
    assert row.transaction_metadata == {"a": [1, None]}


def test_a_refusal_leaves_the_callers_transaction_usable(alice: str) -> None:
    with transaction.atomic(using="auth"):
        with pytest.raises(ledger.InsufficientCredits) as refused:
            ledger.consume(alice, 101, operation="q")
        assert ledger.consume(alice, 100, operation="q").balance_after == 0
    assert (refused.value.balance, refused.value.amount) == (100, 101)
    assert str(refused.value) == f"User '{alice}' has 100 credits, and 101 were asked for."
    assert str(ledger.InsufficientCredits("It", 1, 2_000)) == (
        "It has 1 credit, and 2,000 were asked for."
    )
    assert "leaves 1 credit, and 1 was asked for." in str(ledger.LimitReached("daily", 1, 1))


def test_it_joins_the_callers_transaction(alice: str) -> None:
    with transaction.atomic(using="auth"):
        ledger.consume(alice, 100, operation="q")
        transaction.set_rollback(True, using="auth")
    assert ledger.balance(alice) == 100


def test_each_account_pays_for_itself(alice: str) -> None:
    ledger.consume(alice, 1, operation="q")
    assert ledger.consume(alice, 2, operation="q", team_id="team").payer == "team"
    assert ledger.consume(alice, 3, operation="q", api_key="key").api_key_id == "key"
    assert ledger.balance(alice) == 99
    assert ledger.balance(alice, team_id="team") == 48
    assert ledger.balance(alice, api_key="key") == 27


def test_members_may_use_a_team_and_strangers_may_not(alice: str, bob: str) -> None:
    with pytest.raises(ledger.UnknownAccount, match="Team 'team' has no credit account"):
        ledger.consume(bob, 1, operation="q", team_id="team")
    UserCredits.objects.filter(user=bob).update(team="team")
    assert ledger.consume(bob, 1, operation="q", team_id="team").balance_after == 49


@pytest.mark.parametrize("options", [{"team_id": "none"}, {"api_key": "none"}, {"api_key": "key"}])
def test_an_account_that_is_not_the_users_is_unknown(
    alice: str, bob: str, options: dict[str, str]
) -> None:
    for call in (ledger.consume, ledger.grant):
        with pytest.raises(ledger.UnknownAccount):
            call(bob, 1, operation="q", **options)
    with pytest.raises(ledger.UnknownAccount):
        ledger.balance(bob, **options)


@pytest.mark.parametrize("amount", [0, -1, 2**31])
def test_an_amount_that_is_none_is_a_value_error(alice: str, amount: int) -> None:
    calls: list[Callable[[], object]] = [
        lambda: ledger.consume(alice, amount, operation="q"),
        lambda: ledger.grant(alice, amount, operation="q"),
        lambda: ledger.refund("id", amount),
        lambda: ledger.renew(alice, amount, limit=10),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="an amount of credits is from 1"):
            call()
    assert ledger.balance(alice) == 100


def test_grants_count_what_was_bought(alice: str) -> None:
    ledger.grant(alice, 5, operation="pack")
    ledger.grant(alice, 7, type="bonus", operation="gift")
    account = UserCredits.objects.get(user=alice)
    assert (account.credits, account.total_credits_purchased) == (112, 5)
    with pytest.raises(ValueError, match="not as 'usage'"):
        ledger.grant(alice, 5, type="usage", operation="q")  # type: ignore[arg-type]


def test_a_balance_that_would_overflow_is_refused(alice: str) -> None:
    with pytest.raises(ledger.BalanceOverflow):
        ledger.grant(alice, 2**31 - 1, operation="q")
    assert ledger.grant(alice, 2**31 - 101, type="bonus", operation="q").balance_after == 2**31 - 1


def test_what_was_bought_in_all_does_not_overflow_either(alice: str) -> None:
    ledger.grant(alice, 2_000_000_000, operation="q")
    ledger.consume(alice, 2_000_000_000, operation="q")
    with pytest.raises(ledger.BalanceOverflow):
        ledger.grant(alice, 2_000_000_000, operation="q")


# --- idempotency


def test_a_repeat_returns_the_original(alice: str) -> None:
    first = ledger.grant(alice, 5, operation="pack", idempotency_key="evt_1")
    ledger.consume(alice, 50, operation="q")
    again = ledger.grant(alice, 5, operation="pack", idempotency_key="evt_1")
    assert (again.id, again.balance_after, again.replayed) == (first.id, 105, True)
    assert ledger.balance(alice) == 55


@pytest.mark.parametrize(
    "other",
    [
        lambda user: ledger.consume(user, 6, operation="q", idempotency_key="k"),
        lambda user: ledger.consume(user, 5, operation="other", idempotency_key="k"),
        lambda user: ledger.consume(user, 5, operation="q", team_id="team", idempotency_key="k"),
        lambda user: ledger.grant(user, 5, operation="q", idempotency_key="k"),
    ],
)
def test_a_key_for_something_else_is_refused(alice: str, other: Any) -> None:
    used = ledger.consume(alice, 5, operation="q", idempotency_key="k")
    with pytest.raises(ledger.KeyReused):
        other(alice)
    with pytest.raises(ledger.KeyReused):
        ledger.refund(used.id, idempotency_key="k")
    assert ledger.balance(alice) == 95


def test_a_failed_call_leaves_no_key(alice: str) -> None:
    with pytest.raises(ledger.InsufficientCredits):
        ledger.consume(alice, 101, operation="q", idempotency_key="k")
    assert not ledger.consume(alice, 1, operation="q", idempotency_key="k").replayed


def test_a_key_is_the_users_own(alice: str, bob: str) -> None:
    ledger.consume(alice, 1, operation="q", idempotency_key="k")
    assert ledger.consume(bob, 2, operation="q", idempotency_key="k").balance_after == 98


def test_a_key_used_on_a_team_that_is_gone_replays_for_no_other(alice: str) -> None:
    """The row has lost its team, so it cannot tell for which one it was: nobody gets it for free."""
    ledger.consume(alice, 1, operation="q", team_id="team", idempotency_key="k")
    Team.objects.filter(pk="team").delete()
    other = Team.objects.create(name="Other", owner_id=alice)
    ledger.grant(alice, 10, operation="g", team_id=other.pk)
    for team_id in (other.pk, "team"):
        with pytest.raises(ledger.KeyReused):
            ledger.consume(alice, 1, operation="q", team_id=team_id, idempotency_key="k")
        spend = ledger.Spend(alice, 1, "q", team_id=team_id, idempotency_key="k")
        assert [each.verdict for each in ledger.consume_many([spend])] == ["key_reused"]
    assert ledger.balance(alice, team_id=other.pk) == 10


# --- refunds


def test_refunds_together_never_exceed_the_usage(alice: str) -> None:
    used = ledger.consume(alice, 10, operation="q", resource_id="r")
    part = ledger.refund(used.id, 4, idempotency_key="k")
    assert (part.refund_of, part.amount, part.resource_id) == (used.id, 4, "r")
    assert ledger.refund(used.id, 4, idempotency_key="k").replayed
    with pytest.raises(ledger.NothingToRefund) as refused:
        ledger.refund(used.id, 7)
    assert refused.value.left == 6
    assert ledger.refund(used.id).amount == 6
    with pytest.raises(ledger.NothingToRefund):
        ledger.refund(used.id)
    assert ledger.balance(alice) == 100


def test_a_refund_goes_to_who_paid(alice: str) -> None:
    for options in ({"team_id": "team"}, {"api_key": "key"}):
        used = ledger.consume(alice, 10, operation="q", **options)
        assert ledger.refund(used.id).payer == used.payer
    assert ledger.balance(alice, team_id="team") == 50
    assert ledger.balance(alice, api_key="key") == 30


def test_only_a_usage_can_be_refunded(alice: str) -> None:
    granted = ledger.grant(alice, 5, operation="q")
    refunded = ledger.refund(ledger.consume(alice, 5, operation="q").id)
    ledger.renew(alice, 10, limit=50)
    expired = CreditTransaction.objects.get(operation="rollover")
    for id_ in (granted.id, refunded.id, expired.pk, "none"):
        with pytest.raises(ledger.NothingToRefund):
            ledger.refund(id_)


def test_a_refund_needs_a_payer(alice: str) -> None:
    used = ledger.consume(alice, 5, operation="q", api_key="key")
    ApiKeyCredits.objects.all().delete()
    with pytest.raises(ledger.UnknownAccount):
        ledger.refund(used.id)


# --- renewals


@pytest.mark.parametrize(
    ("before", "amount", "limit", "after"),
    [
        (0, 50, 100, 50),
        (30, 50, 100, 80),
        (70, 50, 100, 100),
        (100, 50, 100, 100),
        (130, 50, 100, 130),
    ],
)
def test_a_renewal_lifts_the_balance_to_the_limit(
    bob: str, before: int, amount: int, limit: int, after: int
) -> None:
    ledger.consume(bob, 100, operation="fill")
    if before:
        ledger.grant(bob, before, operation="fill")
    entry = ledger.renew(bob, amount, limit=limit, idempotency_key="in_1")
    assert entry.balance_after == after
    expired = amount - (after - before)
    assert amounts(bob) == [
        *([("usage", -expired, before - expired)] if expired else []),
        ("purchase", amount, after),
    ]
    ledger.consume(bob, 1, operation="q") if after else None
    assert ledger.renew(bob, amount, limit=limit, idempotency_key="in_1").replayed


def test_a_limit_below_the_renewal_is_a_value_error(alice: str) -> None:
    with pytest.raises(ValueError, match="a limit of 9 is not between the 10"):
        ledger.renew(alice, 10, limit=9)


# --- limits of API keys


@pytest.mark.parametrize(("period", "back"), [("daily", "1 day"), ("monthly", "1 month")])
def test_a_limit_holds_and_counts_anew(alice: str, period: str, back: str) -> None:
    ApiKeyCredits.objects.update(**{f"{period}_limit": 10})
    ledger.consume(alice, 7, operation="q", api_key="key")
    with pytest.raises(ledger.LimitReached) as refused:
        ledger.consume(alice, 4, operation="q", api_key="key")
    assert (refused.value.period, refused.value.left) == (period, 3)
    ledger.consume(alice, 3, operation="q", api_key="key")
    with connections["auth"].cursor() as cursor:
        cursor.execute(
            "UPDATE public.api_key_credits SET spent_on = spent_on - %s::interval", [back]
        )
    assert ledger.consume(alice, 10, operation="q", api_key="key").balance_after == 10


def test_the_day_of_the_counters_is_never_set_back(alice: str) -> None:
    """A transaction from before midnight meets counters that are of the next day already."""
    ApiKeyCredits.objects.update(daily_limit=10)
    ledger.consume(alice, 7, operation="q", api_key="key")
    with connections["auth"].cursor() as cursor:
        cursor.execute("UPDATE public.api_key_credits SET spent_on = spent_on + 1")
    with pytest.raises(ledger.LimitReached):
        ledger.consume(alice, 4, operation="q", api_key="key")


def test_yesterday_does_not_count_today_but_this_month(alice: str) -> None:
    ApiKeyCredits.objects.update(daily_limit=10, monthly_limit=15)
    today = dt.datetime.now(dt.UTC).date()
    ApiKeyCredits.objects.update(spent_on=today, spent_that_day=0, spent_that_month=8)
    with pytest.raises(ledger.LimitReached) as refused:
        ledger.consume(alice, 8, operation="q", api_key="key")
    assert (refused.value.period, refused.value.left) == ("monthly", 7)


def test_a_refund_gives_the_allowance_back(alice: str) -> None:
    ApiKeyCredits.objects.update(daily_limit=10, monthly_limit=10)
    used = ledger.consume(alice, 10, operation="q", api_key="key")
    ledger.refund(used.id, 4)
    assert ledger.consume(alice, 4, operation="q", api_key="key").balance_after == 20
    with pytest.raises(ledger.LimitReached):
        ledger.consume(alice, 1, operation="q", api_key="key")


def test_a_limit_of_zero_stops_a_key(alice: str) -> None:
    ApiKeyCredits.objects.update(daily_limit=0)
    with pytest.raises(ledger.LimitReached):
        ledger.consume(alice, 1, operation="q", api_key="key")


# --- batches


def test_a_batch_decides_each_in_its_order(alice: str, bob: str) -> None:
    ApiKeyCredits.objects.update(monthly_limit=5)
    used = ledger.consume(bob, 5, operation="q", idempotency_key="old")
    spends = [
        (ledger.Spend(alice, 60, "b", resource_id="r", metadata=[1]), "done", 40),
        (ledger.Spend(bob, 5, "q", idempotency_key="old"), "replayed", 95),
        (ledger.Spend(bob, 6, "q", idempotency_key="old"), "key_reused", 95),
        (ledger.Spend(alice, 41, "b"), "insufficient", 40),
        (ledger.Spend(alice, 40, "b", idempotency_key="new"), "done", 0),
        (ledger.Spend(alice, 40, "b", idempotency_key="new"), "replayed", 0),
        (ledger.Spend(alice, 39, "b", idempotency_key="new"), "key_reused", None),
        (ledger.Spend(alice, 10, "b", team_id="team"), "done", 40),
        (ledger.Spend(bob, 10, "b", team_id="team"), "unknown_account", None),
        (ledger.Spend(alice, 4, "b", api_key="key"), "done", 26),
        (ledger.Spend(alice, 2, "b", api_key="key"), "monthly_limit", 1),
        (ledger.Spend("nobody", 2, "b"), "unknown_account", None),
        (ledger.Spend(alice, 0, "b"), "invalid", None),
        (ledger.Spend(alice, 2**31, "b"), "invalid", None),
        (ledger.Spend(alice, 999, "b", idempotency_key="no"), "insufficient", 0),
        (ledger.Spend(alice, 999, "b", idempotency_key="no"), "insufficient", 0),
    ]
    decisions = ledger.consume_many([spend for spend, _, _ in spends])
    assert [(d.spend, d.verdict, d.balance) for d in decisions] == spends
    assert decisions[1].transaction_id == used.id
    assert decisions[1].created_at == used.created_at
    assert decisions[5].transaction_id == decisions[4].transaction_id
    row = CreditTransaction.objects.get(pk=decisions[0].transaction_id)
    assert (row.amount, row.resource_id, row.transaction_metadata) == (-60, "r", [1])
    assert (row.payer, row.balance_after) == ("user", 40)
    assert CreditTransaction.objects.get(pk=decisions[7].transaction_id).team_id == "team"
    assert ApiKeyCredits.objects.get().spent_that_month == 4
    assert ledger.balance(alice) == 0
    assert ledger.balance(alice, team_id="team") == 40


def test_an_empty_batch_is_no_error() -> None:
    assert ledger.consume_many([]) == []


# --- reading


def test_history_pages_from_the_newest(alice: str) -> None:
    ids = [ledger.consume(alice, 1, operation="q").id for _ in range(5)]
    first = ledger.history(alice, limit=2)
    second = ledger.history(alice, limit=2, before=first[-1])
    assert [entry.id for entry in (*first, *second)] == ids[:0:-1]


def test_usage_is_summed_by_operation(alice: str) -> None:
    ledger.consume(alice, 5, operation="a")
    ledger.refund(ledger.consume(alice, 7, operation="b", team_id="team").id, 2)
    assert ledger.usage_summary(alice) == ledger.UsageSummary(
        spent=12,
        refunded=2,
        granted=180,
        expired=0,
        corrected=0,
        operations=(ledger.OperationUsage("b", 1, 7, 2), ledger.OperationUsage("a", 1, 5, 0)),
    )
    now = dt.datetime.now(dt.timezone(dt.timedelta(hours=9)))
    assert ledger.usage_summary(alice, since=now + dt.timedelta(hours=1)).spent == 0
    assert ledger.usage_summary(alice, until=now + dt.timedelta(hours=1)).spent == 12


def test_ids_are_version_7_and_sort_by_time(alice: str) -> None:
    ids = []
    for _ in range(20):
        before = time.time()
        id_ = ledger.consume(alice, 1, operation="q").id
        made = uuid.UUID(id_)
        assert (made.version, made.variant, str(made)) == (7, uuid.RFC_4122, id_)
        assert before - 0.01 <= (made.int >> 80) / 1000 <= time.time() + 0.01
        ids.append(id_)
    assert ids == sorted(ids)
    assert len(set(ids)) == 20


def test_ids_of_the_next_centuries_are_valid() -> None:
    """The number that time and fraction are made of has room: 60 bits until the year 3084."""
    with connections["auth"].cursor() as cursor:
        cursor.execute(
            "SELECT length(to_hex((date_part('epoch', timestamp '3000-01-01') * 4096000)::bigint))"
        )
        assert cursor.fetchone()[0] <= 15
