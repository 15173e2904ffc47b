"""Who else is at work on the schema is waited for, named, and never robbed of a row."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.conftest import Databases, Outcome
from tests.samples import full_fingerprint, idle_in_transaction, read_plan

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM users",
        "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com')",
        # A foreign migration at work, which nobody sees yet.
        "CREATE TABLE public.one_more (id int)",
        "ALTER TABLE teams ADD COLUMN x int",
    ],
)
@pytest.mark.parametrize("command", [("nuke_schema", "--database", "auth"), ("clean_slate",)])
def test_error_a_session_in_the_way_is_named_and_nothing_changes(
    databases: Databases, run: Callable[..., Outcome], statement: str, command: tuple[str, ...]
) -> None:
    before = full_fingerprint()
    slowest = 0.0
    done = threading.Event()

    def read_other_tables() -> None:
        nonlocal slowest
        with databases.connect("auth") as session:
            while not done.is_set():
                start = time.monotonic()
                session.execute("SELECT count(*) FROM verifications")
                session.execute(
                    "INSERT INTO verifications (identifier, value, expires_at)"
                    " VALUES ('a', 'b', now()); DELETE FROM verifications"
                )
                slowest = max(slowest, time.monotonic() - start)
                time.sleep(0.01)

    reader = threading.Thread(target=read_other_tables)
    with idle_in_transaction(databases, statement) as session:
        if "ALTER" not in statement:
            reader.start()
        start, worked = time.monotonic(), time.process_time()
        outcome = run(*command, "--no-input", "--no-backup", "--lock-timeout", "0.5")
        elapsed, worked = time.monotonic() - start, time.process_time() - worked
        done.set()
        if reader.ident:
            reader.join()
        assert outcome.code == 5
        assert f"pid {session.info.backend_pid} of " in outcome.err
        assert "(a colleague)" in outcome.err
        assert "idle in transaction for" in outcome.err
        # A second more is the promise: of work, for a busy machine gives it out in small portions.
        assert worked < 1
        # Less than the timeout of five seconds that counts where none is named.
        assert elapsed < 0.5 + 4
        # The timeout, with room for a busy machine; without it, as long as the session stays.
        assert slowest < 0.5 + 1.5
    assert full_fingerprint() == before


def test_terminate_ends_who_is_in_the_way(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    options = ("--no-input", "--lock-timeout", "1", "--terminate", "--no-backup")
    with idle_in_transaction(databases, "SELECT * FROM users") as session:
        assert run("nuke_schema", "--database", "auth", *options).code == 0
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert read_plan().tables == ()


def test_a_writer_that_waits_writes_into_the_new_schema(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    """No row of a writer gets lost between the last look and the commit."""
    ids: list[str] = []
    done = threading.Event()

    def write() -> None:
        with databases.connect("auth") as session:
            while not done.is_set():
                row = session.execute(
                    "INSERT INTO users (name, email) VALUES ('W', gen_random_uuid()::text) RETURNING id"
                ).fetchone()
                assert row
                ids.append(row[0])

    databases.mark("auth", "test")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        outcome = run("clean_slate", "--database", "auth", "--no-input", "--keep", "--no-backup")
        written, deadline = len(ids), time.monotonic() + 60
        while len(ids) == written and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        done.set()
        writer.join()
    assert (outcome.err, outcome.code) == ("", 0)
    assert len(ids) > written > 0
    old = read_plan().waiting[0].name
    kept = databases.execute(
        "auth", f"SELECT id FROM {old}.users UNION ALL SELECT id FROM public.users"
    )
    assert {id_ for (id_,) in kept} == set(ids)


def test_of_two_nukes_at_once_one_runs(
    databases: Databases, manage: Callable[..., Outcome]
) -> None:
    """The first waits for a session, so it is at work for as long as the second needs to find out."""
    environment = databases.environment()
    databases.mark("auth", "test")
    nuke = ("nuke_schema", "--database", "auth", "--no-input", "--keep", "--no-backup")
    first: list[Outcome] = []
    waits = threading.Thread(
        target=lambda: first.append(manage(*nuke, "--lock-timeout", "60", **environment))
    )
    with idle_in_transaction(databases, "SELECT * FROM users"):
        waits.start()
        wait_until_an_operation_is_at_work(databases)
        second = manage(*nuke, **environment)
        assert second.code == 5
        assert "Another operation of this project is at work" in second.err
        assert first == []
    waits.join()
    assert [outcome.code for outcome in first] == [0]
    assert len(read_plan().waiting) == 1


def wait_until_an_operation_is_at_work(databases: Databases) -> None:
    """Until a session holds the lock that keeps operations apart."""
    held = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    deadline = time.monotonic() + 60
    while databases.execute("auth", held) == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
