from __future__ import annotations

import asyncio
import functools
from contextlib import aclosing, nullcontext, suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DatabaseError, connections, transaction

from auth_app import ledger
from auth_app.ledger.pricing import (
    Paid,
    UserError,
    WorkDone,
    WorkInProgress,
    charge,
    charged,
    price,
)
from auth_app.models import ApiKeyCredits, User

MB = 1024 * 1024
# Five credits, held and settled.
PAID = [("usage", -5), ("refund", 5), ("usage", -5)]


@pytest.fixture
def alice() -> str:
    return str(User.objects.create(name="Alice", email="alice@example.invalid").pk)


def types(user_id: str) -> list[tuple[str, int]]:
    return [(entry.type, entry.amount) for entry in reversed(ledger.history(user_id))][1:]


@pytest.mark.parametrize(
    ("operation", "size", "credits_"),
    [
        ("document", 0, 2),
        ("document", MB, 2),
        ("document", MB + 1, 3),
        ("document", 10 * MB, 6),
        ("document", 25 * MB, 12),
        ("document", 26 * MB, 25),
        ("query.standard", None, 1),
        ("query.hybrid", None, 2),
        ("query.premium", None, 5),
        ("dataset", None, 2),
    ],
)
def test_the_price_list(operation: str, size: int | None, credits_: int) -> None:
    assert price(operation, size) == credits_


def test_error_a_price_that_cannot_be_told() -> None:
    with pytest.raises(ImproperlyConfigured, match="CREDIT_PRICES has no 'dance'"):
        price("dance")
    with pytest.raises(ValueError, match="goes by size in bytes, got None"):
        price("document")
    with pytest.raises(ValueError, match="does not go by size"):
        price("dataset", 5)


@pytest.mark.django_db(databases=["auth"])
def test_work_is_charged_before_it_runs(alice: str) -> None:
    with charge(alice, "document", size=MB, resource_id="d") as paid:
        assert ledger.balance(alice) == 98
    assert (paid.resource_id, paid.operation) == ("d", "document")
    with pytest.raises(ledger.InsufficientCredits), charge(alice, "query", amount=99):
        pytest.fail("the work ran unpaid")


@pytest.mark.django_db(databases=["auth"])
@pytest.mark.parametrize("error", [RuntimeError(), OSError(), KeyboardInterrupt()])
def test_an_error_of_ours_is_refunded(alice: str, error: BaseException) -> None:
    with pytest.raises(type(error)), charge(alice, "query.premium"):
        raise error
    assert types(alice) == [("usage", -5), ("refund", 5)]


@pytest.mark.django_db(databases=["auth"])
@pytest.mark.parametrize("error", [ValidationError("no"), UserError()])
def test_an_error_of_the_users_stays_paid(alice: str, error: Exception) -> None:
    with pytest.raises(type(error)), charge(alice, "query.premium"):
        raise error
    assert types(alice) == PAID


@pytest.mark.django_db(databases=["auth"])
def test_a_repeat_is_neither_charged_nor_refunded(alice: str) -> None:
    with charge(alice, "query.premium", idempotency_key="k"):
        pass
    again = charge(alice, "query.premium", idempotency_key="k", rerun=True)
    with pytest.raises(RuntimeError), again:
        raise RuntimeError
    assert again.paid is not None
    assert again.paid.replayed
    assert types(alice) == PAID
    with (
        pytest.raises(WorkDone, match="was done and paid before"),
        charge(alice, "query.premium", idempotency_key="k"),
    ):
        pytest.fail("the work was done again")
    assert types(alice) == PAID


@pytest.mark.django_db(databases=["auth"])
def test_a_repeat_of_work_that_failed_is_charged_anew(alice: str) -> None:
    def attempt(error: Exception | None = None) -> Paid:
        with charge(alice, "query.premium", idempotency_key="k", rerun=True) as paid:
            if error:
                raise error
        return paid

    for _ in range(2):
        with pytest.raises(RuntimeError):
            attempt(RuntimeError())
    assert ledger.balance(alice) == 100
    third, fourth = attempt(), attempt()
    assert (third.replayed, fourth.replayed) == (False, True)
    assert fourth.hold.id == third.hold.id
    # What somebody gives back of work that was done is a present.
    ledger.refund(third.id)
    assert attempt().replayed
    assert ledger.balance(alice) == 100
    assert types(alice) == [("usage", -5), ("refund", 5)] * 3 + [("usage", -5), ("refund", 5)]


