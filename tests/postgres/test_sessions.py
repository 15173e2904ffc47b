"""Whatever a role, a database or a server is set to: the command line does its work, and an application keeps its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connections
from psycopg import sql

from auth_app.models import CreditTransaction
from fltr_project.errors import CannotRun
from fltr_project.postgres import sessions
from fltr_project.postgres.target import connect
from tests.conftest import Databases, Outcome, drop_role
from tests.samples import fill

Run = Callable[..., Outcome]

# To each of our settings the worst that it may be; the first two end a session that rests.
WORST = {
    "statement_timeout": "40ms",
    "transaction_timeout": "60ms",
    "idle_in_transaction_session_timeout": "100ms",
    "idle_session_timeout": "100ms",
    "lock_timeout": "1ms",
    "exit_on_error": "on",
    "search_path": '"$user", elsewhere',
    "default_tablespace": "nowhere",
    "temp_tablespaces": "nowhere",
    "default_table_access_method": "nothing",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "row_security": "off",
    "restrict_nonsystem_relation_kind": "view, foreign-table",
    "gin_fuzzy_search_limit": "1",
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "xmloption": "document",
    "check_function_bodies": "off",
    "timezone_abbreviations": "Australia",
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "quote_all_identifiers": "on",
    "xmlbinary": "hex",
    "client_min_messages": "debug5",
    "session_replication_role": "replica",
}


def set_to_the_worst(databases: Databases, subject: str, alias: str) -> None:
    """``subject`` is what comes after ALTER: a role, a database, or a role in a database."""
    with databases.connect(alias) as client:
        client.execute("CREATE SCHEMA elsewhere")
        client.execute("CREATE SCHEMA IF NOT EXISTS postgres")
        # An access method that is only a name would be refused here; one that is another's tables is none.
        known = {name for (name,) in client.execute("SELECT name FROM pg_settings")}
        for name in known & WORST.keys() - {"default_table_access_method"}:
            client.execute(
                sql.SQL("ALTER {} SET {} = {}").format(
                    sql.SQL(subject),
                    sql.Identifier(name),
                    sql.SQL(WORST[name]) if name in LISTS else sql.Literal(WORST[name]),
                )
            )


LISTS = {"search_path", "temp_tablespaces"}


def test_every_setting_of_ours_has_a_worst() -> None:
    assert WORST.keys() == {*sessions.SETTINGS, "session_replication_role"}


@pytest.fixture(params=["database", "role"])
def hostile(
    request: pytest.FixtureRequest, databases: Databases
) -> Iterator[tuple[Databases, str]]:
    fill(databases)
    role = f"reader_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}")
    for alias in ("auth", "fltr"):
        databases.mark(alias, "test")
        name = databases.names[alias]
        user = connections[alias].settings_dict["USER"]
        subjects = {"database": f"DATABASE {name}", "role": f"ROLE {user} IN DATABASE {name}"}
        set_to_the_worst(databases, subjects[request.param], alias)
    yield databases, role
    with databases.connect("default") as client:
        for alias in ("auth", "fltr"):
            client.execute(f"ALTER DATABASE {databases.names[alias]} RESET ALL")
            user = connections[alias].settings_dict["USER"]
            client.execute(f"ALTER ROLE {user} IN DATABASE {databases.names[alias]} RESET ALL")
    drop_role(databases, role)


def test_every_command_works(hostile: tuple[Databases, str], run: Run, tmp_path: Path) -> None:
    _, role = hostile
    backups = ("--backup-dir", str(tmp_path))
    auth = ("--database", "auth")
    for arguments in (
        ("verify_schema", "--database", "fltr", "--data"),
        ("check", "--database", "fltr"),
        ("nuke_schema", *auth, "--plan"),
        ("nuke_schema", *auth, "--no-input", *backups),
        ("showmigrations", *auth),
        ("migrate", *auth, "--verbosity", "0"),
        ("verify_schema",),
        ("smoke_credits",),
        ("smoke_credits", "--concurrency", "2"),
        ("restore_database", *auth, "--no-input", "--no-backup", "--from"),
        ("clean_slate", "--no-input", "--keep", *backups),
        ("nuke_schema", *auth, "--undo", "--no-input"),
        ("backup_database", *backups),
        ("reconcile_credits",),
        ("grant_access", "--role", role, "--as", "app"),
        ("mark_environment", "staging", "--no-input"),
    ):
        if arguments[-1] == "--from":
            arguments = (*arguments, str(min(tmp_path.glob("*.dump"))))
        outcome = run(*arguments)
        assert outcome.code == 0, (arguments, outcome)


def test_an_application_keeps_its_own(databases: Databases) -> None:
    """But for the DateStyle, in which Django could not read a time."""
    name = databases.names["auth"]
    own = {"DateStyle": "German", "statement_timeout": "7s", "default_tablespace": "pg_default"}
    for setting, value in own.items():
        databases.execute("auth", f"ALTER DATABASE {name} SET {setting} = '{value}'")
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Ada', 'a@example.org')")
    entry = CreditTransaction.objects.get()
    assert entry.created_at.year > 2000
    with connections["auth"].cursor() as cursor:
        cursor.execute("SELECT now(), current_setting('statement_timeout')")
        now, timeout = cursor.fetchone()
    assert now.utcoffset() is not None
    assert timeout == "7s"


def test_it_goes_on_with_its_own_after_a_command(databases: Databases, run: Run) -> None:
    with connections["auth"].cursor() as cursor:
        cursor.execute("SHOW search_path")
        before = cursor.fetchone()
    assert run("verify_schema").code == 0
    with connections["auth"].cursor() as cursor:
        cursor.execute("SHOW search_path")
        assert cursor.fetchone() == before


def test_a_timeout_that_the_person_names_counts(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=77s -c search_path=elsewhere")
    with sessions.own(), connect("auth").cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), current_setting('search_path')")
        assert cursor.fetchone() == ("77s", "public")


def test_error_triggers_that_only_a_superuser_can_turn_on(databases: Databases) -> None:
    name, connection = databases.names["auth"], connections["auth"].copy()
    role = f"plain_{name}"
    databases.execute("auth", f"CREATE ROLE {role} LOGIN")
    databases.execute("auth", f"ALTER ROLE {role} SET session_replication_role = replica")
    try:
        connection.settings_dict["USER"] = role
        with (
            pytest.raises(
                CannotRun, match=r"no trigger and no foreign key works.* Have a superuser"
            ),
            sessions.own(),
        ):
            connection.ensure_connection()
    finally:
        connection.close()
        drop_role(databases, role)
