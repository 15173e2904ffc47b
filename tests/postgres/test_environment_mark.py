"""The mark in a database's comment: set by a plain owner, kept beside others' words, never taken along."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest
from django.db import connections

from fltr_project.postgres import environment_mark, programs
from fltr_project.postgres.target import identify
from tests.conftest import Databases, Outcome


@pytest.mark.parametrize(
    "comment", [None, "", "Ours.", "Two\nlines", "[not a mark]", "[fltr.environment=x]", "é %s {}"]
)
@pytest.mark.parametrize("database", ["fltr_auth", "a] b", 'q"u o', "é%20", "a [fltr.environment="])
def test_a_mark_is_found_again_and_the_words_before_it_stay(
    comment: str | None, database: str
) -> None:
    once = environment_mark.with_mark(comment, "test", database, 7)
    again = environment_mark.with_mark(once, "production", database, 7)
    assert environment_mark.marked(once, database, 7) == "test"
    assert environment_mark.marked(again, database, 7) == "production"
    assert again.startswith(comment or "")
    assert again.count("fltr.environment=production") == 1
    assert environment_mark.marked(again, database, 8) is None
    assert environment_mark.marked(again, f"{database}2", 7) is None
    assert environment_mark.marked(comment, database, 7) is None


def test_words_after_the_mark_do_not_hide_it() -> None:
    comment = environment_mark.with_mark("Before.", "staging", "d", 7) + "\nAfter."
    assert environment_mark.marked(comment, "d", 7) == "staging"
    assert environment_mark.with_mark(comment, "test", "d", 7).startswith("Before.\nAfter.\n[")


@pytest.fixture
def owner(databases: Databases) -> Iterator[str]:
    """A role that owns database ``auth`` and is nothing else."""
    role = f"owner_{uuid.uuid4().hex[:8]}"
    name = databases.names["auth"]
    ((before,),) = databases.execute("auth", "SELECT current_user")
    databases.execute("auth", f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB")
    databases.execute("auth", f"ALTER DATABASE {name} OWNER TO {role}")
    yield role
    with databases.connect("auth", user=before) as connection:
        connection.execute(f"ALTER DATABASE {name} OWNER TO {before}")
        connection.execute(f"DROP ROLE {role}")


def environment(alias: str = "auth") -> str | None:
    return identify(connections[alias]).environment


def test_an_owner_who_is_nothing_else_marks_and_marks_anew(
    databases: Databases,
    run: Callable[..., Outcome],
    owner: str,
) -> None:
    name = databases.names["auth"]
    databases.execute("auth", f"COMMENT ON DATABASE {name} IS 'People and money.'")
    settings = connections["auth"].settings_dict
    before = settings["USER"]
    connections["auth"].close()
    settings["USER"] = owner
    try:
        for mark in ("test", "production"):
            outcome = run("mark_environment", mark, "--database", "auth", "--no-input")
            assert outcome.code == 0, outcome
            assert (environment(), identify(connections["auth"]).role) == (mark, owner)
    finally:
        connections["auth"].close()
        settings["USER"] = before
    ((comment,),) = databases.execute(
        "auth",
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
        " WHERE datname = current_database()",
    )
    assert comment.splitlines()[0] == "People and money."
    assert len(comment.splitlines()) == 2


def test_it_is_taken_along_by_no_rename_and_no_template(databases: Databases) -> None:
    databases.mark("auth", "development")
    assert environment() == "development"
    name = databases.names["auth"]
    other = f"{name}_2"
    connections["auth"].close()
    try:
        with databases.connect("fltr") as connection:
            connection.execute(f"CREATE DATABASE {other} TEMPLATE {name}")
            assert seen(connection_to(databases, other)) is None
            connection.execute(f"DROP DATABASE {other}")
            connection.execute(f"ALTER DATABASE {name} RENAME TO {other}")
            assert seen(connection_to(databases, other)) is None
            connection.execute(f"ALTER DATABASE {other} RENAME TO {name}")
        assert environment() == "development"
    finally:
        with databases.connect("fltr") as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {other}")


def test_it_is_taken_along_by_no_dump_that_creates_the_database(databases: Databases) -> None:
    """pg_dump --create writes the comment; it is the mark of another database."""
    databases.mark("auth", "development")
    pg_dump = programs.find("pg_dump", at_least=18)
    assert pg_dump is not None
    with databases.connect("auth") as connection:
        info = connection.info
        dumped = subprocess.run(
            [
                *(str(pg_dump.path), "--create", "--schema-only", "--no-owner"),
                *("--host", info.host, "--port", str(info.port), "--username", info.user),
                info.dbname,
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    line = next(line for line in dumped.splitlines() if "fltr.environment=development" in line)
    name = databases.names["fltr"]
    comment = line.partition("[")[2].partition("]")[0]
    databases.execute("fltr", f"COMMENT ON DATABASE {name} IS '[{comment}]'")
    assert environment("fltr") is None


def connection_to(databases: Databases, name: str) -> tuple[str, int, str | None]:
    with databases.connect("auth", dbname=name) as connection:
        row = connection.execute(environment_mark.READ).fetchone()
        assert row is not None
        return row[0], row[1], row[2]


def seen(row: tuple[str, int, str | None]) -> str | None:
    name, oid, comment = row
    return environment_mark.marked(comment, name, oid)
