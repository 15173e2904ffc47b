"""What happens at the commits and after them: the endings of a rebuild, each struck for on purpose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connections
from django.db.migrations.loader import MigrationLoader
from django.db.models.signals import post_migrate

from fltr_project.rebuild import migrations
from fltr_project.rebuild.errors import CommitUnknown
from fltr_project.rebuild.transactions import Outcome, Transaction, certain
from tests.conftest import ALIASES, Databases
from tests.conftest import Outcome as Ran
from tests.samples import full_fingerprint, read_plan

from .crash import struck, terminate

pytestmark = pytest.mark.slow

CLEAN = ("clean_slate", "--no-input", "--no-backup", "--lock-timeout", "0.5")
NUKE = ("nuke_schema", "--database", "auth", "--no-input", "--no-backup")
USER = "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com')"
LATE = "INSERT INTO users (name, email) VALUES ('Late', 'late@example.com')"


@pytest.fixture
def before(databases: Databases) -> dict[str, dict[str, object]]:
    for alias in ALIASES:
        databases.mark(alias, "test")
    databases.execute("auth", USER)
    return {alias: full_fingerprint(alias) for alias in ALIASES}


def now() -> dict[str, dict[str, object]]:
    for alias in ALIASES:
        connections[alias].close()
    return {alias: full_fingerprint(alias) for alias in ALIASES}


def interrupt() -> None:
    raise KeyboardInterrupt


@contextmanager
def answer_lost(alias: str, point: str) -> Iterator[None]:
    """After ``point``, let the database's next commit happen, and its answer get lost."""
    connection = connections[alias]
    commit = connection.commit

    def commit_and_lose() -> None:
        connection.commit = commit  # type: ignore[method-assign]
        commit()
        terminate(alias)
        raise OperationalError from psycopg.OperationalError("the connection is gone")

    def arm() -> None:
        connection.commit = commit_and_lose  # type: ignore[method-assign]

    try:
        with struck(point, arm):
            yield
    finally:
        connection.commit = commit  # type: ignore[method-assign]


# --- the first has committed, and the second cannot


