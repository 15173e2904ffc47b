"""A random schema with rows survives nuke -> restore, down to its last grant."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql

from tests.conftest import Databases, Outcome
from tests.schema.samples import Extension, extension, full_fingerprint, read_plan

EXAMPLES = int(os.environ.get("RESTORE_EXAMPLES", "5"))

# Names that need quoting, that are keywords, that look like COPY, that have a dot or a percent.
names = st.sampled_from(
    [
        "plain",
        "User",
        "order",
        "two words",
        'q"uote',
        "a.b",
        "50%",
        "naïve",
        "COPY x FROM stdin;",
        "-",
    ]
)
# What COPY must escape, and what must not be taken for its end.
texts = st.one_of(
    st.none(),
    st.sampled_from(
        ["", "\\.", "\\N", "a\tb", "a\nb", "\r\n", "'", '"', "日本", "\x7f", "%s", "--x"]
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
)
types = st.sampled_from(
    [
        "text",
        "integer",
        "numeric",
        "timestamptz",
        "jsonb",
        "bytea",
        "text[]",
        "the extension's",
        "feeling",
    ]
)
tables = st.fixed_dictionaries(
    {
        "columns": st.lists(types, min_size=1, max_size=5),
        "rows": st.lists(texts, max_size=6),
        "identity": st.booleans(),
        "unlogged": st.booleans(),
        "granted": st.booleans(),
        "owned": st.booleans(),
        "indexed": st.booleans(),
        "comment": texts,
    }
)
schemas = st.fixed_dictionaries(
    {
        "tables": st.dictionaries(names, tables, max_size=4),
        "sequences": st.dictionaries(names, st.integers(1, 9), max_size=2),
        "large_objects": st.lists(st.binary(max_size=40), max_size=3),
        "grant_on_schema": st.booleans(),
        "defaults": st.booleans(),
        "comment": texts,
    }
)
VALUES = {
    "text": sql.SQL("{}"),
    "integer": sql.SQL("length({})"),
    "numeric": sql.SQL("length({}) / 7.0"),
    "timestamptz": sql.SQL("'2026-03-29 01:30+01'::timestamptz + length({}) * interval '1 hour'"),
    "jsonb": sql.SQL("to_jsonb({}::text)"),
    "bytea": sql.SQL("convert_to({}, 'UTF8')"),
    "text[]": sql.SQL("array[{}, NULL, '']"),
    "feeling": sql.SQL("CASE WHEN {} IS NULL THEN 'sad' ELSE 'ok' END::feeling"),
}


def statements(
    schema: dict[str, Any], role: str, it: Extension
) -> Iterator[sql.SQL | sql.Composed]:
    """SQL that builds the schema in an empty ``public``."""
    of_extension = sql.SQL(f"CASE WHEN {{}} IS NOT NULL THEN '{it.value}'::{it.type} END")
    values_of = {**VALUES, "the extension's": of_extension}
    somebody = sql.Identifier(role)
    yield sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA public").format(sql.Identifier(it.name))
    yield sql.SQL("CREATE TYPE feeling AS ENUM ('sad', 'ok')")
    if schema["grant_on_schema"]:
        yield sql.SQL("GRANT CREATE ON SCHEMA public TO {} WITH GRANT OPTION").format(somebody)
    if schema["defaults"]:
        yield sql.SQL(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT ON TABLES TO {}"
        ).format(somebody)
    yield sql.SQL("COMMENT ON SCHEMA public IS {}").format(sql.Literal(schema["comment"] or None))
    for name, table in schema["tables"].items():
        relation = sql.Identifier(f"t {name}")
        columns = [
            sql.SQL("{} {}").format(
                sql.Identifier(f"c{place} {name}"),
                sql.SQL(it.type if type_ not in VALUES else type_),
            )
            for place, type_ in enumerate(table["columns"])
        ]
        identity = sql.SQL(", id integer GENERATED ALWAYS AS IDENTITY" if table["identity"] else "")
        yield sql.SQL("CREATE {} TABLE {} ({}{})").format(
            sql.SQL("UNLOGGED" if table["unlogged"] else ""),
            relation,
            sql.SQL(", ").join(columns),
            identity,
        )
        for text in table["rows"]:
            values = [values_of[type_].format(sql.Literal(text)) for type_ in table["columns"]]
            yield sql.SQL("INSERT INTO {} VALUES ({})").format(relation, sql.SQL(", ").join(values))
        first = sql.Identifier(f"c0 {name}")
        if table["indexed"]:
            yield sql.SQL("CREATE INDEX ON {} ({})").format(relation, first)
        if table["granted"]:
            yield sql.SQL("GRANT SELECT, UPDATE ({}) ON {} TO {}").format(first, relation, somebody)
        if table["owned"]:
            yield sql.SQL("ALTER TABLE {} OWNER TO {}").format(relation, somebody)
        if table["comment"]:
            yield sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(
                relation, first, sql.Literal(table["comment"])
            )
    for name, steps in schema["sequences"].items():
        sequence = sql.Identifier(f"s {name}")
        yield sql.SQL("CREATE SEQUENCE {} START 10 INCREMENT 3").format(sequence)
        yield sql.SQL("SELECT nextval({}::regclass) FROM generate_series(2, {})").format(
            sql.Literal(sequence.as_string(None)), sql.Literal(steps)
        )
    for content in schema["large_objects"]:
        yield sql.SQL("SELECT lo_from_bytea(0, {}::bytea)").format(sql.Literal(content))


@pytest.fixture
def role(databases: Databases) -> Iterator[str]:
    name = f"r_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {name}")
    yield name
    databases.execute("auth", f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    # An example takes half a second; shrinking one would take minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(schema=schemas)
def test_a_random_schema_survives(
    databases: Databases, run: Callable[..., Outcome], role: str, schema: dict[str, Any]
) -> None:
    databases.mark("auth", "test")
    databases.execute(
        "auth",
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner;"
        " GRANT USAGE ON SCHEMA public TO PUBLIC; SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
    )
    with databases.connect("auth") as session:
        for statement in statements(schema, role, extension(databases)):
            session.execute(statement)
    before = full_fingerprint()
    with tempfile.TemporaryDirectory() as directory:
        auth = ("--database", "auth", "--no-input")
        outcome = run("nuke_schema", *auth, "--backup-dir", directory)
        assert (outcome.err, outcome.code) == ("", 0)
        assert read_plan().tables == ()
        (path,) = Path(directory).glob("*.dump")
        outcome = run("restore_database", *auth, "--from", str(path), "--no-backup")
        assert (outcome.err, outcome.code) == ("", 0)
    assert full_fingerprint() == before
