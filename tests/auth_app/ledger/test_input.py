"""What the ledger does not take is refused by name, before anything is sent, and in SQL with LC007."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from auth_app import ledger
from auth_app.models import CreditTransaction, User

pytestmark = pytest.mark.django_db(databases=["auth"])

LONG_KEY = "k" * 256
LARGE = "m" * 16_383
BAD: list[tuple[dict[str, Any], str]] = [
    ({"user_id": "a\0"}, "user_id has a NUL character"),
    ({"user_id": "\ud800"}, "user_id has a lone surrogate"),
    ({"user_id": uuid.UUID(int=7)}, "user_id is a text, got UUID"),
    ({"operation": ""}, "an operation is a word that the history shows, got ''"),
    ({"operation": None}, "an operation is a word that the history shows, got None"),
    ({"operation": "q\0"}, "operation has a NUL character"),
    ({"operation": b"q"}, "operation is a text, got bytes"),
    ({"resource_id": "\udfff"}, "resource_id has a lone surrogate"),
    ({"resource_id": 7}, "resource_id is a text, got int"),
    ({"team_id": "t\0"}, "team_id has a NUL character"),
    ({"api_key": "secret\0"}, "api_key has a NUL character, which PostgreSQL cannot hold$"),
    ({"idempotency_key": ""}, "an idempotency key is not empty"),
    ({"idempotency_key": LONG_KEY}, "an idempotency key has 255 characters at most, got 256"),
    ({"idempotency_key": "k\0"}, "idempotency_key has a NUL character"),
    ({"idempotency_key": "\udc80"}, "idempotency_key has a lone surrogate"),
    ({"metadata": {"a": "\0"}}, "metadata has a NUL character"),
    ({"metadata": {"a\0": 1}}, "metadata has a NUL character"),
    ({"metadata": ["\\\\\0"]}, "metadata has a NUL character"),
    ({"metadata": "\ud800"}, "metadata is not JSON"),
    ({"metadata": math.nan}, "metadata is not JSON: Out of range float values"),
    ({"metadata": [math.inf]}, "metadata is not JSON: Out of range float values"),
    ({"metadata": datetime(2026, 1, 1)}, "metadata is not JSON: Object of type datetime"),  # noqa: DTZ001
    ({"metadata": LARGE}, "metadata has 16385 bytes, and 16384 at most are allowed"),
    ({"metadata": "ü" * 8_192}, "metadata has 16386 bytes"),
    ({"amount": 0}, "an amount of credits is from 1 to 2147483647, got 0"),
    ({"amount": 2**31}, "an amount of credits is from 1"),
    ({"amount": 1.0}, "an amount of credits is from 1"),
    ({"amount": True}, "an amount of credits is from 1"),
    ({"amount": math.nan}, "an amount of credits is from 1"),
]
FINE: list[dict[str, Any]] = [
    {"idempotency_key": "ü" * 255},
    {"idempotency_key": "\U0001f600" * 255},
    {"metadata": LARGE[1:]},
    {"metadata": "ü" * 8_191},
    {"metadata": "\\u0000"},
    {"metadata": {"a": "\\\\u0000", "b": "\x01" * 2_000}},
    {"metadata": "\x01" * 2_730},
    {"metadata": [[[[]]], {}, "", 1e5, 10**200]},
    {"operation": "\U0001f600", "resource_id": ""},
]


@pytest.fixture
def ada() -> str:
    return str(User.objects.create(id="ada", name="Ada", email="ada@example.invalid").pk)


def spend(**changes: Any) -> ledger.Spend:
    return ledger.Spend(**{"user_id": "ada", "amount": 1, "operation": "q", **changes})


def consume(each: ledger.Spend) -> ledger.Entry:
    user_id, amount, *_ = each
    return ledger.consume(user_id, amount, **dict(list(each._asdict().items())[2:]))


def grant(each: ledger.Spend) -> ledger.Entry:
    user_id, amount, *_ = each
    return ledger.grant(user_id, amount, **dict(list(each._asdict().items())[2:]))


@pytest.mark.parametrize("call", [consume, grant])
@pytest.mark.parametrize(("changes", "said"), BAD, ids=[said for _, said in BAD])
def test_error_a_bad_argument_is_named_before_anything_is_sent(
    ada: str, call: Callable[[ledger.Spend], ledger.Entry], changes: dict[str, Any], said: str
) -> None:
    with (
        CaptureQueriesContext(connections["auth"]) as queries,
        pytest.raises(ValueError, match=said) as refused,
    ):
        call(spend(**changes))
    assert "secret" not in str(refused.value)
    assert len(queries) == 0


def test_a_bad_item_is_its_own_verdict_and_never_the_batchs(ada: str) -> None:
    batch = [spend(amount=2)]
    for changes, _ in BAD:
        batch += [spend(**changes), spend()]
    decisions = ledger.consume_many(batch)
    assert [each.spend for each in decisions] == batch
    assert [each.verdict for each in decisions] == ["done"] + ["invalid", "done"] * len(BAD)
    for decision, (_, said) in zip(decisions[1::2], BAD, strict=True):
        assert decision.problem is not None
        assert said.rstrip("$") in decision.problem
        assert not decision.ok
    assert ledger.balance(ada) == 100 - 2 - len(BAD)
    with CaptureQueriesContext(connections["auth"]) as queries:
        assert [each.verdict for each in ledger.consume_many(batch[1::2])] == ["invalid"] * len(BAD)
    assert len(queries) == 0


@pytest.mark.parametrize("changes", FINE)
def test_what_is_long_or_strange_and_fits_is_kept(ada: str, changes: dict[str, Any]) -> None:
    entry = consume(spend(**changes))
    row = CreditTransaction.objects.get(pk=entry.id)
    assert (row.idempotency_key, row.transaction_metadata) == (
        changes.get("idempotency_key"),
        changes.get("metadata"),
    )
    again = {**changes, "idempotency_key": changes.get("idempotency_key", "k") + "2"}
    if len(again["idempotency_key"]) <= 255:
        (decision,) = ledger.consume_many([spend(**again)])
        assert decision.verdict == "done"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ledger.refund("a\0"), "transaction_id has a NUL"),
        (lambda: ledger.reverse("a\0"), "purchase_id has a NUL"),
        (lambda: ledger.reinstate("id", metadata=math.nan), "metadata is not JSON"),
        (lambda: ledger.reverse("id", -1), "an amount of credits is from 1"),
        (lambda: ledger.balance("a\0"), "user_id has a NUL"),
        (lambda: ledger.statement("a", team_id="\ud800"), "team_id has a lone surrogate"),
        (lambda: ledger.renew("a", 1, limit=2, operation=""), "an operation is a word"),
    ],
)
def test_error_every_call_names_its_argument(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()


SQL = [
    ("consume_credits(NULL, 1, 'q')", "user_id is missing"),
    ("consume_credits('', 1, 'q')", "user_id is missing"),
    ("consume_credits('ada', 0, 'q')", "an amount of credits is from 1 to 2147483647, got 0"),
    ("consume_credits('ada', NULL, 'q')", "got NULL"),
    ("consume_credits('ada', 1, NULL)", "operation is missing"),
    ("consume_credits('ada', 1, '')", "operation is missing"),
    ("consume_credits('ada', 1, 'q', p_idempotency_key => '')", "idempotency_key is empty"),
    (
        "consume_credits('ada', 1, 'q', p_idempotency_key => repeat('k', 256))",
        "idempotency_key has 256 characters, and 255 at most are allowed",
    ),
    (
        "consume_credits('ada', 1, 'q', p_metadata => to_jsonb(repeat('m', 16383)))",
        "metadata has 16385 bytes, and 16384 at most are allowed",
    ),
    # Short as it is stored, long as it is read.
    (
        "consume_credits('ada', 1, 'q', p_metadata => to_jsonb(repeat(chr(1), 2731)))",
        "metadata has 16388 bytes",
    ),
    ("try_consume_credits('ada', -1, 'q')", "got -1"),
    ("grant_credits('ada', 1, 'bonus', '')", "operation is missing"),
    ("grant_credits('ada', 1, 'refund', 'q')", "granted as purchase or bonus, not as refund"),
    ("refund_credits(NULL)", "transaction_id is missing"),
    ("refund_credits('id', p_idempotency_key => '')", "idempotency_key is empty"),
    ("reverse_credits('id', 0)", "got 0"),
    ("reinstate_credits(NULL)", "purchase_id is missing"),
    ("consume_credits_many(NULL)", "a batch is a JSON array, got NULL"),
    ("consume_credits_many('{}')", "a batch is a JSON array, got object"),
    ("consume_credits_many('7')", "a batch is a JSON array, got number"),
]


@pytest.mark.parametrize(("call", "said"), SQL, ids=[call for call, _ in SQL])
def test_error_in_sql_it_has_a_state_of_its_own(ada: str, call: str, said: str) -> None:
    with connections["auth"].cursor() as cursor, pytest.raises(Exception, match=said) as refused:
        cursor.execute(f"SELECT public.{call}")
    assert isinstance(refused.value.__cause__, psycopg.Error)
    assert refused.value.__cause__.sqlstate == "LC007"


def test_in_sql_a_bad_item_is_its_own_verdict(ada: str) -> None:
    good = {"user_id": "ada", "amount": 1, "operation": "q"}
    bad: list[Any] = [
        *(7, "x", None, [], {}, [good]),
        *({**good, "amount": amount} for amount in (1.5, "x", "", None, -1, 0, 2**31, 10**30, [1])),
        *({**good, "user_id": user} for user in (None, "")),
        *({**good, "operation": operation} for operation in (None, "")),
        *({**good, "idempotency_key": key} for key in ("", LONG_KEY)),
        *({**good, "metadata": metadata} for metadata in (LARGE, "\x01" * 2_731)),
    ]
    batch = [good, *bad, {**good, "amount": "2", "metadata": LARGE[1:]}]
    with connections["auth"].cursor() as cursor:
        cursor.execute(
            "SELECT verdict, balance FROM public.consume_credits_many(%s) ORDER BY place",
            [json.dumps(batch)],
        )
        said = cursor.fetchall()
    assert said == [("done", 99), *[("invalid", None)] * len(bad), ("done", 97)]


def test_a_bad_item_with_a_key_does_not_use_it(ada: str) -> None:
    with connections["auth"].cursor() as cursor:
        cursor.execute(
            "SELECT verdict FROM public.consume_credits_many(%s) ORDER BY place",
            [
                json.dumps(
                    [
                        {**spend(amount=amount)._asdict(), "idempotency_key": "k"}
                        for amount in (0, 5, 5)
                    ]
                )
            ],
        )
        assert [verdict for (verdict,) in cursor.fetchall()] == ["invalid", "done", "replayed"]
