"""The ledger's calls are ordinary statements of Django's connection, prepared or not."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import django.db
import psycopg
import pytest
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext

from auth_app import ledger
from auth_app.ledger import calls
from tests.conftest import Databases

WITHOUT_LIMIT = """
    CREATE OR REPLACE FUNCTION public.check_credit_input(
        p_user_id text, p_amount bigint, p_operation text, p_idempotency_key text, p_metadata jsonb
    ) RETURNS void LANGUAGE sql AS 'SELECT'
"""
OPTIONS: dict[str, dict[str, Any]] = {
    "prepared at once": {"server_side_binding": True, "prepare_threshold": 0},
    "not prepared": {"server_side_binding": False, "prepare_threshold": None},
}


@pytest.fixture(params=list(OPTIONS))
def prepared(
    request: pytest.FixtureRequest, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Each way in which DATABASES may have statements sent, whatever it says now."""
    connection = connections["auth"]
    connection.close()
    options = {**connection.settings_dict.get("OPTIONS", {}), **OPTIONS[request.param]}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    yield request.param
    connection.close()


@pytest.fixture
def alice(databases: Databases) -> str:
    databases.execute("auth", "INSERT INTO users (id, name, email) VALUES ('a', 'A', 'a')")
    return "a"


def consume(amount: int = 1) -> int | None:
    return ledger.consume("a", amount, operation="q", metadata={"naïve": [1]}).balance_after


def prepared_names() -> list[str]:
    with connections["auth"].cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [text for (text,) in cursor.fetchall() if "try_consume_credits" in text]


def round_trips(call: Callable[[], object]) -> int:
    """How often the client asked for an answer: each Sync or Query message of the protocol."""
    connections["auth"].ensure_connection()
    pgconn = connections["auth"].connection.pgconn
    with tempfile.TemporaryFile("w+") as trace:
        pgconn.trace(trace.fileno())
        call()
        pgconn.untrace()
        trace.seek(0)
        return sum(line.split()[4] in {"Sync", "Query"} for line in trace if "\tF\t" in line)


@contextmanager
def account_locked(databases: Databases) -> Iterator[None]:
    """Another session holds the account, so that a consume waits until this block ends."""
    with databases.connect("auth") as other, other.transaction():
        other.execute("SELECT FROM user_credits WHERE user_id = 'a' FOR UPDATE")
        yield


@pytest.mark.usefixtures("prepared")
def test_it_answers_the_same_however_it_is_sent(alice: str) -> None:
    assert [consume() for _ in range(8)] == list(range(99, 91, -1))
    with transaction.atomic(using="auth"):
        assert consume() == 91
    with CaptureQueriesContext(connections["auth"]) as queries:
        assert consume() == 90
    assert len(queries) == 1
    assert ledger.history(alice, limit=1)[0].metadata == {"naïve": [1]}