def test_what_clients_wrote_between_the_commits_is_kept_and_named(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    def write_and_strike() -> None:
        databases.execute("auth", LATE)
        terminate("fltr")

    with struck("step commit auth", write_and_strike):
        outcome = run(*CLEAN)
    assert outcome.code == 7
    assert "Every database is as it was." in outcome.err
    assert now() == before
    (kept,) = read_plan().waiting
    name = databases.names["auth"]
    *_, last = outcome.err.splitlines()
    assert f"{name} is as it was; what was written in between is kept in {kept.name}." in last
    assert "`manage.py nuke_schema --database auth --purge` drops what is kept." in outcome.err
    assert databases.execute("auth", f"SELECT name FROM {kept.name}.users") == [("Late",)]
    # Nothing is half done, and what was kept is dropped as any other schema that was set aside.
    assert "killed between" not in run("clean_slate", "--plan").out
    assert run("nuke_schema", "--database", "auth", "--purge", "--no-input").code == 0


def test_a_client_at_work_between_the_commits_neither_holds_up_nor_loses(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    """Its transaction is not waited for beyond the timeout, and what it commits later is kept."""
    with databases.connect("auth") as client:

        def begin_and_strike() -> None:
            client.execute("BEGIN")
            client.execute(LATE)
            terminate("fltr")

        with struck("step commit auth", begin_and_strike):
            outcome = run(*CLEAN)
        assert outcome.code == 7
        client.execute("COMMIT")
    (kept,) = read_plan().waiting
    assert kept.name in outcome.err
    assert databases.execute("auth", f"SELECT name FROM {kept.name}.users") == [("Late",)]
    assert now() == before


def test_a_table_that_a_client_made_between_the_commits_is_kept(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    def create_and_strike() -> None:
        databases.execute("auth", "CREATE TABLE public.made_by_drizzle ()")
        terminate("fltr")

    with struck("step commit auth", create_and_strike):
        assert run(*CLEAN).code == 7
    (kept,) = read_plan().waiting
    table = f"{kept.name}.made_by_drizzle"
    assert databases.execute("auth", "SELECT to_regclass(%s) IS NOT NULL", table) == [(True,)]
    assert now() == before


def test_error_the_first_cannot_be_brought_back_either(
    databases: Databases, run: Callable[..., Ran], before: dict[str, object]
) -> None:
    """One database stands rebuilt: it is said, and how its old schema comes back."""
    name = databases.names["auth"]

    def lock_out_and_strike() -> None:
        databases.execute("default", f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        terminate_by_name(databases, name)
        terminate("fltr")

    with struck("step commit auth", lock_out_and_strike):
        outcome = run(*CLEAN)
    databases.execute("default", f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert outcome.code == 2
    assert "Bringing auth back failed too: " in outcome.err
    assert "Not every database is as it was." in outcome.err
    old = re.findall(r"has its new schema, and its old one is kept in (\w+)\.", outcome.err)
    connections["auth"].close()
    assert [each.name for each in read_plan().waiting] == old
    assert "run `manage.py nuke_schema --database auth --undo`" in outcome.err
    undone = run("nuke_schema", "--database", "auth", "--undo", "--no-input")
    assert "was killed between its commits" in undone.out
    assert now() == before


def terminate_by_name(databases: Databases, name: str) -> None:
    databases.execute(
        "default",
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
        name,
    )


# --- the answer to a commit is lost


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("had_schema", [True, False])
def test_a_commit_whose_answer_is_lost_is_asked_about(
    databases: Databases, run: Callable[..., Ran], before: object, alias: str, had_schema: bool
) -> None:
    if not had_schema:
        databases.execute(alias, "DROP SCHEMA public CASCADE")
    # The last step before the first commit.
    with answer_lost(alias, "step verify fltr"):
        outcome = run(*CLEAN, "--keep")
    assert (outcome.err, outcome.code) == ("", 0)
    assert "asked again, it says committed" in outcome.out
    connections[alias].close()
    assert run("verify_schema").code == 0
    assert len(read_plan(alias).waiting) == had_schema


def test_error_a_database_without_a_schema_has_none_again(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    databases.execute("auth", "DROP SCHEMA public CASCADE")
    with struck("step commit auth", lambda: terminate("fltr")):
        outcome = run(*CLEAN)
    assert outcome.code == 7
    assert databases.execute("auth", "SELECT to_regnamespace('public')") == [(None,)]
    assert read_plan().waiting == ()


def test_a_nuke_whose_answer_is_lost_is_done(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    with answer_lost("auth", 'statement COMMENT ON SCHEMA "public_aside'):
        outcome = run(*NUKE)
    assert (outcome.err, outcome.code) == ("", 0)
    assert read_plan().tables == ()
    assert read_plan().waiting == ()


def test_error_nobody_can_say_whether_it_has_committed(databases: Databases) -> None:
    name = databases.names["auth"]
    connection = connections["auth"]

    def lose() -> None:
        databases.execute("default", f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        terminate_by_name(databases, name)
        raise OperationalError from psycopg.OperationalError("the connection is gone")

    commit = connection.commit
    connection.commit = lose  # type: ignore[method-assign]
    try:
        with (
            pytest.raises(CommitUnknown, match="Whether it has committed is not known"),
            certain("auth"),
            connection.cursor() as cursor,
        ):
            cursor.execute("CREATE TABLE t ()")
    finally:
        connection.commit = commit  # type: ignore[method-assign]
        databases.execute("default", f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@pytest.mark.parametrize("commits", [True, False])
def test_the_server_knows_what_became_of_a_transaction(databases: Databases, commits: bool) -> None:
    point = "statement SELECT pg_catalog.pg_current_xact_id"
    work = Transaction("auth")
    strike = answer_lost("auth", point) if commits else struck(point, lambda: terminate("auth"))
    with strike, pytest.raises(OperationalError) as lost:
        work.commit()
    outcome = work.outcome(lost.value)
    assert outcome is (Outcome.COMMITTED if commits else Outcome.ROLLED_BACK)


# --- Ctrl-C


def test_error_an_interrupt_before_the_commits_changes_nothing(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    with struck("step verify fltr", interrupt):
        outcome = run(*CLEAN)
    assert outcome.code == 130
    assert "Interrupted. What was not committed has been rolled back." in outcome.err
    assert now() == before


def test_error_an_interrupt_between_the_commits_brings_the_first_back(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    with struck("step commit auth", interrupt):
        outcome = run(*CLEAN)
    assert outcome.code == 7
    assert "Interrupted between the commits. Every database is as it was." in outcome.err
    assert now() == before
    assert [read_plan(alias).waiting for alias in ALIASES] == [(), ()]


def test_an_interrupt_after_the_commits_says_what_stands(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    with struck("step commit fltr", interrupt):
        outcome = run(*CLEAN)
    assert outcome.code == 130
    assert "Every database has its new schema. The old ones are kept." in outcome.err
    for alias in ALIASES:
        (old,) = read_plan(alias).waiting
        assert f"has its new schema, and its old one is kept in {old.name}." in outcome.err
        assert f"That of {alias}: `manage.py nuke_schema" in outcome.err
        assert run("nuke_schema", "--database", alias, "--undo", "--no-input").code == 0
    assert now() == before


@pytest.mark.parametrize("command", [NUKE, CLEAN])
def test_an_interrupt_of_the_purge_says_that_the_rest_stands(
    databases: Databases, run: Callable[..., Ran], before: object, command: tuple[str, ...]
) -> None:
    with struck("statement DROP TABLE", interrupt):
        outcome = run(*command)
    assert outcome.code == 130
    (old,) = read_plan().waiting
    assert f"{old.name}, was being dropped. What came before has been committed" in outcome.err
    assert "`manage.py nuke_schema --database auth --purge` goes on with it." in outcome.err
    assert run("nuke_schema", "--database", "auth", "--purge", "--no-input").code == 0


# --- after the commits


def test_a_connection_lost_during_the_purge_fails_nothing(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    with struck("statement DROP TABLE", lambda: terminate("auth")):
        outcome = run(*CLEAN)
    assert outcome.code == 0
    (old,) = read_plan().waiting
    assert old.is_whole is False
    assert f"is kept in {old.name}: `manage.py nuke_schema --database auth --purge`" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("Clean slate: ")
    assert run("verify_schema").code == 0


def test_a_connection_lost_after_the_commits_fails_nothing(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    """The record is completed over a new connection, and the purge goes on over it."""
    with struck("step commit fltr", lambda: terminate(*ALIASES)):
        outcome = run(*CLEAN)
    assert (outcome.err, outcome.code) == ("", 0)
    assert [read_plan(alias).waiting for alias in ALIASES] == [(), ()]


def test_a_reader_of_the_old_tables_holds_up_the_purge_only(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    with databases.connect("auth") as reader:

        def read() -> None:
            (old,) = schemas_aside(databases)
            reader.execute(f"BEGIN; SELECT * FROM {old}.users")

        with struck("step commit fltr", read):
            outcome = run(*CLEAN)
    assert outcome.code == 0
    (old,) = read_plan().waiting
    assert "Waited 0.5 s for a lock on schema" in outcome.out
    assert f"kept in {old.name}" in outcome.out


def schemas_aside(databases: Databases) -> list[str]:
    found = databases.execute(
        "auth", "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'public_aside_')"
    )
    return [name for (name,) in found]


# --- migrations


def test_other_apps_are_recorded_and_their_tables_are_elsewhere(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    """As `migrate` does it: every database records every app's migrations."""
    record = "SELECT app, name FROM django_migrations ORDER BY 1, 2"
    by_migrate = {alias: databases.execute(alias, record) for alias in ALIASES}
    assert run(*CLEAN).code == 0
    assert {alias: databases.execute(alias, record) for alias in ALIASES} == by_migrate


def test_a_migration_of_ours_finds_the_models_of_others_that_it_builds_upon() -> None:
    loader = MigrationLoader(None)
    own = [each for (label, _), each in loader.disk_migrations.items() if label == "admin"]
    state = migrations.state_before(loader, own)
    assert ("auth", "user") in state.models
    assert not any(label == "admin" for label, _ in state.models)


def test_the_receivers_of_post_migrate_run_and_may_use_the_models(
    databases: Databases, run: Callable[..., Ran], before: object
) -> None:
    seen = []

    def receive(sender: Any, app_config: Any, using: str, apps: Any, **others: Any) -> None:
        seen.append((using, apps.get_model("auth_app", "User")._meta.db_table, sorted(others)))

    post_migrate.connect(receive, sender=None)
    try:
        assert run(*CLEAN).code == 0
    finally:
        post_migrate.disconnect(receive, sender=None)
    assert {(using, table) for using, table, _ in seen} == {(alias, "users") for alias in ALIASES}
    assert seen[0][2] == ["interactive", "plan", "signal", "verbosity"]
