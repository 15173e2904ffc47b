"""One idempotency key at once on several payers, by several owners, by old snapshots: never an IntegrityError."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import connections

from auth_app import ledger
from tests.conftest import Databases

CONSUME = "SELECT verdict FROM public.try_consume_credits('u', 5, 'q', NULL, %s, %s, NULL, %s)"
GRANT = "SELECT verdict FROM public.try_grant_credits('u', 5, 'bonus', 'q', NULL, %s, %s, NULL, %s)"
BATCH = """SELECT verdict FROM public.consume_credits_many(jsonb_build_array(jsonb_build_object(
    'user_id', 'u', 'amount', 5, 'operation', 'q', 'team_id', %s::text, 'api_key', %s::text,
    'idempotency_key', %s::text)))"""
PAYERS: list[tuple[str | None, str | None]] = [(None, None), ("t", None), (None, "k")]


@pytest.fixture
def user(databases: Databases) -> str:
    """User ``u``, owner of team ``t`` and of API key ``k``, a hundred credits in each."""
    with databases.connect("auth") as connection:
        connection.execute("INSERT INTO public.users (id, name, email) VALUES ('u', 'U', 'u@x')")
        connection.execute("INSERT INTO public.teams (id, name, owner_id) VALUES ('t', 'T', 'u')")
        connection.execute(
            "INSERT INTO public.api_key_credits (api_key, user_id, team_id) VALUES ('k', 'u', 't')"
        )
        connection.execute(
            "SELECT public.grant_credits('u', 100, 'purchase', 'g', p_team_id => 't'),"
            " public.grant_credits('u', 100, 'purchase', 'g', p_api_key => 'k')"
        )
    return "u"


@pytest.mark.parametrize("call", [CONSUME, GRANT, BATCH], ids=["consume", "grant", "batch"])
def test_one_key_at_once_on_three_payers_is_one_change(
    databases: Databases, user: str, call: str
) -> None:
    rounds = 12
    ready = threading.Barrier(len(PAYERS))

    def client(payer: tuple[str | None, str | None]) -> list[str]:
        with databases.connect("auth") as connection:
            found = []
            for number in range(rounds):
                ready.wait()
                row = connection.execute(call, [*payer, f"key-{number}"]).fetchone()
                assert row is not None
                found.append(row[0])
        return found

    with ThreadPoolExecutor(len(PAYERS)) as pool:
        verdicts = list(pool.map(client, PAYERS))
    for each in zip(*verdicts, strict=True):
        assert Counter(each) == {"done": 1, "key_reused": 2}
    assert rows(databases) == rounds


@pytest.mark.parametrize("call", [CONSUME, GRANT, BATCH], ids=["consume", "grant", "batch"])
@pytest.mark.parametrize("payer", PAYERS[1:], ids=["team", "api_key"])
def test_a_snapshot_older_than_the_key_is_told_to_come_again(
    databases: Databases, user: str, call: str, payer: tuple[str | None, str | None]
) -> None:
    """At REPEATABLE READ the row cannot be seen: a serialization failure, which clients repeat."""
    with databases.connect("auth") as late, databases.connect("auth") as early:
        late.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        late.execute("SELECT count(*) FROM public.users")
        early.execute(CONSUME, [None, None, "key"])
        with pytest.raises(psycopg.errors.SerializationFailure):
            late.execute(call, [*payer, "key"])
        late.execute("ROLLBACK")
        assert verdict(late, call, *payer, "key") == "key_reused"


@pytest.mark.parametrize("call", [CONSUME, GRANT, BATCH], ids=["consume", "grant", "batch"])
def test_a_program_that_writes_the_key_itself_makes_no_integrity_error(
    databases: Databases, user: str, call: str
) -> None:
    """It locks no user: the call has looked, found nothing, and meets the row when it writes its own."""
    insert = (
        "INSERT INTO public.credit_transactions (user_id, amount, type, operation, idempotency_key)"
        " VALUES ('u', 1, 'bonus', 'own', 'key')"
    )
    with databases.connect("auth") as foreign, databases.connect("auth") as ours:
        foreign.execute("BEGIN")
        foreign.execute(insert)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ours.execute, call, ["t", None, "key"])
            wait_for_lock(databases)
            foreign.execute("COMMIT")
            with pytest.raises(psycopg.errors.SerializationFailure, match="idempotency key"):
                answer.result(20)
        assert ledger.balance("u", team_id="t") == 100
        assert verdict(ours, call, "t", None, "key") == "key_reused"


def test_a_payment_for_a_team_is_granted_once_whoever_owns_it(
    databases: Databases, user: str
) -> None:
    databases.execute("auth", "INSERT INTO public.users (id, name, email) VALUES ('v', 'V', 'v@x')")
    first = ledger.grant("u", 50, operation="stripe", team_id="t", idempotency_key="evt_1")
    databases.execute("auth", "UPDATE public.teams SET owner_id = 'v' WHERE id = 't'")
    again = ledger.grant("v", 50, operation="stripe", team_id="t", idempotency_key="evt_1")
    assert (again.id, again.replayed, ledger.balance("v", team_id="t")) == (first.id, True, 150)
    with pytest.raises(ledger.KeyReused):
        ledger.grant("v", 60, operation="stripe", team_id="t", idempotency_key="evt_1")
    # The same of a key that was given to another user.
    first = ledger.grant("u", 50, operation="stripe", api_key="k", idempotency_key="evt_2")
    databases.execute("auth", "UPDATE public.api_key_credits SET user_id = 'v'")
    again = ledger.grant("v", 50, operation="stripe", api_key="k", idempotency_key="evt_2")
    assert (again.id, again.replayed, ledger.balance("v", api_key="k")) == (first.id, True, 150)
    # Another pool, or none, is another grant.
    databases.execute(
        "auth", "INSERT INTO public.teams (id, name, owner_id) VALUES ('w', 'W', 'v')"
    )
    assert not ledger.grant(
        "v", 50, operation="stripe", team_id="w", idempotency_key="evt_1"
    ).replayed


def test_an_owner_and_the_next_at_once_grant_a_team_once(databases: Databases, user: str) -> None:
    """Both belong to the team: two users' locks do not exclude each other, the team's does."""
    databases.execute("auth", "INSERT INTO public.users (id, name, email) VALUES ('v', 'V', 'v@x')")
    databases.execute("auth", "UPDATE public.user_credits SET team_id = 't' WHERE user_id = 'v'")
    ready = threading.Barrier(2)

    def client(user_id: str) -> list[bool]:
        try:
            found = []
            for number in range(12):
                ready.wait()
                found.append(
                    ledger.grant(
                        user_id, 1, operation="p", team_id="t", idempotency_key=f"evt-{number}"
                    ).replayed
                )
            return found
        finally:
            connections["auth"].close()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(client, ["u", "v"])
    assert all(one is not other for one, other in zip(first, second, strict=True))
    assert ledger.balance("u", team_id="t") == 112


def rows(databases: Databases) -> int:
    ((count,),) = databases.execute(
        "auth", "SELECT count(*) FROM public.credit_transactions WHERE operation = 'q'"
    )
    return int(count)


def verdict(connection: psycopg.Connection[Any], call: str, *parameters: str | None) -> str:
    row = connection.execute(call.encode(), parameters).fetchone()
    assert row is not None
    return str(row[0])


def wait_for_lock(databases: Databases) -> None:
    """Until a session waits for another."""
    with databases.connect("auth") as connection:
        for _ in range(500):
            row = connection.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
            ).fetchone()
            if row is not None and row[0]:
                return
            connection.execute("SELECT pg_sleep(0.01)")
    pytest.fail("nobody waits")
