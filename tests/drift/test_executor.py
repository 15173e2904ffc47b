"""How a repair is run: bounded waits and one operation at a time to its end, and nothing that loses."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest
from django.db import connections

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Catalog, Column, Key
from fltr_project.catalog.read import read
from fltr_project.drift.compare import Severity, differences
from fltr_project.drift.repair import executor, renaming
from fltr_project.drift.repair.conversions import converted, count_of_changed, guard, keeps
from fltr_project.drift.repair.names import named, printed, public, target
from fltr_project.drift.repair.repair import Repair, together
from fltr_project.drift.repair.script import NOTHING, script
from fltr_project.drift.repair.statement import (
    Hazard,
    Stage,
    Statement,
    losing,
    ordered,
)
from fltr_project.errors import Blocked, RolledBack
from fltr_project.postgres import locks
from fltr_project.postgres.target import connect, identify
from tests.conftest import Databases

from .conftest import Shared

pytestmark = pytest.mark.slow

LATE = [
    "DROP INDEX sessions_user_id_idx",
    "ALTER TABLE users DROP CONSTRAINT users_email_unique",
    "ALTER TABLE sessions DROP CONSTRAINT sessions_user_id_users_id_fk;"
    "ALTER TABLE sessions ADD CONSTRAINT sessions_user_id_users_id_fk FOREIGN KEY (user_id)"
    " REFERENCES users (id) ON DELETE CASCADE NOT VALID",
    "ALTER TABLE users ALTER name DROP NOT NULL",
]


def repairs(alias: str = "auth", expected: Catalog | None = None) -> list[Repair]:
    found = read(connect(alias), contract.tables(alias))
    wanted = expected or contract.load(alias)
    return renaming.repairs(differences(wanted, found), wanted, found)


def apply(alias: str = "auth", **options: Any) -> int:
    return executor.apply(identify(connect(alias)), repairs(alias), **options)


def left(alias: str = "auth") -> list[str]:
    found = read(connect(alias), contract.tables(alias))
    drift = differences(contract.load(alias), found)
    return [each.finding.id for each in drift if each.finding.severity is not Severity.NOTE]


# --- defect a: after its transaction


@pytest.mark.parametrize("drift", LATE)
def test_what_comes_after_the_transaction_does_not_wait_for_ever(
    databases: Databases, drift: str
) -> None:
    databases.execute("auth", drift)
    here = identify(connect("auth"))
    every = [statement for each in repairs() for statement in each.statements]
    early = tuple(each for each in every if not each.stands_alone)
    late = tuple(each for each in every if each.stands_alone)
    executor.apply(here, [Repair(early)])
    with databases.connect("auth", application_name="a writer") as writer, writer.transaction():
        # CREATE INDEX CONCURRENTLY waits for writers, VALIDATE CONSTRAINT for its own like.
        strong = "ROW" if "name" not in drift and "NOT VALID" not in drift else "SHARE UPDATE"
        writer.execute(f"LOCK TABLE users, sessions IN {strong} EXCLUSIVE MODE")
        begun = time.monotonic()
        with pytest.raises(Blocked, match="a writer"):
            executor.apply(here, [Repair(late)], 200)
    assert time.monotonic() - begun < 5
    assert settings_of_the_session() == settings_of_the_role(databases)
    assert apply() > 0
    assert apply() == 0
    assert left() == []


def settings_of_the_session() -> list[tuple[Any, ...]]:
    with connections["auth"].cursor() as cursor:
        cursor.execute(SETTINGS)
        return list(cursor.fetchall())


def settings_of_the_role(databases: Databases) -> list[tuple[Any, ...]]:
    return databases.execute("auth", SETTINGS)


SETTINGS = (
    "SELECT name, setting FROM pg_settings WHERE name IN"
    " ('lock_timeout', 'statement_timeout', 'search_path', 'check_function_bodies') ORDER BY 1"
)


@pytest.mark.parametrize("drift", LATE)
def test_no_other_operation_begins_before_the_last_statement(
    databases: Databases, drift: str
) -> None:
    databases.execute("auth", drift)
    seen: list[bool] = []

    def look(statement: str) -> None:
        with databases.connect("auth") as other:
            row = other.execute("SELECT pg_try_advisory_lock(%s)", [locks.OPERATION_KEY]).fetchone()
        seen.append(bool(row and row[0]))

    assert apply(progress=look) == len(seen) > 0
    assert not any(seen)
    look("afterwards")
    assert seen[-1]


def test_two_repairs_at_once_are_one_after_the_other(databases: Databases) -> None:
    databases.execute("auth", LATE[0])
    with databases.connect("auth") as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(%s)", [locks.OPERATION_KEY])
        with pytest.raises(Blocked, match="Another operation"):
            apply()
        (statement, *_) = [s for each in repairs() for s in each.statements]
        assert not statement.transactional
    assert apply() == 1


@pytest.mark.parametrize("drift", LATE)
def test_the_printed_script_waits_no_longer(databases: Databases, drift: str) -> None:
    databases.execute("auth", drift)
    text = script(repairs(), "title", "how")
    waits: dict[str, str] = {}
    with databases.connect("auth") as connection:
        for statement in text.split(";\n"):
            connection.execute(statement)
            row = connection.execute("SHOW lock_timeout").fetchone()
            waits[" ".join(statement.split())] = row[0] if row else ""
        real = {sql: wait for sql, wait in waits.items() if " TABLE " in sql or " INDEX " in sql}
        assert real
        assert "0" not in real.values()
        row = connection.execute("SHOW lock_timeout").fetchone()
        assert row == ("0",)
    assert left() == []


def test_the_printed_script_does_not_run_beside_an_operation(databases: Databases) -> None:
    databases.execute("auth", "ALTER TABLE users ALTER name DROP NOT NULL")
    text = script(repairs(), "title", "how")
    with databases.connect("auth") as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(%s)", [locks.OPERATION_KEY])
        with databases.connect("auth") as connection:
            refused = 0
            for statement in text.split(";\n"):
                try:
                    connection.execute(statement)
                except psycopg.errors.RaiseException as error:
                    refused += "Another operation" in str(error)
                except psycopg.errors.InFailedSqlTransaction:
                    pass
    # Each of its transactions.
    assert refused == text.count("BEGIN;\nSET LOCAL") > 1
    assert left() != []


# --- defect b: what others made


def test_an_extension_is_for_a_person_to_drop(databases: Databases) -> None:
    databases.execute(
        "auth",
        "DO $$ DECLARE name text; BEGIN SELECT e.name INTO STRICT name FROM pg_available_extensions e"
        " WHERE e.name <> 'plpgsql' ORDER BY 1 LIMIT 1; EXECUTE format('CREATE EXTENSION %I', name);"
        " END $$; DROP INDEX sessions_user_id_idx",
    )
    every = repairs()
    held = [s for each in every for s in each.statements if s.is_held(NOTHING)]
    assert [each.hazards for each in held] == [{Hazard.DROPS_OTHERS}]
    assert apply() == 1
    ((extensions,),) = databases.execute(
        "auth", "SELECT count(*) FROM pg_extension WHERE extname <> 'plpgsql'"
    )
    assert extensions == 1
    text = script(repairs(), "title", "how")
    assert "-- What would drop or change what others made is a comment" in text
    lines = text.splitlines()
    (drop,) = [number for number, line in enumerate(lines) if "DROP EXTENSION" in line]
    assert lines[drop].startswith("-- DROP EXTENSION ")
    databases.execute("auth", lines[drop - 1].removeprefix("-- "))
    databases.execute("auth", lines[drop].removeprefix("-- "))
    assert left() == []


def test_hazards_alone_decide_what_is_run(shared: Shared) -> None:
    shared.execute("auth", "CREATE TABLE log (hazard text)")
    each = [
        Statement(Stage.AFTER, f"INSERT INTO public.log VALUES ('{hazard}');", frozenset({hazard}))
        for hazard in Hazard
    ]
    target = identify(connect("auth"))
    assert executor.apply(target, [Repair(tuple(each))]) == 0
    for allowed in (frozenset({Hazard.LOSES_ROWS}), frozenset(Hazard) - {Hazard.LOSES_ROWS}):
        done = executor.apply(target, [Repair(tuple(each))], allowed=allowed)
        rows = {hazard for (hazard,) in shared.execute("auth", "DELETE FROM log RETURNING hazard")}
        assert rows == set(allowed)
        assert done == len(rows)
        text = script([Repair(tuple(each))], "title", "how", allowed)
        lines = [line for line in text.splitlines() if line.startswith("-- INSERT")]
        assert {line.split("'")[1] for line in lines} == set(Hazard) - allowed
    shared.execute("auth", "DROP TABLE log")


# --- defect c: schema and name, never one text


@pytest.mark.parametrize(
    "name",
    [
        "audit.log",
        'a"b',
        'x".y',
        "Group",
        "o'clock",
        "$repair$",
        "two\nlines",
        "c:\\d\x1b[31m",
        "a\u2028b\U000e0001",
    ],
)
def test_a_name_is_one_name_whatever_is_in_it(shared: Shared, name: str) -> None:
    shared.execute("auth", "CREATE SCHEMA audit; CREATE TABLE audit.log (i integer)")
    with connections["auth"].cursor() as cursor:
        for made in (
            f"CREATE VIEW {public(name)} AS SELECT 1 AS one",
            f"CREATE SEQUENCE {public(f'{name}_s')}",
            f"CREATE TYPE {public(f'{name}_t')} AS ENUM ('a')",
            f"CREATE FUNCTION {public(f'{name}_f')}() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        ):
            cursor.execute(made)
        cursor.execute(f"SELECT to_regclass({named('public', name)}) IS NOT NULL")
        assert cursor.fetchone() == (True,)
    assert apply() == 0
    assert apply(allowed=frozenset({Hazard.DROPS_OTHERS})) >= 4
    with connections["auth"].cursor() as cursor:
        cursor.execute(f"SELECT to_regclass({named('public', name)})")
        assert cursor.fetchone() == (None,)
    assert shared.execute("auth", "SELECT to_regclass('audit.log')::text") == [("audit.log",)]
    shared.execute("auth", "DROP SCHEMA audit CASCADE")


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("users", 'public."users"'),
        ("Group", 'public."Group"'),
        ("audit.log", '"audit"."log"'),
        ('public."audit.log"', 'public."audit.log"'),
        ('"my schema"."a.b"', '"my schema"."a.b"'),
        ('a."b""c"', '"a"."b""c"'),
    ],
)
def test_the_target_of_a_key_has_its_schema(text: str, relation: str) -> None:
    assert target(text) == relation
    if text != "Group":
        assert printed(text) == relation


# --- defect d: conversions


@pytest.mark.parametrize(
    ("found", "wanted", "kept"),
    [
        ("integer", "bigint", True),
        ("bigint", "integer", False),
        ("integer", "numeric", True),
        ("integer", "numeric(10,0)", True),
        ("integer", "numeric(12,4)", False),
        ("numeric", "double precision", False),
        ("numeric(10,2)", "numeric(12,2)", True),
        ("numeric(10,2)", "numeric(12,5)", False),
        ("numeric(10,2)", "numeric(10,1)", False),
        ("numeric", "numeric(10,2)", False),
        ("numeric(10,2)", "numeric", True),
        ("numeric", "integer", False),
        ("double precision", "real", False),
        ("real", "double precision", True),
        ("double precision", "numeric", False),
        ("integer", "double precision", True),
        ("bigint", "double precision", False),
        ("smallint", "real", True),
        ("integer", "real", False),
        ("timestamp without time zone", "date", False),
        ("timestamp with time zone", "date", False),
        ("date", "timestamp without time zone", True),
        ("timestamp without time zone", "timestamp with time zone", True),
        ("timestamp without time zone", "timestamp(3) with time zone", False),
        ("timestamp(3) without time zone", "timestamp(3) with time zone", True),
        ("timestamp(0) without time zone", "timestamp without time zone", True),
        ("integer", "boolean", False),
        ("boolean", "integer", True),
        ("text", "boolean", False),
        ("boolean", "text", True),
        ("text", "character varying(40)", False),
        ("character varying(20)", "character varying(40)", True),
        ("character varying(40)", "character varying(20)", False),
        ("character varying(40)", "text", True),
        ("text", "character varying", True),
        ("text", "character(5)", False),
        ("text[]", "text", False),
        ("text", "text[]", False),
        ("text", "uuid", False),
        ("uuid", "text", True),
        ("jsonb", "text", True),
        ("json", "jsonb", False),
        ("text", "jsonb", False),
        ("double precision", "text", False),
        ("interval", "interval(0)", False),
        ("mood", "text", False),
        ("bytea", "text", False),
    ],
)
def test_only_conversions_that_keep_every_value_go_unlooked(
    found: str, wanted: str, kept: bool
) -> None:
    assert keeps(wanted, found) is kept


CONVERSIONS = [
    # found, wanted, values that stay what they are, one that does not
    ("numeric", "double precision", ["1.5", "0.1", "-7"], "1.2345678901234567890123"),
    ("numeric", "integer", ["1.0", "7"], "1.5"),
    ("double precision", "real", ["0.5", "1024"], "0.1"),
    ("double precision", "numeric(10,2)", ["0.25", "7"], "0.125"),
    ("bigint", "double precision", ["9007199254740992"], "9007199254740993"),
    ("timestamp", "date", ["2020-01-01", "infinity"], "2020-01-01 10:00"),
    ("timestamp", "timestamp(0)", ["2020-01-01 10:00"], "2020-01-01 10:00:00.5"),
    ("timestamp", "timestamp(0) with time zone", ["2020-01-01 10:00"], "2020-01-01 10:00:00.5"),
    ("timestamptz", "date", ["2020-01-01 00:00+00"], "2020-01-01 00:30+01"),
    ("integer", "boolean", ["0", "1"], "5"),
    ("text", "boolean", ["true", "false"], "yes"),
    ("text", "varchar(3)", ["abc", ""], "abcd"),
    ("text", "char(3)", ["abc", ""], "a "),
    ("text", "integer", ["12", "-3"], "012"),
    (
        "text",
        "uuid",
        ["0f0e0d0c-0b0a-0908-0706-050403020100"],
        "0F0E0D0C-0B0A-0908-0706-050403020100",
    ),
    ("text[]", "text", ["{a,b}", "{}"], "{a b,c}"),
    ("text", "text[]", ["a b", "c", ""], None),
    ("json", "jsonb", ['{"b": 1, "a": [1,2]}', "3"], '{"a": 1, "a": 2}'),
    ("text", "jsonb", ['{"b":1}', "null"], '{"a": 1, "a": 2}'),
    ("interval", "interval(0)", ["1 day"], "1.5 seconds"),
    ("json", "text", ['{"a":   1}'], None),
    ("date", "timestamptz", ["2020-01-01"], None),
    ("bytea", "text", ["\\x416e6e"], None),
    ("text", "bytea", ["Ann", "\\x41", "\N{LATIN SMALL LETTER E WITH ACUTE}"], None),
]


@pytest.mark.parametrize(("found", "wanted", "good", "bad"), CONVERSIONS)
def test_a_value_that_would_change_stops_the_repair(
    shared: Shared, found: str, wanted: str, good: list[str], bad: str | None
) -> None:
    execute = shared.execute
    execute("auth", f"DROP TABLE IF EXISTS t; CREATE TABLE t (v {found})")
    for value in [*good, bad] if bad is not None else good:
        execute("auth", "INSERT INTO t VALUES (%s)", value)
    execute("auth", "INSERT INTO t VALUES (NULL)")
    have, want = column(found), column(wanted)
    statements = [
        *([] if keeps(want.type, have.type) else [Statement(Stage.COLUMN, guard(want, have))]),
        Statement(
            Stage.COLUMN,
            f"ALTER TABLE public.t ALTER v TYPE {want.type}"
            f" USING {converted('v', have.type, want.type)};",
        ),
    ]
    before = execute("auth", "SELECT v::text FROM t")
    if not keeps(want.type, have.type):
        ((changed,),) = execute("auth", count_of_changed(want, have))
        assert changed == (bad is not None)
    if bad is not None:
        with pytest.raises(RolledBack, match="cannot hold exactly"):
            executor.apply(identify(connect("auth")), [Repair(tuple(statements))])
        assert execute("auth", "SELECT v::text FROM t") == before
        execute("auth", "DELETE FROM t WHERE v::text = (SELECT %s::" + found + "::text)", bad)
    executor.apply(identify(connect("auth")), [Repair(tuple(statements))])
    back = converted("v", want.type, have.type)
    if want.type != "jsonb":
        values = {
            value for (value,) in execute("auth", f"SELECT ({back})::{have.type}::text FROM t")
        }
        expected = {
            value
            for text in good
            for (value,) in execute("auth", f"SELECT %s::{found}::text", text)
        }
        if "numeric" not in found:
            assert values == {*expected, None}
    ((count,),) = execute("auth", "SELECT count(v) FROM t")
    assert count == len(good)
    execute("auth", "DROP TABLE t")


def test_bytes_become_the_text_that_they_are(shared: Shared) -> None:
    value = converted("'\\x416e6e'::bytea", "bytea", "text")
    assert shared.execute("auth", f"SELECT {value}") == [("Ann",)]


def column(type_: str) -> Column:
    """A column with its type as the server spells it."""
    with connections["auth"].cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE spelled (v " + type_ + ")")
        cursor.execute(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 'spelled'::regclass AND attnum = 1"
        )
        (spelled,) = cursor.fetchone()
        cursor.execute("DROP TABLE spelled")
    return Column("t", "v", spelled, nullable=True)


def test_no_value_comes_in_between_the_look_and_the_change(databases: Databases) -> None:
    databases.execute("auth", "ALTER TABLE teams ALTER credits TYPE numeric")
    statements = together(repairs())
    look = next(number for number, each in enumerate(statements) if "DO " in each.sql)
    looked, written = threading.Event(), threading.Event()

    def write() -> None:
        looked.wait(10)
        with databases.connect("auth") as writer:
            try:
                writer.execute("SET lock_timeout = '300ms'")
                writer.execute("INSERT INTO teams (name, credits) VALUES ('t', 1.5)")
            except psycopg.errors.LockNotAvailable:
                written.set()

    writer = threading.Thread(target=write)
    writer.start()

    def progress(statement: str) -> None:
        if statement == statements[look + 1].sql:
            looked.set()
            writer.join(10)

    allowed = frozenset({Hazard.REWRITES_TABLE, Hazard.BLOCKS_WRITERS})
    here = identify(connect("auth"))
    executor.apply(here, [Repair(statements)], allowed=allowed, progress=progress)
    assert written.is_set()
    assert left() == []


# --- defect p: the replica identity


@pytest.mark.parametrize("name", ["by_token", "By Token", "by.token"])
def test_the_index_of_a_replica_identity_is_named(databases: Databases, name: str) -> None:
    with connections["auth"].cursor() as cursor:
        cursor.execute("CREATE TABLE replicated (id text NOT NULL)")
        cursor.execute(f'CREATE UNIQUE INDEX "{name}" ON replicated (id)')
        cursor.execute(f'ALTER TABLE replicated REPLICA IDENTITY USING INDEX "{name}"')
    expected = read(connect("auth"), contract.tables("auth"))
    # What a contract holds of it comes back from its file.
    (key,) = [each for each in expected.of(Key) if each.table == "replicated"]
    assert key.replica_identity
    assert contract.dump(expected).count('"replica_identity": true') == 1
    for drift in (
        "ALTER TABLE replicated REPLICA IDENTITY DEFAULT",
        "ALTER TABLE replicated REPLICA IDENTITY FULL",
        f'DROP INDEX "{name}"',
    ):
        databases.execute("auth", drift)
        every = repairs("auth", expected)
        executor.apply(identify(connect("auth")), every, allowed=frozenset({Hazard.DROPS_OTHERS}))
        found = read(connect("auth"), contract.tables("auth"))
        assert differences(expected, found) == []
        assert databases.execute(
            "auth",
            "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
            " WHERE indisreplident",
        ) == [(name,)]


# --- the order of statements


def test_the_same_statement_of_two_repairs_is_run_once() -> None:
    drop = Statement(Stage.DROP, "DROP INDEX public.a;")
    marked = Statement(Stage.DROP, "DROP INDEX public.a;", frozenset({Hazard.DROPS_OTHERS}))
    late_one = Statement(Stage.AFTER, "SELECT 1;")
    # And is run where one of them may run it.
    assert (
        ordered([late_one, drop, marked]) == ordered([marked, drop, late_one]) == (drop, late_one)
    )
    assert losing("DROP TABLE t;", "SELECT 1;").is_held(NOTHING)
    assert marked.is_held(NOTHING)