def test_it_is_one_round_trip(alice: str, prepared: str) -> None:
    trips = [round_trips(consume) for _ in range(8)]
    # Preparing is one more, once.
    assert trips.count(1) == len(trips) - (0 if prepared == "not prepared" else len(trips) - 7)
    assert len(prepared_names()) == (0 if prepared == "not prepared" else 1)


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("statement", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_what_was_prepared_may_be_discarded(alice: str, statement: str) -> None:
    for _ in range(7):
        consume()
    with connections["auth"].cursor() as cursor:
        cursor.execute(statement)
    assert [consume() for _ in range(7)][-1] == 86


def test_a_new_connection_starts_anew(alice: str) -> None:
    consume()
    connections["auth"].close()
    assert consume() == 98


@pytest.mark.usefixtures("prepared")
def test_a_refusal_does_not_abort_the_callers_transaction(alice: str) -> None:
    with transaction.atomic(using="auth"):
        for _ in range(7):
            with pytest.raises(ledger.InsufficientCredits):
                consume(101)
        assert consume() == 99
    assert ledger.balance(alice) == 99


@pytest.mark.usefixtures("prepared")
def test_an_error_is_djangos_and_the_connection_goes_on(alice: str, databases: Databases) -> None:
    databases.execute("auth", "ALTER TABLE credit_transactions ADD CHECK (operation <> 'no')")
    for _ in range(7):
        with pytest.raises(django.db.IntegrityError) as failure:
            ledger.consume_many([ledger.Spend("a", 2**62, "q"), ledger.Spend("a", 1, "no")])
        assert getattr(failure.value.__cause__, "sqlstate", None) == "23514"
        with pytest.raises(django.db.IntegrityError, match="check constraint"):
            ledger.consume("a", 1, operation="no")
    assert consume() == 99


def test_a_lost_connection_is_an_operational_error(alice: str, databases: Databases) -> None:
    consume()
    pid = connections["auth"].connection.info.backend_pid
    databases.execute("auth", "SELECT pg_terminate_backend(%s, 5000)", pid)
    for _ in range(2):
        with pytest.raises(django.db.OperationalError):
            consume()
    assert connections["auth"].connection.closed
    # What Django does between requests.
    connections["auth"].close_if_unusable_or_obsolete()
    assert consume() == 98


def test_a_health_check_comes_first_where_it_is_on(alice: str, databases: Databases) -> None:
    consume()
    connection: Any = connections["auth"]
    databases.execute(
        "auth", "SELECT pg_terminate_backend(%s, 5000)", connection.connection.info.backend_pid
    )
    # What CONN_HEALTH_CHECKS and the start of a request set.
    connection.health_check_enabled, connection.health_check_done = True, False
    assert consume() == 98


def test_a_connection_that_psycopg_closed_is_djangos_error(alice: str) -> None:
    consume()
    connections["auth"].connection.close()
    with pytest.raises(django.db.OperationalError):
        consume()
    connections["auth"].close_if_unusable_or_obsolete()
    assert consume() == 98


def test_a_session_that_ends_while_it_is_waited_for(alice: str, databases: Databases) -> None:
    consume()
    pid = connections["auth"].connection.info.backend_pid
    timer = threading.Timer(
        0.3, databases.execute, ("auth", "SELECT pg_terminate_backend(%s)", pid)
    )
    with account_locked(databases):
        timer.start()
        with pytest.raises(django.db.OperationalError, match="terminating") as ended:
            consume()
    # The server's own error, and not only that it hung up.
    assert isinstance(ended.value.__cause__, psycopg.errors.AdminShutdown)
    timer.join()
    connections["auth"].close_if_unusable_or_obsolete()
    assert consume() == 98


def test_it_joins_the_callers_transaction(alice: str, databases: Databases) -> None:
    with transaction.atomic(using="auth"):
        consume()
        assert databases.execute("auth", "SELECT credits FROM user_credits") == [(100,)]
        transaction.set_rollback(True, using="auth")
    assert databases.execute("auth", "SELECT credits FROM user_credits") == [(100,)]
    consume()
    assert databases.execute("auth", "SELECT credits FROM user_credits") == [(99,)]


def test_a_broken_transaction_is_refused_before_anything_is_sent(alice: str) -> None:
    with transaction.atomic(using="auth"):
        transaction.set_rollback(True, using="auth")
        with pytest.raises(transaction.TransactionManagementError):
            consume()
    assert ledger.balance(alice) == 100


def test_loggers_and_wrappers_of_statements_see_every_call(alice: str) -> None:
    seen = []

    def wrapper(execute: Any, sql: str, *arguments: Any) -> Any:
        seen.append(sql)
        # A wrapper may send statements of its own, even the same one.
        if len(seen) == 1:
            consume()
        return execute(sql, *arguments)

    with connections["auth"].execute_wrapper(wrapper):
        used = ledger.consume(alice, 3, operation="q")
        ledger.refund(used.id)
        ledger.grant(alice, 1, operation="q")
        ledger.consume_many([ledger.Spend(alice, 1, "q")])
    assert len(seen) == 5
    called = ("try_consume", "try_consume", "try_refund", "try_grant", "consume_credits_many")
    assert all(name in sql for name, sql in zip(called, seen, strict=True))


@pytest.mark.usefixtures("prepared")
def test_the_sessions_settings_do_not_show(alice: str) -> None:
    first = ledger.consume(alice, 1, operation="naïve", idempotency_key="k")
    with connections["auth"].cursor() as cursor:
        for statement in (
            "SET DateStyle TO 'SQL, MDY'",
            "SET DateStyle TO 'SQL, DMY'",
            "SET DateStyle TO 'ISO, MDY'",
            "SET client_encoding TO 'LATIN1'",
            "SET client_encoding TO 'UTF8'",
        ):
            cursor.execute(statement)
            again = ledger.consume(alice, 1, operation="naïve", idempotency_key="k")
            assert again == first._replace(replayed=True)


def test_a_value_of_another_type_is_not_taken_for_text(alice: str) -> None:
    """A key given as a uuid and again as text would be two keys, if it were not refused."""
    key: Any = uuid.uuid4()
    for _ in range(2):
        with pytest.raises(ValueError, match="idempotency_key is a text, got UUID"):
            ledger.consume(alice, 1, operation="q", idempotency_key=key)


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("amount", [1, 2**15, 2**31 - 1])
def test_an_amount_of_any_size_goes(alice: str, amount: int) -> None:
    for each in (1, amount, 2**16, amount):
        if each < 100:
            assert ledger.consume(alice, each, operation="q").amount == -each
        else:
            with pytest.raises(ledger.InsufficientCredits):
                ledger.consume(alice, each, operation="q")


def test_each_thread_has_a_session_of_its_own(alice: str) -> None:
    balances: list[int | None] = []

    def spend() -> None:
        try:
            balances.extend(consume() for _ in range(20))
        finally:
            connections["auth"].close()

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(filter(None, balances)) == list(range(20, 100))


def test_what_forbids_the_database_forbids_it_the_ledger(
    alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pytest-django does for tests that are not marked."""
    consume()

    def forbid(self: object) -> None:
        raise RuntimeError("not in this test")

    with monkeypatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "ensure_connection", forbid)
        with pytest.raises(RuntimeError, match="not in this test"):
            consume()


@pytest.mark.usefixtures("prepared")
def test_an_interrupt_cancels_it(alice: str, databases: Databases) -> None:
    consume()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    began = time.monotonic()
    with account_locked(databases):
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            consume()
    assert time.monotonic() - began < 10
    assert consume() == 98


def test_an_interrupt_inside_a_transaction_rolls_it_back(alice: str, databases: Databases) -> None:
    databases.execute("auth", "INSERT INTO users (id, name, email) VALUES ('b', 'B', 'b')")
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))

    def interrupted() -> None:
        with transaction.atomic(using="auth"):
            ledger.consume("b", 1, operation="q")
            timer.start()
            consume()

    with account_locked(databases), pytest.raises(KeyboardInterrupt):
        interrupted()
    assert connections["auth"].connection is not None
    assert (ledger.balance("a"), ledger.balance("b")) == (100, 100)


@pytest.mark.usefixtures("prepared")
def test_more_than_the_socket_holds_goes_and_comes(
    alice: str, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Much smaller ones are refused by the ledger; the driver is not to be the reason.
    monkeypatch.setattr(calls, "LARGEST_METADATA", 2**30)
    databases.execute("auth", WITHOUT_LIMIT)
    text = "a€" * 2_000_000
    assert ledger.consume(alice, 1, operation="q", metadata=text).metadata == text


@pytest.mark.usefixtures("prepared")
def test_a_function_may_be_replaced_while_it_is_prepared(alice: str, databases: Databases) -> None:
    for _ in range(7):
        consume()
    ((definition,),) = databases.execute(
        "auth",
        "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = 'try_consume_credits'",
    )
    databases.execute(
        "auth", definition.replace("a.credits - p_amount", "a.credits - 2 * p_amount", 1)
    )
    assert consume() == 91
    databases.execute("auth", "DROP FUNCTION try_consume_credits")
    databases.execute("auth", definition)
    assert consume() == 90


def test_a_notification_that_comes_meanwhile_is_heard(alice: str, databases: Databases) -> None:
    consume()
    with connections["auth"].cursor() as cursor:
        cursor.execute("LISTEN news")
    heard: list[str] = []
    connections["auth"].connection.add_notify_handler(lambda each: heard.append(each.payload))
    databases.execute("auth", "NOTIFY news, 'something'")
    consume()
    assert heard == ["something"]
