"""Credits that are held, settled, released and given back at their expiry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connections, transaction

from auth_app import ledger
from auth_app.ledger import reconcile
from auth_app.models import ApiKeyCredits, CreditTransaction, Team, User, UserCredits

pytestmark = pytest.mark.django_db(databases=["auth"])

PAYERS = {"user": {}, "team": {"team_id": "team"}, "api_key": {"api_key": "key"}}


@pytest.fixture
def alice() -> str:
    """A user with 100 credits, in her own pocket, her team's and her API key's."""
    user = User.objects.create(id="alice", name="Alice", email="alice@example.invalid")
    Team.objects.create(id="team", name="T", owner=user)
    ApiKeyCredits.objects.create(api_key="key", user=user, daily_limit=150, monthly_limit=150)
    ledger.grant("alice", 100, operation="fill", team_id="team")
    ledger.grant("alice", 100, operation="fill", api_key="key")
    return "alice"


@pytest.fixture(params=PAYERS)
def payer(request: pytest.FixtureRequest, alice: str) -> dict[str, str]:
    return PAYERS[request.param]


def hold(amount: int = 50, **options: Any) -> ledger.Hold:
    return ledger.hold("alice", amount, operation="answer", **options)


def expire(*holds: ledger.Hold) -> None:
    """Let the time of these holds be over, as no client can."""
    with connections["auth"].cursor() as cursor:
        cursor.execute("ALTER TABLE public.credit_transactions DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE public.credit_transactions SET held_until = '2020-01-01' WHERE id = ANY(%s)",
            [[each.id for each in holds]],
        )
        cursor.execute("ALTER TABLE public.credit_transactions ENABLE TRIGGER USER")
        for table in ("user_credits", "teams", "api_key_credits"):
            cursor.execute(
                f"UPDATE public.{table} SET holds_expire_from = '2020-01-01'"
                " WHERE holds_expire_from IS NOT NULL"
            )


def rows() -> list[tuple[str, int, int | None]]:
    found = CreditTransaction.objects.exclude(type__in=["bonus", "purchase"]).order_by("id")
    return list(found.values_list("type", "amount", "balance_after"))


def key_spent() -> tuple[int, int]:
    key = ApiKeyCredits.objects.get()
    return key.spent_that_day, key.spent_that_month


def first_expiry() -> datetime | None:
    found: datetime | None = UserCredits.objects.get(pk="alice").holds_expire_from
    return found


def test_settling_charges_what_was_used(payer: dict[str, str]) -> None:
    held = hold(50, resource_id="r", metadata={"a": 1}, **payer)
    assert ledger.balance("alice", **payer) == held.balance_after == 50
    assert (held.state, held.replayed, held.amount) == ("open", False, 50)
    settled = ledger.settle(held, 37)
    assert settled[2:6] == (50, 37, 0, 63)
    assert settled.given_back == 13
    assert ledger.balance("alice", **payer) == 63
    assert rows() == [("usage", -50, 50), ("refund", 50, 100), ("usage", -37, 63)]
    (usage, refund, first) = ledger.history("alice", limit=3)
    assert (usage.id, usage.resource_id, usage.metadata) == (settled.id, "r", {"a": 1})
    assert (usage.operation, usage.payer) == (
        "answer",
        next(iter(PAYERS)) if not payer else usage.payer,
    )
    assert (refund.refund_of, refund.held_until) == (held.id, held.held_until)
    assert (first.id, first.held_until) == (held.id, held.held_until)
    assert list(reconcile.drifts()) == []


def test_releasing_gives_all_back(payer: dict[str, str]) -> None:
    held = hold(50, **payer)
    released = ledger.release(held.id)
    assert (released.id, released.charged, released.given_back) == (None, 0, 50)
    assert ledger.balance("alice", **payer) == released.balance_after == 100
    assert rows() == [("usage", -50, 50), ("refund", 50, 100)]


def test_ending_a_hold_twice_replays(alice: str) -> None:
    held = hold()
    settled = ledger.settle(held, 37, metadata=["m"])
    assert ledger.settle(held, 37) == settled._replace(replayed=True)
    with pytest.raises(ledger.HoldEnded, match="was settled with 37 credits") as ended:
        ledger.settle(held, 38)
    assert (ended.value.state, ended.value.charged) == ("settled", 37)
    with pytest.raises(ledger.HoldEnded, match="was settled"):
        ledger.release(held)
    held = hold()
    released = ledger.release(held)
    assert ledger.release(held) == released._replace(replayed=True)
    with pytest.raises(ledger.HoldEnded, match="was released, and"):
        ledger.settle(held, 0)
    assert len(rows()) == 5
    with pytest.raises(ledger.HoldEnded, match="There is no hold 'nothing'"):
        ledger.settle("nothing", 1)


def test_using_nothing_charges_nothing(alice: str) -> None:
    held = hold()
    settled = ledger.settle(held, 0)
    assert (settled.id, settled.charged, settled.balance_after) == (None, 0, 100)
    assert ledger.settle(held, 0) == settled._replace(replayed=True)
    assert rows() == [("usage", -50, 50), ("refund", 50, 100)]


def test_error_more_than_was_held_is_refused(payer: dict[str, str]) -> None:
    held = hold(50, **payer)
    with pytest.raises(ledger.HoldExceeded, match="is of 50 credits, and 51 were used") as refused:
        ledger.settle(held, 51)
    assert (refused.value.held, refused.value.used) == (50, 51)
    assert ledger.settle(held, 50).balance_after == 50


@pytest.mark.parametrize(
    ("used", "charged", "uncharged", "left"), [(70, 70, 0, 30), (100, 100, 0, 0), (130, 100, 30, 0)]
)
def test_overage_is_charged_as_far_as_the_balance_goes(
    payer: dict[str, str], used: int, charged: int, uncharged: int, left: int
) -> None:
    held = hold(50, **payer)
    settled = ledger.settle(held, used, overage=True)
    assert settled[3:6] == (charged, uncharged, left)
    assert ledger.settle(held, used, overage=True) == settled._replace(replayed=True)
    assert ledger.balance("alice", **payer) == left
    assert list(reconcile.drifts()) == []


def test_overage_is_charged_as_far_as_the_limit_goes(alice: str) -> None:
    ApiKeyCredits.objects.update(daily_limit=60)
    held = hold(50, api_key="key")
    assert ledger.settle(held, 80, overage=True)[3:6] == (60, 20, 40)
    assert key_spent() == (60, 60)
    ApiKeyCredits.objects.update(daily_limit=None, monthly_limit=55)
    with pytest.raises(ledger.LimitReached):
        hold(1, api_key="key")


def test_overage_takes_what_expired_holds_give_back(alice: str) -> None:
    held = [hold(30), hold(30), hold(30)]
    expire(*held)
    # Its own is expired too, and nobody has given it back.
    assert ledger.settle(held[1], 95, overage=True)[3:6] == (95, 0, 5)
    assert ledger.release(held[0]).replayed
    assert ledger.release(held[2]).replayed
    assert list(reconcile.drifts()) == []


def test_limits_count_a_hold_at_once_and_get_the_rest_back(alice: str) -> None:
    held = hold(80, api_key="key")
    assert key_spent() == (80, 80)
    ledger.grant("alice", 100, api_key="key", operation="fill")
    with pytest.raises(ledger.LimitReached) as refused:
        hold(71, api_key="key")
    assert refused.value.left == 70
    ledger.settle(held, 30)
    assert key_spent() == (30, 30)
    ledger.release(hold(71, api_key="key"))
    assert key_spent() == (30, 30)


def test_a_hold_of_yesterday_gives_no_allowance_of_today_back(alice: str) -> None:
    held = hold(80, api_key="key")
    ApiKeyCredits.objects.update(spent_on=datetime.now(UTC).date() + timedelta(days=1))
    ApiKeyCredits.objects.update(spent_that_day=3)
    ledger.settle(held, 30)
    assert key_spent()[0] == 3


def test_a_key_is_one_hold(alice: str) -> None:
    first = hold(idempotency_key="k", resource_id="r")
    again = hold(idempotency_key="k", resource_id="r")
    assert again == first._replace(replayed=True)
    for other in ({"resource_id": "s"}, {}, {"amount": 49, "resource_id": "r"}):
        with pytest.raises(ledger.KeyReused):
            hold(idempotency_key="k", **other)
    with pytest.raises(ledger.KeyReused):
        ledger.consume("alice", 50, operation="answer", resource_id="r", idempotency_key="k")
    (decision,) = ledger.consume_many([ledger.Spend("alice", 50, "answer", idempotency_key="k")])
    assert decision.verdict == "key_reused"
    ledger.consume("alice", 5, operation="answer", idempotency_key="c")
    with pytest.raises(ledger.KeyReused):
        hold(5, idempotency_key="c")
    ledger.settle(first, 1)
    again = hold(idempotency_key="k", resource_id="r")
    assert (again.state, again.refund_id is None) == ("settled", False)
    released = hold(10, idempotency_key="l")
    ledger.release(released)
    assert hold(10, idempotency_key="l").state == "released"


def test_nobody_can_use_up_the_key_of_a_settlement(alice: str) -> None:
    held = hold()
    for key in (held.id, f"settled by {held.id}", f"settle {held.id}"):
        ledger.consume("alice", 1, operation="answer", idempotency_key=key)
    assert ledger.settle(held, 37).charged == 37


def test_an_expired_hold_is_given_back_to_whoever_needs_it(payer: dict[str, str]) -> None:
    held = hold(60, **payer)
    with pytest.raises(ledger.InsufficientCredits):
        hold(50, **payer)
    expire(held)
    ledger.consume("alice", 40, operation="answer", **payer)
    # It was not needed, so nobody has given it back.
    assert len(rows()) == 2
    if payer.get("api_key"):
        ApiKeyCredits.objects.update(daily_limit=110)
    assert ledger.consume("alice", 50, operation="answer", **payer).balance_after == 10
    assert [row[:2] for row in rows()[2:]] == [("refund", 60), ("usage", -50)]
    for used in (5, 60):
        with pytest.raises(ledger.HoldEnded, match="expired, and its credits were given back"):
            ledger.settle(held, used)
    assert ledger.release(held).replayed
    assert list(reconcile.drifts()) == []


def test_a_hold_takes_what_expired_holds_give_back(payer: dict[str, str]) -> None:
    held = [hold(30, **payer), hold(30, **payer), hold(30, **payer)]
    ledger.settle(held[1], 20)
    expire(held[0], held[1])
    assert hold(49, **payer).balance_after == 1
    with pytest.raises(ledger.InsufficientCredits) as refused:
        hold(2, **payer)
    assert refused.value.balance == 1


def test_a_batch_takes_what_expired_holds_give_back(payer: dict[str, str]) -> None:
    expire(hold(80, **payer))
    (done, refused) = ledger.consume_many(
        [ledger.Spend("alice", 90, "b", **payer), ledger.Spend("alice", 11, "b", **payer)]
    )
    assert (done.verdict, done.balance, refused.verdict) == ("done", 10, "insufficient")


def test_a_limit_gets_back_what_expired(alice: str) -> None:
    ApiKeyCredits.objects.update(daily_limit=60)
    expire(hold(60, api_key="key"))
    assert hold(60, api_key="key").balance_after == 40


def test_an_expired_hold_can_be_settled_until_somebody_needs_it(alice: str) -> None:
    held = hold()
    expire(held)
    assert ledger.settle(held, 37).balance_after == 63


def test_no_refusal_looks_again_at_what_has_ended(alice: str) -> None:
    held = [hold(1) for _ in range(30)]
    assert first_expiry() == held[0].held_until
    for each in held[1:]:
        ledger.settle(each, 1)
    assert first_expiry() == held[0].held_until
    ledger.settle(held[0], 1)
    # The next may have ended too; it is not looked at now.
    assert first_expiry() == held[1].held_until
    expire(*held)
    with pytest.raises(ledger.InsufficientCredits):
        hold(90)
    assert first_expiry() > datetime.now(UTC) - timedelta(minutes=1)  # type: ignore[operator]
    last = hold(1)
    assert first_expiry() < last.held_until  # type: ignore[operator]
    ledger.settle(last, 1)


def test_without_an_open_hold_there_is_nothing_to_look_for(alice: str) -> None:
    assert first_expiry() is None
    for _ in range(3):
        held = hold()
        assert first_expiry() == held.held_until
        ledger.settle(held, 1)
        assert first_expiry() is None


def test_a_hold_is_refunded_by_its_end_only(alice: str) -> None:
    held = hold()
    with pytest.raises(ledger.NothingToRefund, match="is a hold: settle or release it"):
        ledger.refund(held.id, 5)
    insert = (
        "INSERT INTO public.credit_transactions (user_id, amount, type, refund_of, held_until)"
        " VALUES ('alice', %s, 'refund', %s, %s)"
    )
    for amount, until in ((50, None), (49, held.held_until.replace(tzinfo=None))):
        with (
            pytest.raises(DatabaseError, match="nothing to refund"),
            transaction.atomic(using="auth"),
            connections["auth"].cursor() as cursor,
        ):
            cursor.execute(insert, [amount, held.id, until])
    settled = ledger.settle(held, 20)
    # What was charged can be refunded, as every usage.
    assert ledger.refund(settled.id, 20).balance_after == 100  # type: ignore[arg-type]


def test_error_what_cannot_be_held(alice: str) -> None:
    for amount in (0, -1, True, 2**31):
        with pytest.raises(ValueError, match="an amount of credits"):
            hold(amount)
    with pytest.raises(ValueError, match="in the future"):
        hold(expires_in=timedelta(0))
    with pytest.raises(ValueError, match="an idempotency key is not empty"):
        hold(idempotency_key="")
    held = hold()
    for used in (-1, True, 2**31, 1.5):
        with pytest.raises(ValueError, match="settled with 0 to"):
            ledger.settle(held, used)  # type: ignore[arg-type]
    with pytest.raises(ledger.UnknownAccount):
        ledger.hold("nobody", 1, operation="answer")
    with pytest.raises(ledger.UnknownAccount):
        hold(team_id="none")


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("SELECT public.hold_credits('alice', 101, 'q')", "LC001"),
        ("SELECT public.hold_credits('nobody', 1, 'q')", "LC002"),
        ("SELECT public.hold_credits('alice', 1, 'q', '-1 second')", "LC007"),
        ("SELECT public.hold_credits('alice', 1, 'q', NULL)", "LC007"),
        ("SELECT public.hold_credits('alice', 1, 'reconcile')", "LC007"),
        ("SELECT public.hold_credits('alice', 0, 'q')", "LC007"),
        ("SELECT public.settle_credits(id, 51) FROM held", "LC008"),
        ("SELECT public.settle_credits(id, -1) FROM held", "LC007"),
        ("SELECT public.settle_credits(id, NULL) FROM held", "LC007"),
        ("SELECT public.settle_credits('nothing', 1)", "LC009"),
        ("SELECT public.release_credits('nothing')", "LC009"),
        ("SELECT public.release_credits(id) FROM held; SELECT public.settle_credits(id, 1) FROM held", "LC009"),
        ("SELECT public.settle_credits(id, 1) FROM held; SELECT public.settle_credits(id, 2) FROM held", "LC009"),
        ("SELECT public.settle_credits(id, 1) FROM held; SELECT public.release_credits(id) FROM held", "LC009"),
        ("SELECT public.refund_credits(id) FROM held", "LC005"),
    ],
)  # fmt: skip
def test_error_sql_clients_get_a_sqlstate(alice: str, statement: str, sqlstate: str) -> None:
    held = hold()

    def run() -> None:
        with transaction.atomic(using="auth"), connections["auth"].cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE held AS SELECT %s AS id", [held.id])
            for each in statement.split("; "):
                cursor.execute(each)

    with pytest.raises(DatabaseError) as refused:
        run()
    cause = refused.value.__cause__
    assert isinstance(cause, psycopg.Error)
    assert cause.sqlstate == sqlstate


def test_sql_clients_get_rows(alice: str) -> None:
    with connections["auth"].cursor() as cursor:
        cursor.execute(
            "SELECT id, amount, held_until > now() AT TIME ZONE 'utc' + interval '59 minutes'"
            " FROM public.hold_credits('alice', 50, 'q', '1 hour', p_idempotency_key => 'k')"
        )
        id_, amount, later = cursor.fetchone()
        assert (amount, later) == (-50, True)
        cursor.execute(
            "SELECT balance, held, charged, uncharged FROM public.settle_credits(%s, 37)", [id_]
        )
        assert cursor.fetchone() == (63, 50, 37, 0)
        cursor.execute("SELECT id FROM public.hold_credits('alice', 5, 'q')")
        cursor.execute("SELECT amount FROM public.release_credits(%s)", cursor.fetchone())
        assert cursor.fetchone() == (5,)


def test_the_summary_tells_what_is_held_apart(alice: str) -> None:
    settled, released = hold(10), hold(20)
    ledger.settle(settled, 7)
    ledger.release(released)
    hold(30)
    ledger.consume("alice", 1, operation="query")
    summary = ledger.usage_summary("alice")
    assert (summary.spent, summary.held, summary.refunded) == (8, 30, 0)
    assert summary.operations == (
        ledger.OperationUsage("answer", 1, 7, 0),
        ledger.OperationUsage("query", 1, 1, 0),
    )
    assert summary.granted - summary.spent - summary.held == ledger.balance("alice") + 200


def test_a_hold_that_would_not_fit_back_stays(alice: str) -> None:
    held = hold(50)
    ledger.grant("alice", 2**31 - 1 - 50, operation="much")
    with pytest.raises(ledger.BalanceOverflow):
        ledger.release(held)
    ledger.consume("alice", 50, operation="little")
    assert ledger.settle(held, 10).balance_after == 2**31 - 1 - 10


@pytest.mark.parametrize("payer", ["team", "api_key"])
def test_error_the_payer_of_a_hold_is_gone(alice: str, payer: str) -> None:
    held = hold(50, **PAYERS[payer])
    Team.objects.all().delete() if payer == "team" else ApiKeyCredits.objects.all().delete()
    with pytest.raises(ledger.UnknownAccount, match="has no credit account any more"):
        ledger.settle(held, 5)
    with pytest.raises(ledger.UnknownAccount, match="has no credit account any more"):
        ledger.release(held)


def test_a_reversal_takes_what_an_expired_hold_gives_back(
    alice: str, payer: dict[str, Any]
) -> None:
    purchase = ledger.grant("alice", 10, operation="pack", **payer).id
    open_, over = hold(60, **payer), hold(50, **payer)
    assert ledger.reverse(purchase, 4).missing == 4
    expire(over)
    assert ledger.reverse(purchase, 6).missing == 0
    assert (ledger.balance("alice", **payer), ledger.owed("alice", **payer)) == (44, 4)
    # What is held for work that goes on is not taken.
    assert ledger.settle(open_.id, 60).charged == 60
    assert list(reconcile.drifts()) == []
