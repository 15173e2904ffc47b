"""Through a real PgBouncer that hands sessions on after each transaction, and past it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from psycopg import sql

from fltr_project.errors import CannotRun
from fltr_project.postgres import addresses, locks
from tests.conftest import ROOT, Databases, Outcome
from tests.pooler import Pooler, pgbouncer

pytestmark = pytest.mark.slow

Run = Callable[..., Outcome]

NUKE = ("nuke_schema", "--database", "auth", "--no-input", "--no-backup")
# What a role or a database may have that a command must not mind, and must not leave to others as its own.
ODD = {
    "search_path": '"$user", elsewhere',
    "DateStyle": "German",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "idle_in_transaction_session_timeout": "300ms",
    "lock_timeout": "1ms",
}
# What PgBouncer keeps by client, and what a transaction has said of itself.
KEPT = (
    "application_name",
    "client_encoding",
    "DateStyle",
    "TimeZone",
    "standard_conforming_strings",
)
LEFT = """
    SELECT name || ' = ' || setting FROM pg_settings
    WHERE source = 'session' AND name <> ALL (%s) AND name !~ '^transaction_'
    UNION ALL SELECT 'prepared ' || name FROM pg_prepared_statements
    UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE is_holdable
    UNION ALL SELECT 'lock ' || locktype FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
    UNION ALL SELECT 'temporary ' || relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
