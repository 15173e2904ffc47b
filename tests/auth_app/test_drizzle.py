"""Drizzle is told that its migrations are applied, and only where all that they make is there."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import LazySettings

from auth_app.drizzle.snapshot import server_type
from fltr_project.postgres import programs
from tests.conftest import Databases, Outcome, assert_not_there

from .drizzle_folders import (
    DIRECTORIES,
    SESSIONS,
    TABLES,
    TAGS,
    USERS,
    WHEN,
    directories,
    journal,
)

Run = Callable[..., Outcome]
RECORD = "SELECT hash, created_at FROM public.__drizzle_migrations ORDER BY id"
ROWS = [(hashlib.sha256(f"-- {tag}".encode()).hexdigest(), WHEN + n) for n, tag in enumerate(TAGS)]


def test_it_records_each_migration_once(databases: Databases, run: Run, tmp_path: Path) -> None:
    folder = journal(tmp_path / "drizzle")
    before = run("adopt_drizzle", str(folder), "--check")
    assert before.code == 1
    assert "not recorded  0001_second" in before.out
    first = run("adopt_drizzle", str(folder))
    assert (first.code, first.err) == (0, "")
    assert "0000_first, 0001_second" in first.out
    assert "recorded" in run("adopt_drizzle", str(folder)).out
    assert databases.execute("auth", RECORD) == ROWS
    assert run("adopt_drizzle", str(folder), "--check").code == 0


# Tables of the folder, parts of the table sessions, and what the database lacks of it.
LACKING: list[tuple[dict[str, dict[str, str]], dict[str, object], str]] = [
    ({**TABLES, "teams_old": {"id": "text"}}, {}, "table teams_old"),
    ({**TABLES, "users": {**USERS, "nickname": "text"}}, {}, "column users.nickname"),
    (
        {**TABLES, "users": {**USERS, "name": "varchar(255)"}},
        {},
        "column users.name as character varying(255) (it is text)",
    ),
    (
        {**TABLES, "sessions": {**SESSIONS, "expires_at": "timestamp (3) with time zone"}},
        {},
        "column sessions.expires_at as timestamp(3) with time zone (it is timestamp without",
    ),
    (
        TABLES,
        {"uniqueConstraints": {"u": {"columns": ["user_id", "token"]}}},
        "unique key of sessions (user_id, token)",
    ),
    (
        TABLES,
        {
            "foreignKeys": {
                "k": {
                    "columnsFrom": ["user_id"],
                    "tableTo": "users",
                    "columnsTo": ["id"],
                    "onDelete": "restrict",
                }
            }
        },
        "foreign key sessions.user_id to users.id ON DELETE RESTRICT",
    ),
    (
        TABLES,
        {"compositePrimaryKeys": {"p": {"columns": ["id", "token"]}}},
        "primary key of sessions (id, token)",
    ),
    (
        TABLES,
        {
            "indexes": {
                "i": {
                    "isUnique": False,
                    "columns": [{"expression": "expires_at", "isExpression": False}],
                }
            }
        },
        "index of sessions (expires_at)",
    ),
]


def test_error_the_database_lacks_what_the_folder_makes(
    databases: Databases, run: Run, tmp_path: Path
) -> None:
    for number, (tables, sessions, named) in enumerate(LACKING):
        folder = str(journal(tmp_path / str(number), tables, **sessions))
        checked = run("adopt_drizzle", folder, "--check")
        assert (checked.code, f"missing       {named}" in checked.out) == (1, True), checked
        refused = run("adopt_drizzle", folder, "--format", "json")
        document = json.loads(refused.out)
        assert (refused.code, document["verdict"], len(document["missing"])) == (3, "refused", 1)
        assert document["missing"][0].startswith(named)
        assert named in document["error"]
    assert databases.execute("auth", RECORD) == []


def test_indexes_of_expressions_are_not_compared(
    databases: Databases, run: Run, tmp_path: Path
) -> None:
    columns = [{"expression": "lower(token)", "isExpression": True}]
    indexes = {"i": {"isUnique": True, "columns": columns}}
    assert run("adopt_drizzle", str(journal(tmp_path / "d", indexes=indexes))).code == 0


def test_it_knows_the_folder_of_drizzle_1(databases: Databases, run: Run, tmp_path: Path) -> None:
    """And the columns that Drizzle 1.0 adds to its record are no drift."""
    databases.execute(
        "auth",
        "ALTER TABLE public.__drizzle_migrations ADD name text, ADD applied_at timestamptz DEFAULT now()",
    )
    assert run("verify_schema", "--database", "auth", "--strict").code == 0
    lacking = directories(tmp_path / "lacking", {**TABLES, "users": {**USERS, "nickname": "text"}})
    assert "column users.nickname" in run("adopt_drizzle", str(lacking)).err
    folder = directories(tmp_path / "drizzle")
    assert run("adopt_drizzle", str(folder)).code == 0
    named = "SELECT name, created_at FROM public.__drizzle_migrations ORDER BY id"
    expected = [(name, WHEN + 1000 * n) for n, name in enumerate(DIRECTORIES)]
    assert databases.execute("auth", named) == expected
    assert run("adopt_drizzle", str(folder), "--check").code == 0


def test_error_files_that_cannot_be_read(databases: Databases, run: Run, tmp_path: Path) -> None:
    for file, text, advice in (
        ("0001_snapshot.json", "", "drizzle-kit generate"),
        ("0001_snapshot.json", "[]", "drizzle-kit generate"),
        ("0001_snapshot.json", '{"version": "5"}', "drizzle-kit up"),
        ("_journal.json", "", "drizzle-kit generate"),
        ("_journal.json", "{}", "drizzle-kit generate"),
        ("_journal.json", '{"entries": [{"tag": 1}]}', "drizzle-kit generate"),
        ("_journal.json", "[]", "drizzle-kit generate"),
    ):
        shutil.rmtree(tmp_path / "drizzle", ignore_errors=True)
        folder = journal(tmp_path / "drizzle")
        (folder / "meta" / file).write_text(text)
        outcome = run("adopt_drizzle", str(folder))
        assert (outcome.code, advice in outcome.err) == (2, True), outcome
    assert databases.execute("auth", RECORD) == []


def test_error_what_is_no_folder(databases: Databases, run: Run, tmp_path: Path) -> None:
    folder = journal(tmp_path / "drizzle")
    for path in (folder / "meta" / "_journal.json", tmp_path / "nowhere", folder / "meta"):
        outcome = run("adopt_drizzle", str(path))
        assert outcome.code == 2
        assert "is not a Drizzle migrations folder" in outcome.err
    directories(folder)
    assert "side by side" in run("adopt_drizzle", str(folder)).err
    assert "or set DRIZZLE_FOLDER" in run("adopt_drizzle").err
    assert (
        "takes no --format json"
        in run("adopt_drizzle", str(journal(tmp_path / "b")), "--sql", "--format", "json").out
    )


def test_error_an_empty_schema(databases: Databases, run: Run, tmp_path: Path) -> None:
    databases.execute("auth", "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    outcome = run("adopt_drizzle", str(journal(tmp_path / "drizzle")))
    assert_not_there(outcome, databases, "migrate")


def test_the_script_does_the_same_without_python(
    databases: Databases, run: Run, tmp_path: Path
) -> None:
    psql = programs.find("psql", at_least=0)
    assert psql is not None

    def execute(script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [psql.path, databases.environment()["AUTH_DATABASE_URL"], "-Xqv", "ON_ERROR_STOP=1"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )

    more = {**TABLES, "users": {**USERS, "$block$": "text"}}
    for write in (journal, directories):
        folder = tmp_path / write.__name__
        script = run("adopt_drizzle", str(write(folder)), "--sql").out
        for _ in range(2):
            done = execute(script)
            assert (done.returncode, done.stderr) == (0, "")
            assert run("adopt_drizzle", str(folder), "--check").code == 0
        ahead = write(tmp_path / f"{write.__name__}_ahead", more)
        refused = execute(run("adopt_drizzle", str(ahead), "--sql").out)
        assert refused.returncode == 3
        assert "would never make it: users.$block$ as text" in refused.stderr


def test_a_rebuild_keeps_the_record(databases: Databases, run: Run, tmp_path: Path) -> None:
    for alias in ("auth", "fltr"):
        databases.mark(alias, "test")
    rebuild = ("clean_slate", "--database", "auth", "--no-input", "--no-backup")
    assert "__drizzle_migrations (empty)" in run(*rebuild).out
    run("adopt_drizzle", str(journal(tmp_path / "drizzle")))
    outcome = run(*rebuild)
    assert "Drizzle's record of 2 migrations kept" in outcome.out
    assert "__drizzle_migrations and django_migrations" in outcome.out
    assert databases.execute("auth", RECORD) == ROWS


def test_the_folder_of_the_settings_is_recorded_by_whoever_builds(
    databases: Databases,
    run: Run,
    tmp_path: Path,
    settings: LazySettings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    databases.mark("auth", "test")
    settings.DRIZZLE_FOLDER = str(journal(tmp_path / "drizzle"))
    emptied = ("nuke_schema", "--database", "auth", "--no-input", "--no-backup")
    rebuild = ("clean_slate", "--database", "auth", "--no-input", "--no-backup")
    run(*emptied)
    assert run("migrate", "--database", "auth", "--verbosity", "0").code == 0
    assert databases.execute("auth", RECORD) == ROWS
    assert "2 migrations of DRIZZLE_FOLDER recorded" in run(*rebuild).out
    assert databases.execute("auth", RECORD) == ROWS
    assert run("adopt_drizzle", "--check").code == 0

    tables = {**TABLES, "users": {**USERS, "nickname": "text"}}
    settings.DRIZZLE_FOLDER = str(journal(tmp_path / "ahead", tables))
    with caplog.at_level(logging.WARNING):
        refused = run(*rebuild)
    assert refused.code == 7
    assert "column users.nickname" in refused.err
    assert databases.execute("auth", RECORD) == ROWS
    run(*emptied)
    caplog.clear()
    assert run("migrate", "--database", "auth", "--verbosity", "0").code == 0
    assert "DRIZZLE_FOLDER was not adopted" in caplog.text
    assert databases.execute("auth", RECORD) == []


def test_types_are_those_of_the_server(databases: Databases) -> None:
    words = [
        *("varchar", "varchar(255)", "char", "char(3)", "numeric(10, 2)", "decimal", "int4"),
        *("timestamp", "timestamp (3)", "timestamp with time zone", "timestamp(6) with time zone"),
        *("time", "timetz", "float8", "bool", "text[]", "varchar(10)[]", "integer[3]", "uuid"),
        *("double precision", "real", "jsonb", "smallint", "interval", "bytea", "inet", "date"),
    ]
    for word in words:
        with databases.connect("fltr") as connection:
            connection.execute(f"CREATE TEMP TABLE one (x {word})")
            row = connection.execute(
                "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
                " WHERE attrelid = 'one'::regclass AND attname = 'x'"
            ).fetchone()
        assert row == (server_type(word),), word
