"""Statements that are sent without a cursor: answered as over one, in one round trip."""

from __future__ import annotations

import datetime as dt
import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import django.db
import psycopg
import pytest
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext

from fltr_project.postgres.statements import Statement
from tests.conftest import Databases

pytestmark = pytest.mark.usefixtures("databases")

ECHO = Statement("SELECT %s::integer, %s::text, %s::jsonb, %s::timestamp")
VALUES = (7, "naïve", '{"a": [1, null]}', None)
SIGN_UP = Statement("SELECT public.open_credit_account(%s)")
FAIL = Statement("SELECT 1 / %s::integer")
INSIDE = psycopg.pq.TransactionStatus.INTRANS


@pytest.fixture
def threshold() -> Iterator[Callable[[int | None], None]]:
    def set_threshold(value: int | None) -> None:
        connections["auth"].ensure_connection()
        connections["auth"].connection.prepare_threshold = value

    yield set_threshold
    connections["auth"].close()


def round_trips(call: Callable[[], object]) -> int:
    """How often the client asked for an answer: each Sync of the protocol."""
    connections["auth"].ensure_connection()
    pgconn = connections["auth"].connection.pgconn
    with tempfile.TemporaryFile("w+") as trace:
        pgconn.trace(trace.fileno())
        call()
        pgconn.untrace()
        trace.seek(0)
        return sum(line.split()[4] in {"Sync", "Query"} for line in trace if "\tF\t" in line)


def prepared() -> list[str]:
    with connections["auth"].cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [text for (text,) in cursor.fetchall()]


