"""The ledger outside of a transaction, as a request without one calls it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction

from auth_app import ledger
from tests.conftest import Databases


@pytest.fixture
def alice(databases: Databases) -> str:
    """A user with 100 credits, owner of a team with 50 and of an API key with 30."""
    databases.execute("auth", "INSERT INTO users (id, name, email) VALUES ('a', 'A', 'a')")
    databases.execute("auth", "INSERT INTO teams (id, name, owner_id) VALUES ('team', 'T', 'a')")
    databases.execute(
        "auth",
        "INSERT INTO api_key_credits (api_key, user_id, daily_limit) VALUES ('key', 'a', 20)",
    )
    databases.execute("auth", "SELECT grant_credits('a', 50, 'bonus', 'x', p_team_id => 'team')")
    databases.execute("auth", "SELECT grant_credits('a', 30, 'bonus', 'x', p_api_key => 'key')")
    return "a"


def everything(user: str, key: str) -> list[Any]:
    """What each call says, refusals included, without what time and chance put in."""
    said: list[Any] = []

    def say(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            answer = call(*arguments, **options)
        except (ledger.CreditError, ValueError) as refusal:
            said.append((type(refusal), vars(refusal)))
            return None
        said.extend(map(told, answer if isinstance(answer, list) else [answer]))
        return answer

    def told(answer: Any) -> dict[str, Any]:
        by_chance = {"id", "transaction_id", "refund_of", "created_at", "spend"}
        values = {name: each for name, each in answer._asdict().items() if name not in by_chance}
        return {**values, "idempotency_key": str(values.get("idempotency_key")).replace(key, "")}

    used = say(
        ledger.consume,
        user,
        9,
        operation="q",
        resource_id="r",
        metadata={"naïve": [1, None]},
        idempotency_key=key,
    )
    again = say(ledger.consume, user, 9, operation="q", idempotency_key=key)
    assert (again.id, again.created_at) == (used.id, used.created_at)
    say(ledger.consume, user, 8, operation="q", idempotency_key=key)
    say(ledger.consume, user, 5, operation="q", team_id="team", metadata=[])
    say(ledger.consume, user, 15, operation="q", api_key="key", metadata="text")
    say(ledger.consume, user, 15, operation="q", api_key="key")
    say(ledger.consume, user, 1000, operation="q")
    say(ledger.consume, user, 0, operation="q")
    say(ledger.consume, "nobody", 1, operation="q")
    say(ledger.grant, user, 7, operation="g", idempotency_key=f"{key}g")
    say(ledger.grant, user, 2**31 - 1, operation="g")
    say(ledger.renew, user, 100, limit=120)
    say(ledger.refund, used.id, 4, idempotency_key=f"{key}r")
    say(ledger.refund, used.id, 4, idempotency_key=f"{key}r")
    say(ledger.refund, used.id, 6)
    say(
        ledger.consume_many,
        [
            ledger.Spend(user, 1, "q", metadata={"a": 1}, idempotency_key=f"{key}m"),
            ledger.Spend(user, 1, "q", idempotency_key=f"{key}m"),
            ledger.Spend(user, 10_000, "q"),
            ledger.Spend("nobody", 1, "q"),
            ledger.Spend(user, 2, "q", team_id="team"),
        ],
    )
    return said


def test_it_says_the_same_as_inside_of_one(alice: str) -> None:
    with transaction.atomic(using="auth"):
        inside = everything(alice, "1" * 30)
        transaction.set_rollback(True, using="auth")
    assert len(inside) == 20
    assert everything(alice, "2" * 30) == inside


@pytest.mark.parametrize("amount", ["5", None, 1.5, True, 0, 2**31])
def test_error_an_amount_that_is_none_is_not_sent(alice: str, amount: Any) -> None:
    for call in (ledger.consume, ledger.grant):
        with pytest.raises(ValueError, match=f"from 1 to 2147483647, got {amount!r}"):
            call(alice, amount, operation="q")
    assert ledger.balance(alice) == 100


def test_ids_of_a_batch_are_version_7_and_in_its_order(alice: str) -> None:
    first = ledger.consume(alice, 1, operation="q").id
    decisions = ledger.consume_many([ledger.Spend(alice, 1, "q") for _ in range(40)])
    ids = [first, *(str(decision.transaction_id) for decision in decisions)]
    ids.append(ledger.consume(alice, 1, operation="q").id)
    assert ids == sorted(set(ids))
    for id_ in ids:
        made = uuid.UUID(id_)
        assert (made.version, made.variant, str(made)) == (7, uuid.RFC_4122, id_)


def test_a_batch_reads_only_the_keys_that_it_names(alice: str, databases: Databases) -> None:
    databases.execute(
        "auth",
        "INSERT INTO credit_transactions (user_id, amount, type, idempotency_key)"
        " SELECT 'a', 1, 'bonus', 'old ' || n FROM generate_series(1, 5000) n",
    )
    databases.execute("auth", "ANALYZE credit_transactions")
    batch = [ledger.Spend(alice, 1, "q", idempotency_key=f"new {n}") for n in range(100)]
    with transaction.atomic(using="auth"):
        ledger.consume_many(batch)
        with connections["auth"].cursor() as cursor:
            cursor.execute(
                "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
                " WHERE relname = 'credit_transactions'"
            )
            assert cursor.fetchone()[0] <= len(batch)


@pytest.mark.parametrize(
    "metadata",
    [None, {"b": [1, 2.5, None]}, [], "a 'b' \"c\"", 7, True, {"ü": {"x y": ""}}, 1e23],
    ids=repr,
)
@pytest.mark.parametrize(
    "payer", [{}, {"team_id": "a team of\ttwo"}, {"team_id": ""}, {"api_key": "pool's"}], ids=repr
)
def test_what_it_returns_is_what_a_later_reader_gets(
    alice: str, databases: Databases, payer: dict[str, str], metadata: Any
) -> None:
    for team in ("a team of\ttwo", ""):
        databases.execute(
            "auth",
            "INSERT INTO teams (id, name, owner_id, credits) VALUES (%s, 'T', %s, 9)",
            *(team, alice),
        )
    databases.execute(
        "auth",
        "INSERT INTO api_key_credits (api_key, user_id, team_id, credits)"
        " VALUES ('pool''s', %s, 'a team of\ttwo', 9)",
        alice,
    )
    # A session's style of dates must not show.
    with connections["auth"].cursor() as cursor:
        cursor.execute("SET DateStyle TO 'German'")
    spend: dict[str, Any] = {"operation": "a query", "resource_id": " r ", "metadata": metadata}
    done = ledger.consume(alice, 2, **spend, **payer, idempotency_key="k 1")
    again = ledger.consume(alice, 2, **spend, **payer, idempotency_key="k 1")
    with connections["auth"].cursor() as cursor:
        cursor.execute("RESET DateStyle")
    (read,) = ledger.history(alice, limit=1)
    assert done == read
    assert again == read._replace(replayed=True)
    plain = ledger.consume(alice, 2, operation="q", **payer)
    assert [plain] == ledger.history(alice, limit=1)


def test_it_answers_in_columns(alice: str, databases: Databases) -> None:
    """As a client reads it that is not written in Python."""

    def consume(amount: int, key: str | None = None, user: str = "a") -> list[tuple[Any, ...]]:
        return databases.execute(
            "auth",
            "SELECT * FROM try_consume_credits(%s, %s, 'q', 'r', NULL, NULL, '[\"x y\"]', %s)",
            *(user, amount, key),
        )

    ((*first, id_, team, resource, metadata, created_at),) = consume(3, "k")
    assert (first, team, resource, metadata) == (["done", 97], None, "r", ["x y"])
    (entry,) = ledger.history("a", limit=1)
    assert (entry.id, entry.created_at) == (id_, created_at.replace(tzinfo=dt.UTC))
    assert consume(3, "k") == [("replayed", 97, id_, team, resource, metadata, created_at)]
    nothing = (None,) * 5
    assert consume(4, "k") == [("key_reused", 97, id_, team, resource, metadata, created_at)]
    assert consume(98) == [("insufficient", 97, *nothing)]
    assert consume(1, user="nobody") == [("unknown_account", None, *nothing)]
    assert ledger.balance("a") == 97


@pytest.mark.parametrize(
    "call",
    [
        lambda key: ledger.consume("a", 1, operation="q", idempotency_key=key),
        lambda key: ledger.grant("a", 1, operation="q", idempotency_key=key),
        lambda key: ledger.renew("a", 1, limit=9, idempotency_key=key),
        lambda key: ledger.refund("id", idempotency_key=key),
        lambda key: ledger.reverse("id", idempotency_key=key),
        lambda key: ledger.reinstate("id", idempotency_key=key),
    ],
    ids=["consume", "grant", "renew", "refund", "reverse", "reinstate"],
)
def test_an_empty_key_is_refused(alice: str, call: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="an idempotency key is not empty"):
        call("")
    assert ledger.balance("a") == 100


def test_a_refund_of_nothing_says_so(alice: str) -> None:
    with pytest.raises(ledger.NothingToRefund, match="There is no usage 'id' with credits left"):
        ledger.refund("id")
    used = ledger.consume("a", 2, operation="q")
    ledger.refund(used.id, 1)
    with pytest.raises(ledger.NothingToRefund, match=f"Of usage '{used.id}' 1 credit is left"):
        ledger.refund(used.id, 2)


def test_a_replay_of_a_row_that_says_no_balance(alice: str, databases: Databases) -> None:
    """Another client wrote it."""
    databases.execute(
        "auth",
        "INSERT INTO credit_transactions (user_id, amount, type, operation, idempotency_key)"
        " VALUES ('a', -3, 'usage', 'q', 'theirs')",
    )
    entry = ledger.consume(alice, 3, operation="q", idempotency_key="theirs")
    assert (entry.replayed, entry.balance_after) == (True, None)
