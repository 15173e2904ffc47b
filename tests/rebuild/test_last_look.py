"""What arrives after the plan, at any moment before the old schema is dropped: never lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from fltr_project.errors import CannotRun
from fltr_project.postgres import locks
from fltr_project.rebuild import last_look
from tests.conftest import Databases, Outcome
from tests.samples import read_plan

from .crash import struck

LATE = "INSERT INTO users (name, email) VALUES ('Late', 'late@example.com')"
COMMANDS = ("nuke_schema", "clean_slate")
# When the backup has been made; when writers are locked out; when all is proven.
BACKED_UP = "call backup.directory.finish"
LOCKED = "statement ALTER SCHEMA .* RENAME"
PROVEN = "step verify auth"


def options(databases: Databases, run: Callable[..., Outcome], command: str) -> tuple[str, ...]:
    """What empties a protected database: its name and the token of a plan."""
    document = run(command, "--database", "auth", "--plan", "--format", "json").out
    token = json.loads(document)["token"]
    consent = ("--no-input", "--confirm", databases.names["auth"], "--token", token)
    return (command, "--database", "auth", *consent)


@pytest.mark.parametrize("command", COMMANDS)
def test_error_what_came_after_the_backup_is_in_nobodys_plan(
    databases: Databases, run: Callable[..., Outcome], command: str
) -> None:
    databases.mark("auth", "production")
    words = options(databases, run, command)
    with struck(BACKED_UP, lambda: databases.execute("auth", LATE)):
        outcome = run(*words)
    assert outcome.code == 3
    assert "Guard 'content'" in outcome.err
    assert databases.execute("auth", "SELECT name FROM users") == [("Late",)]


def test_error_an_update_in_a_large_table_is_seen_at_once(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    """PostgreSQL's counters follow a second later, which is too late."""
    databases.execute("auth", "CREATE TABLE big AS SELECT generate_series(1, 100001) AS id")
    words = options(databases, run, "nuke_schema")
    paid = "UPDATE big SET id = -1 WHERE id = 5"
    with struck(BACKED_UP, lambda: databases.execute("auth", paid)):
        outcome = run(*words, "--accept-loss", "tables")
    assert outcome.code == 3
    assert "Guard 'content'" in outcome.err
    assert databases.execute("auth", "SELECT count(*) FROM big WHERE id = -1") == [(1,)]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("becomes", ["production", "full"])
def test_error_an_empty_database_that_became_protected_is_not_lost(
    databases: Databases, run: Callable[..., Outcome], becomes: str, command: str
) -> None:
    """--no-input was enough for the database of the plan, and is not for this one."""

    def change() -> None:
        if becomes == "production":
            databases.mark("auth", "production")
        else:
            databases.execute("auth", LATE)

    with struck(BACKED_UP, change):
        outcome = run(command, "--database", "auth", "--no-input")
    assert outcome.code == 3
    assert "Guard 'content'" in outcome.err
    assert "users" in read_plan().tables
    assert read_plan().waiting == ()


@pytest.mark.parametrize(("command", "point"), [("nuke_schema", LOCKED), ("clean_slate", PROVEN)])
def test_error_a_mark_that_comes_under_the_lock_is_seen_before_the_commit(
    databases: Databases, run: Callable[..., Outcome], command: str, point: str
) -> None:
    """Locks on tables keep nobody from marking the database."""
    with struck(point, lambda: databases.mark("auth", "production")):
        outcome = run(command, "--database", "auth", "--no-input", "--no-backup")
    assert outcome.code == 3
    assert "was not marked when its plan was read and is marked production now" in outcome.err
    assert "users" in read_plan().tables


@pytest.mark.parametrize("command", COMMANDS)
def test_rows_that_came_after_the_backup_are_kept_where_nothing_is_protected(
    databases: Databases, run: Callable[..., Outcome], command: str
) -> None:
    databases.mark("auth", "test")
    words = (command, "--database", "auth", "--no-input")
    with struck(BACKED_UP, lambda: databases.execute("auth", LATE)):
        outcome = run(*words)
    assert (outcome.err, outcome.code) == ("", 0)
    (old,) = read_plan().waiting
    assert old.name in outcome.out
    assert "holds what was changed after the plan was read" in outcome.out
    assert databases.execute("auth", f"SELECT name FROM {old.name}.users") == [("Late",)]
    # Whoever wants no backup has said that all of it may go.
    with struck(LOCKED, lambda: None):
        assert run(*words, "--no-backup").code == 0
    assert [each.name for each in read_plan().waiting] == [old.name]