@pytest.fixture
def cursors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What goes through psycopg's cursor."""
    seen: list[str] = []
    execute = psycopg.Cursor.execute

    def watched(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(query)
        return execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", watched)
    return seen


def test_the_rows_are_those_of_a_cursor() -> None:
    direct = ECHO.rows(VALUES, "auth")
    assert ECHO.rows(VALUES, "auth") == direct
    with transaction.atomic(using="auth"):
        assert ECHO.rows(VALUES, "auth") == direct
    with CaptureQueriesContext(connections["auth"]) as queries:
        assert ECHO.rows(VALUES, "auth") == direct
    assert len(queries) == 1
    assert direct[0][:2] == (7, "naïve")


def test_it_is_one_round_trip_prepared_or_not(threshold: Callable[[int | None], None]) -> None:
    threshold(2)
    trips = [round_trips(lambda: ECHO.rows(VALUES, "auth")) for _ in range(5)]
    # The third prepares.
    assert trips == [1, 1, 2, 1, 1]
    assert len(prepared()) == 1


def test_nothing_is_prepared_where_a_pooler_may_stand(
    threshold: Callable[[int | None], None],
) -> None:
    threshold(None)
    assert [round_trips(lambda: ECHO.rows(VALUES, "auth")) for _ in range(9)] == [1] * 9
    assert prepared() == []


@pytest.mark.parametrize("statement", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_what_was_prepared_may_be_discarded(
    threshold: Callable[[int | None], None], statement: str
) -> None:
    threshold(0)
    direct = ECHO.rows(VALUES, "auth")
    with connections["auth"].cursor() as cursor:
        cursor.execute(statement)
    assert ECHO.rows(VALUES, "auth") == direct
    assert len(prepared()) == 1


def test_a_new_connection_starts_anew(threshold: Callable[[int | None], None]) -> None:
    threshold(0)
    ECHO.rows(VALUES, "auth")
    connections["auth"].close()
    threshold(0)
    assert ECHO.rows(VALUES, "auth")[0][0] == 7


@pytest.mark.parametrize("value", [None, 0], ids=["not prepared", "prepared"])
def test_an_error_is_djangos_and_the_connection_goes_on(
    threshold: Callable[[int | None], None], value: int | None
) -> None:
    threshold(value)
    for _ in range(2):
        with pytest.raises(django.db.DataError, match="division by zero") as failure:
            FAIL.rows((0,), "auth")
        assert getattr(failure.value.__cause__, "sqlstate", None) == "22012"
        assert FAIL.rows((1,), "auth") == [(1,)]
    with pytest.raises(django.db.IntegrityError):
        SIGN_UP.rows(("nobody",), "auth")
    # As a cursor does: before anything is sent.
    with pytest.raises(django.db.DataError, match="NUL"):
        ECHO.rows((1, "a\0b", None, None), "auth")


def test_a_lost_connection_is_an_operational_error(databases: Databases) -> None:
    ECHO.rows(VALUES, "auth")
    pid = connections["auth"].connection.info.backend_pid
    databases.execute("auth", "SELECT pg_terminate_backend(%s, 5000)", pid)
    for _ in range(2):
        with pytest.raises(django.db.OperationalError):
            ECHO.rows(VALUES, "auth")
    assert connections["auth"].connection.closed
    # What Django does between requests.
    connections["auth"].close_if_unusable_or_obsolete()
    assert ECHO.rows(VALUES, "auth")[0][0] == 7


def test_a_health_check_comes_first_where_it_is_on(databases: Databases) -> None:
    ECHO.rows(VALUES, "auth")
    connection: Any = connections["auth"]
    databases.execute(
        "auth", "SELECT pg_terminate_backend(%s, 5000)", connection.connection.info.backend_pid
    )
    # What CONN_HEALTH_CHECKS and the start of a request set.
    connection.health_check_enabled, connection.health_check_done = True, False
    assert ECHO.rows(VALUES, "auth")[0][0] == 7


def test_it_joins_a_transaction(databases: Databases) -> None:
    databases.execute("auth", "ALTER TABLE users DISABLE TRIGGER users_open_credit_account")
    databases.execute("auth", "INSERT INTO users (id, name, email) VALUES ('u', 'U', 'u')")
    accounts = "SELECT count(*) FROM user_credits"
    with transaction.atomic(using="auth"):
        SIGN_UP.rows(("u",), "auth")
        assert databases.execute("auth", accounts) == [(0,)]
        transaction.set_rollback(True, using="auth")
    assert databases.execute("auth", accounts) == [(0,)]
    SIGN_UP.rows(("u",), "auth")
    assert databases.execute("auth", accounts) == [(1,)]


def test_a_wrapper_of_statements_sees_it() -> None:
    seen = []

    def wrapper(execute: Any, sql: str, *arguments: Any) -> Any:
        seen.append(sql)
        return execute(sql, *arguments)

    with connections["auth"].execute_wrapper(wrapper):
        ECHO.rows(VALUES, "auth")
    assert seen == [ECHO.text]


def test_a_wrapper_may_send_the_statement_itself() -> None:
    def wrapper(execute: Any, *arguments: Any) -> Any:
        result = execute(*arguments)
        if not inside:
            inside.append(True)
            assert ECHO.rows((8, "", None, None), "auth")[0][0] == 8
        return result

    inside: list[bool] = []
    ECHO.rows(VALUES, "auth")
    with connections["auth"].execute_wrapper(wrapper):
        assert ECHO.rows(VALUES, "auth")[0][0] == 7


def test_a_setting_of_the_session_counts_at_once() -> None:
    when = (1, "naïve", None, dt.datetime.fromisoformat("2026-02-03"))
    with connections["auth"].cursor() as cursor:
        for statement in (
            "SET DateStyle TO 'SQL, MDY'",
            "SET DateStyle TO 'SQL, DMY'",
            "SET DateStyle TO 'ISO, MDY'",
            "SET client_encoding TO 'LATIN1'",
            "SET client_encoding TO 'UTF8'",
        ):
            cursor.execute(statement)
            assert ECHO.rows(when, "auth") == [when]


def test_the_type_of_a_value_is_that_of_a_cursor() -> None:
    """A key given as a uuid and again as text would be two keys, if it were not refused."""
    call = Statement("SELECT public.open_credit_account(%s)")
    for _ in range(2):
        with pytest.raises(django.db.ProgrammingError, match="does not exist"):
            call.rows((uuid.uuid4(),), "auth")


def test_each_thread_has_a_session_of_its_own() -> None:
    answers: list[int] = []

    def ask(number: int) -> None:
        try:
            answers.extend(
                ECHO.rows((number, "", None, None), "auth")[0][0] - number for _ in range(20)
            )
        finally:
            connections["auth"].close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [0] * 80


def test_no_cursor_is_used_once_psycopg_has_prepared_it(
    threshold: Callable[[int | None], None], cursors: list[str]
) -> None:
    """Rests on two attributes that psycopg does not document: see that they are still there."""
    threshold(2)
    for _ in range(9):
        ECHO.rows(VALUES, "auth")
    assert cursors == [ECHO.text] * 3
    threshold(None)
    connections["auth"].connection._prepared.clear()
    ECHO.rows(VALUES, "auth")
    assert len(cursors) == 3


def test_a_transaction_begins_as_with_a_cursor(
    threshold: Callable[[int | None], None], cursors: list[str]
) -> None:
    threshold(0)
    ECHO.rows(VALUES, "auth")
    with transaction.atomic(using="auth"):
        del cursors[:]
        ECHO.rows(VALUES, "auth")
        assert connections["auth"].connection.pgconn.transaction_status == INSIDE
        ECHO.rows(VALUES, "auth")
    assert cursors == [ECHO.text]


def test_what_psycopg_forgets_is_prepared_anew(threshold: Callable[[int | None], None]) -> None:
    threshold(0)
    raw = connections["auth"].connection
    direct = ECHO.rows(VALUES, "auth")
    with transaction.atomic(using="auth"):
        with pytest.raises(django.db.DataError), transaction.atomic(using="auth"):
            FAIL.rows((0,), "auth")
        assert ECHO.rows(VALUES, "auth") == direct
        transaction.set_rollback(True, using="auth")
    assert ECHO.rows(VALUES, "auth") == direct
    raw.prepared_max = 3
    for number in range(9):
        Statement(f"SELECT {number} + %s::integer").rows((1,), "auth")
        assert ECHO.rows(VALUES, "auth") == direct
    assert len(prepared()) <= 4


def test_a_broken_transaction_is_refused_before_anything_is_sent() -> None:
    with transaction.atomic(using="auth"):
        transaction.set_rollback(True, using="auth")
        with pytest.raises(transaction.TransactionManagementError):
            ECHO.rows(VALUES, "auth")


def test_a_pipeline_is_left_to_the_cursor(threshold: Callable[[int | None], None]) -> None:
    threshold(0)
    direct = ECHO.rows(VALUES, "auth")
    with connections["auth"].connection.pipeline():
        assert ECHO.rows(VALUES, "auth") == direct
    assert ECHO.rows(VALUES, "auth") == direct


@pytest.mark.parametrize("value", [None, 0], ids=["not prepared", "prepared"])
def test_an_interrupt_cancels_it(
    threshold: Callable[[int | None], None], value: int | None
) -> None:
    threshold(value)
    sleep = Statement("SELECT pg_sleep(%s::float)")
    sleep.rows((0.0,), "auth")
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    began = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        sleep.rows((30.0,), "auth")
    assert time.monotonic() - began < 10
    assert ECHO.rows(VALUES, "auth")[0][0] == 7


def test_a_function_may_be_replaced_while_it_is_prepared(
    threshold: Callable[[int | None], None], databases: Databases
) -> None:
    threshold(0)
    call = Statement("SELECT public.answer(%s)")
    databases.execute("auth", "CREATE FUNCTION answer(text) RETURNS text RETURN 'old'")
    assert call.rows(("x",), "auth") == [("old",)]
    databases.execute("auth", "DROP FUNCTION answer(text)")
    databases.execute("auth", "CREATE FUNCTION answer(text) RETURNS text RETURN 'new'")
    assert call.rows(("x",), "auth") == [("new",)]


@pytest.mark.parametrize("size", [1, 2**15, 2**31, None])
def test_a_number_of_any_size_comes_back(
    threshold: Callable[[int | None], None], size: int | None
) -> None:
    threshold(0)
    call = Statement("SELECT %s::bigint")
    for value in (1, size, 2**40, size):
        assert call.rows((value,), "auth") == [(value,)]


def test_what_forbids_the_database_forbids_it_an_open_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As pytest-django does for tests that are not marked."""
    ECHO.rows(VALUES, "auth")

    def forbid(self: object) -> None:
        raise RuntimeError("not in this test")

    with monkeypatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "ensure_connection", forbid)
        with pytest.raises(RuntimeError, match="not in this test"):
            ECHO.rows(VALUES, "auth")


def test_a_connection_that_psycopg_closed_is_djangos_error() -> None:
    ECHO.rows(VALUES, "auth")
    connections["auth"].connection.close()
    with pytest.raises(django.db.OperationalError):
        ECHO.rows(VALUES, "auth")
    assert connections["auth"].errors_occurred
    connections["auth"].close_if_unusable_or_obsolete()
    assert ECHO.rows(VALUES, "auth")[0][0] == 7


@pytest.mark.parametrize(
    "again", [None, KeyboardInterrupt, psycopg.OperationalError], ids=["once", "twice", "no server"]
)
@pytest.mark.parametrize("value", [None, 0], ids=["not prepared", "prepared"])
def test_no_answer_is_left_on_the_wire(
    threshold: Callable[[int | None], None],
    monkeypatch: pytest.MonkeyPatch,
    value: int | None,
    again: type[BaseException] | None,
) -> None:
    threshold(value)
    ECHO.rows(VALUES, "auth")
    connection: Any = connections["auth"]
    pid = connection.connection.info.backend_pid
    interrupted = Mock(side_effect=KeyboardInterrupt)
    with monkeypatch.context() as patch:
        patch.setattr(connection.channels[ECHO], "_readable", Mock(poll=interrupted))
        if again:
            patch.setattr("psycopg.Connection.cancel_safe", Mock(side_effect=again))
        with pytest.raises(KeyboardInterrupt):
            ECHO.rows(VALUES, "auth")
    # A session that cannot be trusted any more is not used again.
    assert (connection.connection is None) == bool(again)
    assert ECHO.rows((8, "", None, None), "auth")[0][0] == 8
    assert (connection.connection.info.backend_pid != pid) == bool(again)


def test_an_interrupt_inside_a_transaction_rolls_it_back(databases: Databases) -> None:
    databases.execute("auth", "INSERT INTO users (id, name, email) VALUES ('x', 'X', 'x')")
    rename = Statement("UPDATE users SET name = %s RETURNING pg_sleep(30)::text")
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))

    def interrupted() -> None:
        with transaction.atomic(using="auth"):
            ECHO.rows(VALUES, "auth")
            timer.start()
            rename.rows(("Y",), "auth")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert connections["auth"].connection is not None
    assert databases.execute("auth", "SELECT name FROM users") == [("X",)]


@pytest.mark.parametrize("value", [None, 0], ids=["not prepared", "prepared"])
def test_more_than_the_socket_holds_goes_and_comes(
    threshold: Callable[[int | None], None], value: int | None
) -> None:
    threshold(value)
    echo = Statement("SELECT %s::text FROM generate_series(1, %s::integer)")
    echo.rows(("", 1), "auth")
    text = "a€" * 2_000_000
    assert echo.rows((text, 3), "auth") == [(text,)] * 3


def test_a_session_that_ends_while_it_is_waited_for(databases: Databases) -> None:
    sleep = Statement("SELECT pg_sleep(%s::float)")
    sleep.rows((0.0,), "auth")
    pid = connections["auth"].connection.info.backend_pid
    timer = threading.Timer(
        0.3, databases.execute, ("auth", "SELECT pg_terminate_backend(%s)", pid)
    )
    timer.start()
    with pytest.raises(django.db.OperationalError, match="terminating") as ended:
        sleep.rows((30.0,), "auth")
    # The server's own error, and not only that it hung up.
    assert isinstance(ended.value.__cause__, psycopg.errors.AdminShutdown)
    timer.join()
    connections["auth"].close_if_unusable_or_obsolete()
    assert ECHO.rows(VALUES, "auth")[0][0] == 7


def test_a_notification_that_comes_meanwhile_is_heard(databases: Databases) -> None:
    ECHO.rows(VALUES, "auth")
    with connections["auth"].cursor() as cursor:
        cursor.execute("LISTEN news")
    heard: list[str] = []
    connections["auth"].connection.add_notify_handler(lambda each: heard.append(each.payload))
    databases.execute("auth", "NOTIFY news, 'something'")
    ECHO.rows(VALUES, "auth")
    assert heard == ["something"]
    connections["auth"].close()
