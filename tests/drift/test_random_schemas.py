"""Random schemas are equal to their dump and restore, and to nothing that differs from it.

FLTR_TEST_EXAMPLES says how many are tried; a few by default.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.db import connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pytest_django.plugin import DjangoDbBlocker

from fltr_project.catalog.read import read_from
from fltr_project.drift.compare import Severity, differences
from fltr_project.drift.repair.executor import apply
from fltr_project.drift.repair.renaming import repairs
from fltr_project.drift.repair.statement import Hazard
from fltr_project.postgres import programs
from fltr_project.postgres.target import connect, identify
from tests.conftest import Databases, _reaching, _server

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("FLTR_TEST_EXAMPLES", "12"))

# Type, a constant of it, a check on {} of it.
TYPES = [
    ("text", "'x'", "{} <> ''"),
    ("varchar(40)", "'x'", "length({}) > 2"),
    ("integer", "0", "{} >= 0"),
    ("bigint", "7", "{} BETWEEN 1 AND 9"),
    ("numeric(10,2)", "1.50", "{} > 0.5"),
    ("boolean", "false", "{} OR NOT {}"),
    ("uuid", "gen_random_uuid()", "{} IS NOT NULL"),
    ("timestamp", "timezone('utc', now())", "{} > '2020-01-01'"),
    ("timestamptz", "now()", "{} < 'infinity'"),
    ("date", "CURRENT_DATE", "{} >= '2020-01-01'"),
    ("jsonb", "'{{}}'", "jsonb_typeof({}) = 'object'"),
    ("double precision", "0.5", "{} IN (0.5, 1.5)"),
    ("text[]", "'{{}}'", "cardinality({}) < 9"),
]
KEYS = ["id serial", "id integer GENERATED ALWAYS AS IDENTITY", "id bigserial", "id uuid"]
RULES = ["", "ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE RESTRICT ON UPDATE CASCADE"]
MOMENTS = ["", "DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"]


# No row is lost, and no value.
ALLOWED = frozenset(Hazard) - {Hazard.LOSES_ROWS, Hazard.CHANGES_VALUES}


@dataclass(frozen=True)
class Random:
    """Statements that make a schema, and one that changes it."""

    statements: tuple[str, ...]
    change: str


@st.composite
def schemas(draw: st.DrawFn) -> Random:
    statements: list[str] = []
    changes: list[str] = ["CREATE TABLE one_more (i integer)"]
    tables = draw(st.integers(1, 3))
    for number in range(tables):
        table = draw(st.sampled_from(["t", "Group", "a b", "order"])) + str(number)
        quoted = f'"{table}"'
        key = draw(st.sampled_from(KEYS))
        lines = [f"{key} PRIMARY KEY"]
        after = []
        columns = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=4))
        for place, (type_, constant, check) in enumerate(columns):
            column = f'"c{place}"'
            words = [column, type_]
            if draw(st.booleans()):
                words.append(f"DEFAULT {constant.replace('{{', '{').replace('}}', '}')}")
                changes.append(f"ALTER TABLE {quoted} ALTER {column} DROP DEFAULT")
            if draw(st.booleans()):
                words.append("NOT NULL")
                changes.append(f"ALTER TABLE {quoted} ALTER {column} DROP NOT NULL")
            else:
                changes.append(f"ALTER TABLE {quoted} ALTER {column} SET NOT NULL")
            if draw(st.booleans()):
                name = f'"{table}_check_{place}"'
                words.append(f"CONSTRAINT {name} CHECK ({check.replace('{}', column)})")
                changes.append(f"ALTER TABLE {quoted} DROP CONSTRAINT {name}")
            lines.append(" ".join(words))
            changes.append(f"ALTER TABLE {quoted} DROP COLUMN {column} CASCADE")
            if type_ not in {"jsonb", "text[]"} and draw(st.booleans()):
                unique = draw(st.sampled_from(["", "UNIQUE "]))
                where = draw(st.sampled_from(["", f" WHERE {column} IS NOT NULL"]))
                order = draw(st.sampled_from(["", " DESC", " NULLS FIRST"]))
                name = f'"{table}_{place}_idx"'
                after.append(f"CREATE {unique}INDEX {name} ON {quoted} ({column}{order}){where}")
                changes.append(f"DROP INDEX {name}")
        parent = draw(st.integers(-1, number - 1))
        if parent >= 0:
            target = statements_of(statements)[parent]
            rule, moment = draw(st.sampled_from(RULES)), draw(st.sampled_from(MOMENTS))
            lines.append(f'"parent" {target[1]}')
            name = f'"{table}_parent_fk"'
            after.append(
                f"ALTER TABLE {quoted} ADD CONSTRAINT {name} FOREIGN KEY (parent)"
                f" REFERENCES {target[0]} (id) {rule} {moment}"
            )
            changes.append(f"ALTER TABLE {quoted} DROP CONSTRAINT {name}")
            changes.append(f"ALTER TABLE {quoted} DISABLE TRIGGER ALL")
        statements.append(f"CREATE TABLE {quoted} ({', '.join(lines)})")
        statements += after
        changes.append(f"ALTER TABLE {quoted} ADD COLUMN more integer")
        changes.append(
            f"ALTER TABLE {quoted} SET UNLOGGED" if parent < 0 and tables == 1 else changes[0]
        )
        changes.append(f"ALTER TABLE {quoted} ENABLE ROW LEVEL SECURITY")
        if draw(st.booleans()):
            statements.append(
                f'CREATE VIEW "v{number}" AS SELECT id, count(*) FROM {quoted} GROUP BY id'
            )
            changes.append(f'DROP VIEW "v{number}"')
    return Random(tuple(statements), draw(st.sampled_from(changes)))


def statements_of(statements: list[str]) -> list[tuple[str, str]]:
    """The tables made so far, each with the type of its key."""
    made = []
    for statement in statements:
        if statement.startswith("CREATE TABLE "):
            table, _, columns = statement.removeprefix("CREATE TABLE ").partition(" (")
            word = columns.split()[1]
            made.append((table, {"serial": "integer", "bigserial": "bigint"}.get(word, word)))
    return made


@pytest.fixture(scope="module")
def two(django_db_blocker: DjangoDbBlocker) -> Iterator[Databases]:
    """Two empty databases, under the aliases' names."""
    run_id = uuid.uuid4().hex[:8]
    names = {"auth": f"cs_random_a_{run_id}", "fltr": f"cs_random_b_{run_id}"}
    with django_db_blocker.unblock():
        try:
            for name in names.values():
                _server("auth", "CREATE DATABASE {} TEMPLATE template0", name)
            with _reaching(names):
                for alias in names:
                    connections[alias].ensure_connection()
                yield Databases(names)
        finally:
            for name in names.values():
                _server("auth", "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    # Shrinking would take minutes of dumps; the statements that failed are printed.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
@given(random=schemas())
def test_a_schema_equals_its_restored_dump_and_nothing_else(two: Databases, random: Random) -> None:
    with two.connect("auth") as first, two.connect("fltr") as second:
        for connection in (first, second):
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        for statement in random.statements:
            first.execute(statement)
        copy(two)
        expected = read_from(first)
        assert expected.tables
        assert differences(expected, read_from(second)) == []

        second.execute(random.change)
        found = read_from(second)
        drift = differences(expected, found)
        assert [each for each in drift if each.finding.severity is not Severity.NOTE], random

        every = repairs(drift, expected, found)
        apply(identify(connect("fltr")), every, allowed=ALLOWED)
        left = differences(expected, read_from(second))
        repaired = repairs(left, expected, read_from(second))
        assert all(Hazard.LOSES_ROWS in each.hazards for each in repaired), (random, left)


def test_a_key_to_a_table_with_a_quoted_name_is_repaired(two: Databases) -> None:
    """Found by the random schemas: the target's quotes were taken for a part of its name."""
    with two.connect("auth") as first, two.connect("fltr") as second:
        for connection in (first, second):
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            connection.execute(
                'CREATE TABLE "Group" (id int PRIMARY KEY);'
                ' CREATE TABLE member (g int CONSTRAINT k REFERENCES "Group" (id))'
            )
        second.execute("ALTER TABLE member DROP CONSTRAINT k")
        expected = read_from(first)
        drift = differences(expected, read_from(second))
        found = read_from(second)
        apply(identify(connect("fltr")), repairs(drift, expected, found))
        assert differences(expected, read_from(second)) == []


def copy(two: Databases) -> None:
    """Dump the first database's schema and restore it in the second."""
    pg_dump, psql = programs.find("pg_dump", at_least=18), programs.find("psql", at_least=18)
    assert pg_dump
    assert psql
    urls = two.environment()
    dump = subprocess.run(
        [pg_dump.path, "--schema-only", "--schema=public", urls["AUTH_DATABASE_URL"]],
        check=True,
        capture_output=True,
    ).stdout
    # The schema is there already; servers before 17 do not know the setting.
    for line in (b"CREATE SCHEMA public;", b"SET transaction_timeout = 0;"):
        dump = dump.replace(line, b"")
    subprocess.run(
        [psql.path, "--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", urls["FLTR_DATABASE_URL"]],
        input=dump,
        check=True,
        capture_output=True,
    )