@pytest.mark.django_db(databases=["auth"])
def test_error_a_call_that_returns_work_to_be_done_later(alice: str) -> None:
    async def ask(user_id: str) -> None: ...

    async def stream(user_id: str) -> Any:
        yield user_id

    for work in (ask, stream, lambda user_id: (each for each in user_id)):
        with pytest.raises(TypeError, match="use charge\\(\\) inside it"):
            charged("query.hybrid")(lambda user_id, work=work: work(user_id))(alice)
    assert ledger.balance(alice) == 100


@pytest.mark.django_db(databases=["auth"])
def test_a_charge_that_the_work_refunded_is_not_refunded_again(alice: str) -> None:
    def work(paid: Paid) -> None:
        with pytest.raises(ledger.NothingToRefund, match="is a hold"):
            ledger.refund(paid.id)
        ledger.release(paid.hold)
        raise RuntimeError

    with pytest.raises(RuntimeError), charge(alice, "query.premium") as paid:
        work(paid)
    assert types(alice) == [("usage", -5), ("refund", 5)]


@pytest.mark.django_db(databases=["auth"])
def test_the_decorator_charges_the_first_argument(alice: str) -> None:
    @charged("query.hybrid")
    def ask(user_id: str, question: str, *, fail: bool = False) -> Any:
        """Answer."""
        if fail:
            raise RuntimeError
        return (user_id, question)

    assert ask(alice, "why") == (alice, "why")
    with pytest.raises(RuntimeError):
        ask(alice, "why", fail=True)
    assert types(alice) == [
        ("usage", -2),
        ("refund", 2),
        ("usage", -2),
        ("usage", -2),
        ("refund", 2),
    ]
    assert ask.__doc__ == "Answer."


