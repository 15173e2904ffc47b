"""Clients write while everything is done to their databases: what they were told is never in none of the places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
from django.db import connections

from fltr_project.backup import archive
from tests.conftest import ALIASES, Databases, Outcome
from tests.pooler import pgbouncer
from tests.samples import read_plan

from .storm import Ran, backed_up, schemas, storm, there
from .test_crashes import crash


def test_nothing_that_was_acknowledged_is_in_none_of_the_places(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    for alias in ALIASES:
        databases.mark(alias, "test")
    program = archive.pg_dump(read_plan().target.major).path
    with pgbouncer(databases, tmp_path) as pooler:

        def ran(*words: str, acts_on: tuple[str, ...] = ("auth",)) -> None:
            before = schemas(databases.connect)
            into = () if "--undo" in words else ("--backup-dir", str(tmp_path))
            outcome = run(*words, "--no-input", *into)
            for alias in ALIASES:
                connections[alias].close()
            names = {alias: databases.names[alias] for alias in acts_on}
            text = outcome.err or outcome.out
            after = schemas(databases.connect)
            assert Ran(words, outcome.code, text, before, after, names).lies == []
            assert outcome.code == 0, outcome

        def direct(alias: str) -> psycopg.Connection[object]:
            return databases.connect(alias)

        with storm([direct, pooler.connect], clients=4) as clients:
            clients.wait()
            ran("clean_slate", acts_on=ALIASES)
            clients.wait()
            with pooler.between(*ALIASES):
                keep = ("--keep", "--no-backup")
                ran("clean_slate", "--database", "fltr", *keep, acts_on=("fltr",))
            clients.wait()
            killed = ("clean_slate", "--no-input", "--backup-dir", str(tmp_path))
            assert crash(databases, "kill", "step commit auth", *killed).returncode == -9
            clients.wait()
            ran("nuke_schema", "--database", "auth", "--undo")
            clients.wait()
            ran("nuke_schema", "--database", "auth")
            ran("restore_database", "--database", "auth", "--from", "latest")
            clients.wait()
        # Nobody writes any more, so what is there now is in the backup, and goes.
        ran("clean_slate", acts_on=ALIASES)
    # No table, no function, no such user: of the schema that was emptied, or of a user in the one before.
    assert set(clients.errors) <= {"42P01", "42883", "23503", "LC002"}
    pg_restore = program.with_name("pg_restore")
    kept = set().union(*(backed_up(pg_restore, dump) for dump in tmp_path.glob("*.dump")))
    for alias in ALIASES:
        with databases.connect(alias) as session:
            found = there(session)
        assert clients.told[alias] - found - kept == set()
        # Neither place alone would do.
        assert clients.told[alias] - kept
        assert clients.told[alias] - found
