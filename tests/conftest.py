"""Real PostgreSQL databases for the tests, and a way to run commands as a user does.

Two kinds of tests touch a database. Those of the ORM are marked
``django_db(databases=[...])`` and roll back. Those of the schema commands commit and drop things, so
they ask for the fixture ``databases``: a fresh migrated pair of their own, cloned from a template.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import ManagementUtility, call_command
from django.db import connections
from psycopg import sql
from pytest_django.plugin import DjangoDbBlocker

from fltr_project.catalog import contract
from fltr_project.postgres import addresses, environment_mark

from .on_server import SETTINGS

# Tests send it, and a shell starts a job in the background with it ignored.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
ALIASES = ("auth", "fltr")
# Django's own database is real here too; commands that keep records find their tables in it.
ALL_ALIASES = ("default", *ALIASES)


@dataclass(frozen=True)
class Outcome:
    out: str
    err: str
    code: int


@dataclass(frozen=True)
class Databases:
    """A throw-away database for each alias, ``default`` included, which Django's connections reach."""

    names: dict[str, str]

    def connect(self, alias: str, **options: Any) -> psycopg.Connection[Any]:
        """A connection of another client, in autocommit; close it."""
        settings = connections[alias].settings_dict
        parameters = {
            "host": settings["HOST"],
            "port": settings["PORT"],
            "user": settings["USER"],
            "password": settings["PASSWORD"],
            "dbname": self.names[alias],
        }
        known = {key: value for key, value in parameters.items() if value}
        return psycopg.connect(**{**known, **options}, autocommit=True)

    def execute(self, alias: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement as another client and commit; the rows, where it returns any."""
        with self.connect(alias) as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def mark(self, alias: str, environment: str | None) -> None:
        with self.connect(alias) as connection:
            row = connection.execute(environment_mark.READ).fetchone()
            assert row is not None
            name, oid, comment = row
            connection.execute(
                sql.SQL("COMMENT ON DATABASE {} IS NULL").format(sql.Identifier(name))
                if environment is None
                else environment_mark.statement(comment, environment, name, oid)
            )

    def environment(self) -> dict[str, str]:
        """Variables that make a `manage.py` of its own process use these databases."""
        urls = {}
        for alias, name in self.names.items():
            settings = {**connections[alias].settings_dict, "NAME": name}
            variable = {"default": "CONTROL"}.get(alias, alias.upper())
            urls[f"{variable}_DATABASE_URL"] = addresses.url_of(settings)
        return urls


def drop_role(databases: Databases, role: str) -> None:
    """Drop a role with all that it has; a session that has just ended may still be dropping what it had."""
    deadline = time.monotonic() + 10
    while True:
        try:
            for alias in ALIASES:
                databases.execute(alias, f"DROP OWNED BY {role} CASCADE")
            databases.execute("auth", f"DROP ROLE {role}")
            return
        except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.InternalError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def assert_not_there(outcome: Outcome, databases: Databases, command: str) -> None:
    """One sentence about database ``auth``, with the command that builds its schema."""
    assert (outcome.out, outcome.code) == ("", 2), outcome
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"CommandError: The schema of {databases.names['auth']} on PostgreSQL ")
    assert line.endswith(
        f" is not there: none of its {len(contract.own_tables('auth'))} tables exists. Build it with `manage.py {command} --database auth`."
    )


@pytest.fixture
def run() -> Callable[..., Outcome]:
    """Run a management command in this process, as from the command line."""

    def run_command(*arguments: str) -> Outcome:
        out, err, code = io.StringIO(), io.StringIO(), 0
        with redirect_stdout(out), redirect_stderr(err):
            try:
                ManagementUtility(["manage.py", *arguments]).execute()
            except SystemExit as exit_:
                code = int(exit_.code or 0)
        return Outcome(out.getvalue(), err.getvalue(), code)

    return run_command


@pytest.fixture
def manage(tmp_path: Path) -> Callable[..., Outcome]:
    """Run `manage.py` in a process of its own, with the project's settings and no terminal."""

    def run_manage(*arguments: str, **environment: str) -> Outcome:
        settings = {"DJANGO_SETTINGS_MODULE": "fltr_project.settings"}
        inherited = {k: v for k, v in os.environ.items() if not k.endswith("_DATABASE_URL")}
        result = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env={**inherited, **settings, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Outcome(result.stdout, result.stderr, result.returncode)

    return run_manage


# Copying the files of a template takes half the time of writing its pages to the log.
STRATEGY = " STRATEGY FILE_COPY"


@pytest.fixture(scope="session", autouse=True)
def _fast_server(django_db_blocker: DjangoDbBlocker) -> None:
    """Let the embedded server do nothing that only an outage needs."""
    if addresses.is_embedded(connections["auth"].settings_dict):
        with django_db_blocker.unblock(), connections["auth"]._nodb_cursor() as cursor:
            for name, value in SETTINGS.items():
                cursor.execute(f"ALTER SYSTEM SET {name} = {value}")
            cursor.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def _templates(django_db_blocker: DjangoDbBlocker) -> Iterator[dict[str, str]]:
    """A migrated database for each alias, to clone."""
    run_id = uuid.uuid4().hex[:8]
    names = {alias: f"cs_template_{alias}_{run_id}" for alias in ALL_ALIASES}
    with django_db_blocker.unblock():
        try:
            for alias, name in names.items():
                _server(alias, "CREATE DATABASE {} TEMPLATE template0", name)
                with _reaching({alias: name}):
                    call_command("migrate", database=alias, verbosity=0)
            yield names
        finally:
            for alias, name in names.items():
                _server(alias, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@pytest.fixture
def databases(
    _templates: dict[str, str], django_db_blocker: DjangoDbBlocker
) -> Iterator[Databases]:
    """A fresh, migrated, unmarked pair of databases with no rows; dropped afterwards."""
    run_id = uuid.uuid4().hex[:8]
    names = {alias: f"cs_{alias}_{run_id}" for alias in ALIASES}
    with django_db_blocker.unblock():
        try:
            for alias, name in names.items():
                _clone(alias, _templates[alias], name)
            # One database of Django's own serves all tests: a clone costs each of them 50 ms.
            reached = {"default": _templates["default"], **names}
            with _reaching(reached):
                yield Databases(reached)
        finally:
            for alias, name in names.items():
                _server(alias, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@contextmanager
def _reaching(names: dict[str, str]) -> Iterator[None]:
    """Point the aliases' connections at other databases of their server."""
    with ExitStack() as stack:
        for alias, name in names.items():
            connection = connections[alias]
            connection.close()
            before = connection.settings_dict["NAME"]
            connection.settings_dict["NAME"] = name
            stack.callback(connection.settings_dict.__setitem__, "NAME", before)
            stack.callback(connection.close)
        yield


def _server(alias: str, statement: str, *names: str) -> None:
    """Run a statement on databases from outside of them."""
    with connections[alias]._nodb_cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _clone(alias: str, source: str, target: str) -> None:
    """A database with all that another one has, its settings included."""
    _server(alias, f"CREATE DATABASE {{}} TEMPLATE {{}}{STRATEGY}", target, source)
    _copy_settings(alias, source, target)


def _copy_settings(alias: str, source: str, target: str) -> None:
    """CREATE DATABASE copies what is in a database, not what ALTER DATABASE ... SET has stored."""
    with connections[alias]._nodb_cursor() as cursor:
        cursor.execute(
            "SELECT unnest(setconfig) FROM pg_db_role_setting s"
            " JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = %s AND s.setrole = 0",
            [source],
        )
        for (setting,) in cursor.fetchall():
            name, _, value = setting.partition("=")
            cursor.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    sql.Identifier(target), sql.Identifier(*name.split(".")), sql.Literal(value)
                )
            )