@pytest.mark.django_db(databases=["auth"])
def test_a_refund_that_fails_is_logged_and_does_not_hide_the_error(
    alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    ApiKeyCredits.objects.create(api_key="k", user_id=alice)
    ledger.grant(alice, 5, api_key="k", operation="fill")

    def work() -> None:
        ApiKeyCredits.objects.all().delete()
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"), charge(alice, "dataset", api_key="k") as paid:
        work()
    assert caplog.messages == [f"Charge {paid.id} of user {alice} was not refunded."]


@pytest.mark.django_db(databases=["auth"])
@pytest.mark.parametrize("nested", [True, False])
def test_inside_a_transaction_that_is_lost_nothing_is_logged(
    alice: str, caplog: pytest.LogCaptureFixture, nested: bool
) -> None:
    def work() -> None:
        with transaction.atomic(using="auth", savepoint=False) if nested else nullcontext():
            User.objects.raw("SELECT 1 / 0 AS id")[0]

    with pytest.raises(DatabaseError), transaction.atomic(using="auth"), charge(alice, "dataset"):
        work()
    assert caplog.messages == []
    assert ledger.balance(alice) == 100


def hold_is_over(paid: Paid) -> None:
    """Let the time of the block's hold be over."""
    with connections["auth"].cursor() as cursor:
        cursor.execute("ALTER TABLE public.credit_transactions DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE public.credit_transactions SET held_until = '2020-01-01' WHERE id = %s",
            [paid.hold.id],
        )
        cursor.execute("UPDATE public.user_credits SET holds_expire_from = '2020-01-01'")
        cursor.execute("ALTER TABLE public.credit_transactions ENABLE TRIGGER USER")


@pytest.mark.django_db(databases=["auth"])
def test_a_killed_process_gives_the_credits_back_by_itself(alice: str) -> None:
    killed = charge(alice, "query", amount=90, idempotency_key="k")
    hold_is_over(killed.__enter__())
    # Never ended. Whoever needs the credits has them.
    ledger.consume(alice, 100, operation="query")
    ledger.grant(alice, 100, operation="fill")
    with charge(alice, "query", amount=90, idempotency_key="k") as paid:
        pass
    assert (paid.replayed, ledger.balance(alice)) == (False, 10)


@pytest.mark.django_db(databases=["auth"])
def test_a_repeat_takes_over_from_a_killed_process(alice: str) -> None:
    hold_is_over(charge(alice, "query.premium", idempotency_key="k").__enter__())
    with charge(alice, "query.premium", idempotency_key="k"):
        pass
    assert types(alice) == [("usage", -5), ("refund", 5), *PAID]


@pytest.mark.django_db(databases=["auth"])
def test_work_that_outlives_its_hold_is_charged_at_its_end(alice: str) -> None:
    with charge(alice, "query.premium") as paid:
        hold_is_over(paid)
    assert types(alice) == PAID
    with charge(alice, "query", amount=60, metadata=["m"]) as paid:
        hold_is_over(paid)
        ledger.grant(alice, 60, operation="fill")
        ledger.consume(alice, 120, operation="other")
        ledger.grant(alice, 60, operation="fill")
    assert ledger.balance(alice) == 35
    assert ledger.history(alice, limit=1)[0].metadata == ["m"]
    assert ledger.refund(paid.id).balance_after == 95


@pytest.mark.django_db(databases=["auth"])
def test_two_requests_with_one_key_are_one_piece_of_work(alice: str) -> None:
    options: dict[str, Any] = {"idempotency_key": "k", "resource_id": "a"}
    others: list[dict[str, Any]] = [{"resource_id": "b"}, {"resource_id": None}, {"amount": 4}]
    with charge(alice, "query.premium", **options):
        with pytest.raises(WorkInProgress, match="can be tried again after"):
            charge(alice, "query.premium", **options).__enter__()
        for other in others:
            with pytest.raises(ledger.KeyReused):
                charge(alice, "query.premium", **{**options, **other}).__enter__()
    with pytest.raises(WorkDone):
        charge(alice, "query.premium", **options).__enter__()
    with pytest.raises(ledger.KeyReused):
        charge(alice, "query.premium", **{**options, "resource_id": "b"}).__enter__()
    assert types(alice) == PAID


@pytest.mark.django_db(databases=["auth"])
@pytest.mark.parametrize("key", [None, "k"])
def test_an_interrupt_of_the_charge_itself_leaves_nothing(
    alice: str, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    hold = ledger.hold

    def interrupted(*arguments: Any, **options: Any) -> None:
        hold(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger, "hold", interrupted)
    with pytest.raises(KeyboardInterrupt), charge(alice, "query.premium", idempotency_key=key):
        pytest.fail("the work ran")
    # With the caller's key it may be another request's, and is left to its expiry.
    assert ledger.balance(alice) == (95 if key else 100)


@pytest.mark.django_db(databases=["auth"])
@pytest.mark.parametrize(
    ("used", "error", "cost"),
    [
        (3, None, 3),
        (0, None, 0),
        (3, UserError(), 3),
        (3, RuntimeError(), 3),
        (3, KeyboardInterrupt(), 3),
        (0, RuntimeError(), 0),
        (None, GeneratorExit(), 5),
        (None, asyncio.CancelledError(), 5),
        (None, SystemExit(), 0),
    ],
)
def test_what_was_delivered_is_charged(
    alice: str, used: int | None, error: BaseException | None, cost: int
) -> None:
    def work() -> None:
        with charge(alice, "query.premium") as paid:
            if used is not None:
                paid.settle(1)
                paid.settle(used)
            if error:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(type(error)):
            work()
    assert ledger.balance(alice) == 100 - cost


@pytest.mark.django_db(databases=["auth"])
def test_more_than_was_held_needs_overage(alice: str) -> None:
    with charge(alice, "query.premium") as paid:
        with pytest.raises(ledger.HoldExceeded):
            paid.settle(6)
        for used in (-1, 1.5, True):
            with pytest.raises(ValueError, match="0 or more"):
                paid.settle(used)  # type: ignore[arg-type]
    with charge(alice, "query.premium", overage=True) as paid:
        paid.settle(100)
    assert paid.settlement is not None
    assert (paid.settlement.charged, paid.settlement.uncharged) == (95, 5)


@pytest.mark.django_db(databases=["auth"])
def test_a_stream_whose_reader_stops_is_paid(alice: str) -> None:
    def chunks(user_id: str) -> Any:
        with charge(user_id, "query.premium") as paid:
            for number in range(1, 5):
                paid.settle(number)
                yield number

    reader = chunks(alice)
    assert [next(reader), next(reader)] == [1, 2]
    reader.close()
    assert ledger.balance(alice) == 98
    assert list(chunks(alice)) == [1, 2, 3, 4]
    assert ledger.balance(alice) == 94


@pytest.mark.django_db(databases=["auth"])
def test_a_decorated_stream_is_paid_from_its_first_item_on(alice: str) -> None:
    @charged("query.premium")
    def chunks(user_id: str, fail_at: int = 9) -> Any:
        for number in range(3):
            if number == fail_at:
                raise RuntimeError
            yield number
        return "end"

    reader = chunks(alice)
    assert ledger.balance(alice) == 100
    assert next(reader) == 0
    assert ledger.balance(alice) == 95
    reader.close()
    assert list(chunks(alice)) == [0, 1, 2]
    assert ledger.balance(alice) == 90
    with pytest.raises(RuntimeError):
        list(chunks(alice, fail_at=1))
    assert ledger.balance(alice) == 90
    chunks(alice).close()
    assert ledger.balance(alice) == 90


class Model:
    """Called as an async function, though it is none."""

    async def __call__(self, user_id: str, error: BaseException | None = None) -> str:
        await asyncio.sleep(0)
        if error:
            raise error
        return user_id


async def ask(user_id: str, error: BaseException | None = None) -> str:
    return await Model()(user_id, error)


@pytest.mark.django_db(databases=["auth"])
@pytest.mark.parametrize("work", [ask, Model(), functools.partial(Model())])
def test_async_work_is_paid_when_it_is_done(alice: str, work: Any) -> None:
    call = charged("query.premium")(work)
    assert async_to_sync(call)(alice) == alice
    assert types(alice) == PAID
    for error in (RuntimeError(), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            async_to_sync(call)(alice, error)
    assert ledger.balance(alice) == 95
    with pytest.raises(UserError):
        async_to_sync(call)(alice, UserError())
    assert ledger.balance(alice) == 90


@pytest.mark.django_db(databases=["auth"])
def test_async_streams_are_paid_from_their_first_item_on(alice: str) -> None:
    @charged("query.premium")
    async def chunks(user_id: str, error: BaseException | None = None) -> Any:
        if error:
            raise error
        for number in range(3):
            yield number

    async def read(most: int, error: BaseException | None = None) -> list[int]:
        found = []
        async with aclosing(chunks(alice, error)) as items:
            async for item in items:
                found.append(item)
                if len(found) == most:
                    break
        return found

    async def cancelled() -> None:
        async with aclosing(chunks(alice)) as items:
            await anext(items)
            await items.athrow(asyncio.CancelledError())

    assert async_to_sync(read)(9) == [0, 1, 2]
    assert ledger.balance(alice) == 95
    assert async_to_sync(read)(1) == [0]
    assert ledger.balance(alice) == 90
    with pytest.raises(asyncio.CancelledError):
        async_to_sync(cancelled)()
    assert ledger.balance(alice) == 85
    # Nothing was delivered.
    with pytest.raises(asyncio.CancelledError):
        async_to_sync(read)(1, asyncio.CancelledError())
    assert ledger.balance(alice) == 85


@pytest.mark.django_db(databases=["auth"])
def test_async_with_charges_as_with_does(alice: str) -> None:
    async def work() -> int:
        async with charge(alice, "query.premium") as paid:
            paid.settle(3)
        return paid.hold.amount

    assert async_to_sync(work)() == 5
    assert types(alice) == [("usage", -5), ("refund", 5), ("usage", -3)]


@pytest.mark.django_db(databases=["auth"])
def test_a_task_that_is_cancelled_before_its_work_gives_back(alice: str) -> None:
    async def work() -> None:
        async with charge(alice, "query.premium"):
            pytest.fail("the work ran")

    async def cancel() -> None:
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async_to_sync(cancel)()
    assert ledger.balance(alice) == 100


@pytest.mark.django_db(databases=["auth"])
def test_one_charge_is_for_one_block(alice: str) -> None:
    twice = charge(alice, "query.premium")
    with twice:
        pass
    with pytest.raises(WorkDone), twice:
        pytest.fail("the work ran unpaid")
    assert types(alice) == PAID
