"""The ledger outside of a transaction, as a request without one calls it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections, transaction

from auth_app import credits as ledger
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
        names = set(answer.__slots__) - {"id", "transaction_id", "refund_of", "created_at", "spend"}
        values = {name: getattr(answer, name) for name in names}
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


def test_the_functions_before_come_back(alice: str, databases: Databases) -> None:
    call_command("migrate", "auth_app", "0002", database="auth", verbosity=0)
    consume = "SELECT balance, (entry).amount FROM try_consume_credits('a', 3, 'q')"
    assert databases.execute("auth", consume) == [(97, -3)]
    batch = """SELECT verdict, balance FROM consume_credits_many(
        '[{"user_id": "a", "amount": 2, "operation": "q"}]')"""
    assert databases.execute("auth", batch) == [("done", 95)]
    assert databases.execute("auth", "SELECT balance_after FROM consume_credits('a', 1, 'q')") == [
        (94,)
    ]
    call_command("migrate", "auth_app", database="auth", verbosity=0)
    assert ledger.consume(alice, 4, operation="q").balance_after == 90
