from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DatabaseError, transaction

from auth_app import credits as ledger
from auth_app.models import ApiKeyCredits, User
from auth_app.pricing import UserError, charge, charged, price

MB = 1024 * 1024


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
    assert types(alice) == [("usage", -5)]


@pytest.mark.django_db(databases=["auth"])
def test_a_repeat_is_neither_charged_nor_refunded(alice: str) -> None:
    with charge(alice, "query.premium", idempotency_key="k"):
        pass
    with pytest.raises(RuntimeError), charge(alice, "query.premium", idempotency_key="k"):
        raise RuntimeError
    assert types(alice) == [("usage", -5)]


@pytest.mark.django_db(databases=["auth"])
def test_a_repeat_of_work_that_failed_is_charged_anew(alice: str) -> None:
    def attempt(error: Exception | None = None) -> ledger.Entry:
        with charge(alice, "query.premium", idempotency_key="k") as paid:
            if error:
                raise error
        return paid

    for _ in range(2):
        with pytest.raises(RuntimeError):
            attempt(RuntimeError())
    assert ledger.balance(alice) == 100
    third, fourth = attempt(), attempt()
    assert (third.replayed, fourth.replayed, fourth.id) == (False, True, third.id)
    # What somebody gives back of work that was done is a present.
    ledger.refund(third.id)
    assert attempt().replayed
    assert ledger.balance(alice) == 100
    assert types(alice) == [("usage", -5), ("refund", 5)] * 3


def test_error_what_runs_after_the_call_is_not_decorated() -> None:
    async def ask(user_id: str) -> None: ...

    def chunks(user_id: str) -> Any:
        yield user_id

    for function in (ask, chunks):
        with pytest.raises(TypeError, match="use charge\\(\\) inside it"):
            charged("query.hybrid")(function)


@pytest.mark.django_db(databases=["auth"])
def test_a_charge_that_the_work_refunded_is_not_refunded_again(alice: str) -> None:
    def work(paid: ledger.Entry) -> None:
        ledger.refund(paid.id)
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
    assert types(alice) == [("usage", -2), ("usage", -2), ("refund", 2)]
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