"""


@pytest.fixture
def pooler(databases: Databases, tmp_path: Path) -> Iterator[Pooler]:
    with pgbouncer(databases, tmp_path) as started:
        yield started


def left_to_others(pooler: Pooler, alias: str) -> list[str]:
    """What the next clients of the pooler find in the sessions that it has."""
    ((number,),) = pooler.databases.execute(
        alias,
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
    )
    assert number
    clients = [pooler.connect(alias) for _ in range(number)]
    found, pids = [], set()
    try:
        for client in clients:
            client.execute("BEGIN")
            pids.add(client.execute("SELECT pg_backend_pid()").fetchone())
            found += [str(what) for (what,) in client.execute(LEFT, [list(KEPT)])]
    finally:
        for client in clients:
            # A session that is left in a transaction is closed, with all that it has.
            client.rollback()
            client.close()
    assert len(pids) == number
    return found


def test_every_command_works_and_leaves_nothing_behind(pooler: Pooler, run: Run) -> None:
    databases = pooler.databases
    for alias in ("auth", "fltr"):
        databases.mark(alias, "test")
        with databases.connect(alias) as client:
            for name, value in ODD.items():
                client.execute(
                    sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                        *map(sql.Identifier, (databases.names[alias], name)),
                        sql.SQL(value) if name == "search_path" else sql.Literal(value),
                    )
                )
    outcomes = []
    for arguments in (
        NUKE,
        ("migrate", "--database", "auth", "--verbosity", "0"),
        ("verify_schema",),
        ("smoke_credits", "--concurrency", "3"),
        ("clean_slate", "--no-input", "--no-backup", "--keep"),
        ("nuke_schema", "--database", "auth", "--undo", "--no-input"),
        ("reconcile_credits", "--repair"),
        ("mark_environment", "staging", "--no-input"),
    ):
        with pooler.between("auth", "fltr"):
            outcomes.append(run(*arguments))
        assert outcomes[-1].code == 0, (arguments, outcomes)
    assert f"through a pooler at 127.0.0.1:{pooler.port}" in outcomes[-1].out
    for alias in ("auth", "fltr"):
        assert left_to_others(pooler, alias) == []


def test_two_operations_are_kept_apart_and_a_killed_one_frees_the_other(
    pooler: Pooler, run: Run
) -> None:
    databases = pooler.databases
    urls = {**databases.environment(), "AUTH_DATABASE_URL": pooler.url("auth")}
    with databases.connect("auth") as writer, writer.transaction():
        writer.execute("LOCK TABLE users IN ROW EXCLUSIVE MODE")
        with subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), *NUKE, "--lock-timeout", "60"],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "fltr_project.settings", **urls},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as first:
            try:
                ((pid,),) = wait_for(databases, locked=True)
                with pooler.between("auth"):
                    outcome = run(*NUKE)
                assert outcome.code == 5
                name = databases.names["auth"]
                assert f"at work on database {name!r}: pid {pid} of " in outcome.err
                assert "(clean_slate " in outcome.err
            finally:
                first.send_signal(signal.SIGKILL)
        wait_for(databases, locked=False)
    with pooler.between("auth"):
        assert run(*NUKE).code == 0


def wait_for(databases: Databases, locked: bool) -> list[tuple[Any, ...]]:
    """The holder of the lock of all operations, once there is one or none."""
    deadline = time.monotonic() + 20
    while True:
        rows = databases.execute(
            "auth",
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32 | objid::bigint) = %s"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            locks.OPERATION_KEY,
        )
        if bool(rows) is locked:
            return rows
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_pg_dump_goes_past_the_pooler_or_not_at_all(
    pooler: Pooler, run: Run, tmp_path: Path
) -> None:
    command = ("backup_database", "--database", "auth", "--backup-dir", str(tmp_path / "backups"))
    with pooler.between("auth"):
        outcome = run(*command)
    assert outcome.code == 2
    assert "pg_dump would leave its settings to others. Set AUTH_DIRECT_URL to" in outcome.err
    assert left_to_others(pooler, "auth") == []
    straight = addresses.parse("X", pooler.databases.environment()["AUTH_DATABASE_URL"])
    with pooler.between("auth", DIRECT=straight):
        outcome = run(*command)
        planned = run("migrate", "--database", "auth", "--plan")
    assert (outcome.err, outcome.code, planned.code) == ("", 0, 0)


def test_pg_dump_goes_through_a_pooler_that_keeps_sessions(
    databases: Databases, run: Run, tmp_path: Path
) -> None:
    command = ("backup_database", "--database", "auth", "--backup-dir", str(tmp_path / "backups"))
    with pgbouncer(databases, tmp_path, mode="session") as pooler, pooler.between("auth"):
        outcome = run(*command)
    assert (outcome.err, outcome.code) == ("", 0)


def test_error_a_direct_url_that_reaches_something_else(pooler: Pooler, run: Run) -> None:
    databases = pooler.databases
    other = addresses.parse("X", databases.environment()["FLTR_DATABASE_URL"])
    said = (
        f"AUTH_DIRECT_URL reaches database {databases.names['fltr']!r} .* "
        f"AUTH_DATABASE_URL database {databases.names['auth']!r}"
    )
    with pooler.between("auth", DIRECT=other):
        outcome = run("verify_schema")
        assert outcome.code == 2
        assert re.search(said, outcome.err)
        with pytest.raises(CannotRun, match=said):
            call_command("migrate", database="auth", verbosity=0)


def test_error_prepared_statements_that_a_pooler_does_not_know(pooler: Pooler, run: Run) -> None:
    with pooler.connect("auth") as client:
        client.execute("PREPARE _pg3_0 AS SELECT 1")
    assert left_to_others(pooler, "auth") == ["prepared _pg3_0"]
    options = addresses.parse("X", pooler.url("auth"))["OPTIONS"]
    prepared = {**options, "server_side_binding": True, "prepare_threshold": 5}
    with pooler.between("auth", OPTIONS=prepared):
        outcome = run("smoke_credits")
    assert (outcome.out, outcome.code) == ("", 2)
    assert "Set PREPARED_STATEMENTS=off" in outcome.err


def test_error_an_index_that_is_built_beside_writers(pooler: Pooler, run: Run) -> None:
    pooler.databases.execute("auth", "DROP INDEX sessions_user_id_idx")
    with pooler.between("auth"):
        outcome = run("verify_schema", "--database", "auth", "--apply", "--no-input")
    assert outcome.code == 2
    assert "Set AUTH_DIRECT_URL to the address of the server itself" in outcome.err
    assert left_to_others(pooler, "auth") == []
