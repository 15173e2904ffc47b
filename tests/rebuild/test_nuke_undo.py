"""What is left of a nuke: kept, undone, purged; and what its plan had said."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from django.db import connections

from fltr_project.catalog import aside
from fltr_project.rebuild.purge import purge
from tests.conftest import Databases, Outcome
from tests.samples import full_fingerprint, idle_in_transaction, read_plan

from .test_nuke_guards import Stdin


def test_keep_then_undo_then_purge(databases: Databases, run: Callable[..., Outcome]) -> None:
    databases.mark("auth", "development")
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com')")
    before = full_fingerprint()
    nuke_auth = ("nuke_schema", "--database", "auth", "--no-input", "--no-backup")
    assert run(*nuke_auth, "--keep").code == 0
    assert read_plan().tables == ()
    start = time.process_time()
    outcome = run(*nuke_auth, "--undo")
    # Of work: how long a busy machine takes for it says nothing.
    assert time.process_time() - start < 1
    assert outcome.code == 0
    assert full_fingerprint() == before
    assert read_plan().waiting == ()
    assert run(*nuke_auth, "--undo").code == 2
    run(*nuke_auth, "--keep")
    assert run(*nuke_auth, "--purge").code == 0
    assert read_plan().waiting == ()


def test_undo_keeps_what_was_written_since(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.mark("auth", "test")
    assert run("clean_slate", "--database", "auth", "--no-input", "--keep", "--no-backup").code == 0
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('New', 'new@example.com')")
    outcome = run("nuke_schema", "--database", "auth", "--undo", "--no-input")
    assert outcome.code == 0
    (kept,) = read_plan().waiting
    assert kept.name in outcome.out
    assert databases.execute("auth", f"SELECT email FROM {kept.name}.users") == [
        ("new@example.com",)
    ]


def test_an_interrupted_purge_is_finished_and_never_undone(
    databases: Databases, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.mark("auth", "test")
    run("nuke_schema", "--database", "auth", "--no-input", "--keep", "--no-backup")
    planned = read_plan()
    monkeypatch.setattr("fltr_project.rebuild.purge.BUDGET", 100)

    class Killed(Exception):
        pass

    def kill(tables_left: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        purge(planned.target, planned.waiting[0].name, progress=kill)
    assert read_plan().waiting[0].is_whole is False
    outcome = run("nuke_schema", "--database", "auth", "--undo", "--no-input")
    assert outcome.code == 2
    assert "was being dropped, so some of it is gone" in outcome.err
    assert run("nuke_schema", "--database", "auth", "--purge", "--no-input").code == 0
    assert read_plan().waiting == ()


def test_a_person_is_asked_before_a_purge(
    databases: Databases, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing undoes a purge; an undo loses nothing, and is not asked about."""
    databases.mark("auth", "development")
    nuke_auth = ("nuke_schema", "--database", "auth")
    run(*nuke_auth, "--no-input", "--no-backup", "--keep")
    (waiting,) = read_plan().waiting
    monkeypatch.setattr("sys.stdin", Stdin("no"))
    declined = run(*nuke_auth, "--purge")
    assert declined.code == 4
    assert f"This drops {waiting.name} of {databases.names['auth']} on " in declined.err
    assert read_plan().waiting == (waiting,)
    monkeypatch.setattr("sys.stdin", Stdin(databases.names["auth"]))
    assert run(*nuke_auth, "--purge").code == 0
    assert read_plan().waiting == ()
    run(*nuke_auth, "--no-input", "--no-backup", "--keep")
    undone = run(*nuke_auth, "--undo")
    assert (undone.err, undone.code) == ("", 0)


def test_a_purge_that_a_reader_holds_up_is_left_for_later(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.mark("auth", "test")
    run("nuke_schema", "--database", "auth", "--no-input", "--keep", "--no-backup")
    name = read_plan().waiting[0].name
    with idle_in_transaction(databases, f"SELECT * FROM {name}.users"):
        options = ("--no-input", "--lock-timeout", "0.3")
        assert run("nuke_schema", "--database", "auth", "--purge", *options).code == 5
    assert run("nuke_schema", "--database", "auth", "--purge", "--no-input").code == 0


def test_locks_stay_under_the_budget_and_as_predicted(databases: Databases) -> None:
    """The plan's number of locks is what a drop of the schema really takes."""
    for number in range(30):
        databases.execute(
            "auth",
            f"CREATE TABLE t{number} (id serial PRIMARY KEY, v text,"
            f" r int REFERENCES t{max(number - 1, 0)})",
        )
    planned = read_plan()
    with databases.connect("auth") as session, session.transaction(force_rollback=True):
        session.execute("SET client_min_messages = error")
        session.execute("DROP SCHEMA public CASCADE")
        counted = session.execute(
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()"
            " AND locktype IN ('relation', 'object')"
        ).fetchone()
    assert counted
    assert abs(planned.locks.drop - counted[0]) <= 4


def test_the_plan_as_json_says_everything(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.execute(
        "auth",
        "CREATE VIEW v AS SELECT 1; CREATE PUBLICATION whole FOR TABLES IN"
        " SCHEMA public; SELECT lo_from_bytea(9, 'abc')",
    )
    document = json.loads(
        run("nuke_schema", "--database", "auth", "--plan", "--format", "json").out
    )
    planned = document["plan"]
    assert planned["database"]["database"] == databases.names["auth"]
    assert planned["other_objects"]["views"] == 1
    assert planned["publications"]["schema"] == ["whole"]
    assert planned["large_objects"] == {"count": 1, "bytes": 3}
    assert planned["locks"]["guaranteed"] == 6400
    assert planned["unatomic_migrations"] == []
    text = run("nuke_schema", "--database", "auth", "--plan").out
    for words in (
        "system identifier",
        "publication whole",
        "1 large object",
        "Locks:",
        "Backup:",
        "Token: ",
    ):
        assert words in text


def test_the_schema_of_a_stranger_is_never_purged(databases: Databases) -> None:
    databases.execute("auth", "CREATE SCHEMA public_aside_of_mine; CREATE SCHEMA another")
    assert aside.find(connections["auth"]) == ()