def test_a_restore_keeps_what_came_after_its_backup(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    databases.mark("auth", "test")
    here = ("--database", "auth", "--backup-dir", str(tmp_path))
    assert run("backup_database", *here).code == 0
    words = ("restore_database", *here, "--from", "latest", "--no-input")
    with struck(BACKED_UP, lambda: databases.execute("auth", LATE)):
        outcome = run(*words)
    assert (outcome.err, outcome.code) == ("", 0)
    (old,) = read_plan().waiting
    assert f"What was there is kept in {old.name}" in outcome.out
    assert databases.execute("auth", f"SELECT name FROM {old.name}.users") == [("Late",)]
    # Large objects are in no schema that could be kept.
    with struck(BACKED_UP, lambda: databases.execute("auth", "SELECT lo_from_bytea(9, 'late')")):
        outcome = run(*words)
    assert outcome.code == 3
    assert "Guard 'content'" in outcome.err
    assert databases.execute("auth", "SELECT lo_get(9)") == [(b"late",)]


def test_an_undo_keeps_what_came_after_its_plan(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.mark("auth", "test")
    keep = ("clean_slate", "--database", "auth", "--no-input", "--no-backup", "--keep")
    assert run(*keep).code == 0
    with struck("statement SET CONSTRAINTS", lambda: databases.execute("auth", LATE)):
        outcome = run("nuke_schema", "--database", "auth", "--undo", "--no-input")
    assert (outcome.err, outcome.code) == ("", 0)
    (new,) = read_plan().waiting
    assert f"is kept in {new.name}" in outcome.out
    assert databases.execute("auth", f"SELECT name FROM {new.name}.users") == [("Late",)]


def test_rows_in_more_tables_than_can_be_locked_are_kept(
    databases: Databases, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LOCKED_TABLES", 0)
    with struck(LOCKED, lambda: databases.execute("auth", LATE)):
        outcome = run("nuke_schema", "--database", "auth", "--no-input")
    assert (outcome.err, outcome.code) == ("", 0)
    (old,) = read_plan().waiting
    assert f"Somebody wrote to the old schema {old.name}" in outcome.out
    assert databases.execute("auth", f"SELECT name FROM {old.name}.users") == [("Late",)]


@pytest.mark.parametrize("point", [BACKED_UP, LOCKED])
def test_a_view_that_was_made_upon_the_old_tables_is_never_dropped(
    databases: Databases, run: Callable[..., Outcome], point: str
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", "CREATE SCHEMA reports")
    view = "CREATE VIEW reports.names AS SELECT name FROM public.users"
    with struck(point, lambda: databases.execute("auth", view)):
        outcome = run("nuke_schema", "--database", "auth", "--no-input")
    if point == BACKED_UP:
        assert outcome.code == 3
        assert "Guard 'dependants'" in outcome.err
        return
    assert outcome.code == 0
    (old,) = read_plan().waiting
    assert f"outside the old schema {old.name} hangs on it and would be lost" in outcome.out
    purge = ("nuke_schema", "--database", "auth", "--purge", "--no-input")
    assert run(*purge).code == 3
    assert databases.execute("auth", "SELECT count(*) FROM reports.names") == [(0,)]
    databases.execute("auth", "DROP VIEW reports.names")
    assert run(*purge).code == 0


def test_error_the_connection_reaches_another_server_by_now(databases: Databases) -> None:
    planned = read_plan()
    for change, said in (
        ({"database_oid": 1}, "which is another database"),
        ({"system_identifier": 1}, "which is another database"),
        ({"read_only": True}, "has become read-only"),
    ):
        with pytest.raises(CannotRun, match=said):
            last_look.require_same(planned, replace(planned.target, **change))


def test_a_writer_waits_for_the_new_tables(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    """Nobody writes between the last look and the commit."""

    def write() -> None:
        with (
            databases.connect("auth", options="-c lock_timeout=200") as client,
            pytest.raises(psycopg.errors.LockNotAvailable),
        ):
            client.execute(LATE)

    with struck(LOCKED, write):
        assert run("nuke_schema", "--database", "auth", "--no-input").code == 0
    assert read_plan().waiting == ()
