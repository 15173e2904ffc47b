"""One operation at a time, by a lock that an open transaction of its own connection holds."""

from __future__ import annotations

import re

import psycopg
import pytest
from django.db import connections, transaction

from fltr_project.errors import Blocked
from fltr_project.postgres import locks
from fltr_project.postgres.target import Target, connect, identify
from tests.conftest import Databases

HOLDER = """
    SELECT l.pid, a.state, a.backend_xmin FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()
"""


def auth() -> Target:
    return identify(connect("auth"))


def another_operation(session: psycopg.Connection[object]) -> None:
    session.execute("SET application_name = 'a colleague''s'")
    session.execute("BEGIN")
    session.execute("SELECT pg_advisory_xact_lock(%s)", [locks.OPERATION_KEY])


def test_it_holds_the_lock_outside_and_between_transactions(databases: Databases) -> None:
    with locks.exclusive(auth()):
        ((pid, state, horizon),) = databases.execute("auth", HOLDER)
        assert state == "idle in transaction"
        # An operation of hours must not keep VACUUM from its work.
        assert horizon is None
        with connections["auth"].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            assert cursor.fetchone() != (pid,)
        for _ in range(2):
            with transaction.atomic(using="auth"), connections["auth"].cursor() as cursor:
                locks.take_operation_lock(cursor, "x")
        assert [row[0] for row in databases.execute("auth", HOLDER)] == [pid]
    assert databases.execute("auth", HOLDER) == []


def test_it_frees_the_lock_when_the_block_fails(databases: Databases) -> None:
    with pytest.raises(ZeroDivisionError), locks.exclusive(auth()):
        raise ZeroDivisionError
    assert databases.execute("auth", HOLDER) == []


def test_the_next_operation_may_begin_at_once(databases: Databases) -> None:
    # The end of a session frees its locks later than its client sees, the end of a transaction does not.
    target = auth()
    with databases.connect("auth") as session:
        for _ in range(30):
            with locks.exclusive(target):
                pass
            row = session.execute("SELECT pg_try_advisory_xact_lock(%s)", [locks.OPERATION_KEY])
            assert row.fetchone() == (True,)


def test_error_another_operation_is_named(databases: Databases) -> None:
    target = auth()
    with databases.connect("auth") as session:
        another_operation(session)
        said = rf"at work on database {target.database!r}: pid {session.info.backend_pid} of "
        said += rf"{re.escape(target.role)} \(a colleague's\), for \d+ s\. Wait until it has ended"
        with pytest.raises(Blocked, match=said), locks.exclusive(target):
            raise AssertionError
        with (
            pytest.raises(Blocked, match=said),
            transaction.atomic(using="auth"),
            connections["auth"].cursor() as cursor,
        ):
            locks.take_operation_lock(cursor, target.database)
        session.execute("ROLLBACK")
    assert databases.execute("auth", HOLDER) == []


def test_no_setting_of_the_server_ends_the_one_who_holds_it(databases: Databases) -> None:
    name = databases.names["auth"]
    databases.execute(
        "auth", f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '1s'"
    )
    with locks.exclusive(auth()):
        databases.execute("auth", "SELECT pg_sleep(1.5)")
        assert len(databases.execute("auth", HOLDER)) == 1


def test_a_transaction_takes_it_anew_when_its_holder_was_lost(databases: Databases) -> None:
    with locks.exclusive(auth()):
        ((lost, *_),) = databases.execute("auth", HOLDER)
        databases.execute("auth", "SELECT pg_terminate_backend(%s, 10000)", lost)
        with transaction.atomic(using="auth"), connections["auth"].cursor() as cursor:
            locks.take_operation_lock(cursor, "x")
            ((pid, *_),) = databases.execute("auth", HOLDER)
            assert pid != lost
        with databases.connect("auth") as session:
            another_operation(session)
            with (
                pytest.raises(Blocked, match="a colleague's"),
                transaction.atomic(using="auth"),
                connections["auth"].cursor() as cursor,
            ):
                locks.take_operation_lock(cursor, "x")
