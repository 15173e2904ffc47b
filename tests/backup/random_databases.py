"""Random databases of several schemas: hostile names, bodies, comments, owners and rights, for a property.

Drawn as plain values, so that a failing example can be read, and made into statements here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st
from psycopg import sql

from tests.samples import Extension

Statement = sql.SQL | sql.Composed
# What an archive, its list, a script of psql's or COPY could take for something of its own.
HOSTILE = (
    "\\.",
    "\\N",
    "it's",
    'q"uote',
    "a.b",
    "a b",
    "x\ny",
    "\r\n",
    "--\n-- Name: users; Type: TABLE; Schema: public; Owner: -\n--\n",
    "; Type: ACL; Schema: x; Owner: y",
    "SET statement_timeout = 0;\n",
    "\\restrict x\n\\connect y",
    "COPY x FROM stdin;\n\\.\n",
    "$$ $a$ $",
    "E'\\'' /* -- */",
    "%s %% {}",
    "naïve 日本 \U0001f512",
    "\x01\x7f",
    "User",
    "order",
    "GRANT ALL TO PUBLIC; COMMIT;",
)
texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
)
# At most 63 bytes are a name, and each is told apart by a number before it.
names = texts.map(lambda text: text.encode()[:40].decode(errors="ignore"))
TYPES = ("text", "integer", "numeric", "timestamptz", "interval", "jsonb", "bytea", "text[]", "float8",
         "its enum", "its domain", "its range", "the extension's")  # fmt: skip
tables = st.fixed_dictionaries(
    {
        "name": names,
        "columns": st.lists(st.tuples(names, st.sampled_from(TYPES)), max_size=4),
        "rows": st.lists(st.one_of(st.none(), texts), max_size=4),
        "default": texts,
        "generated": st.booleans(),
        "kind": st.sampled_from(["", "UNLOGGED", "partitioned", "inherited"]),
        "owner": st.integers(0, 2),
        "grantee": st.integers(0, 2),
        "options": st.booleans(),
        "policy": st.booleans(),
        "published": st.booleans(),
        "comment": texts,
    }
)
sequences = st.fixed_dictionaries(
    {
        "name": names,
        "step": st.sampled_from([1, 7, -1, -32]),
        "place": st.sampled_from(["fresh", "used", "first", "last"]),
        "cycle": st.booleans(),
        "owner": st.integers(0, 2),
    }
)
schemas = st.fixed_dictionaries(
    {
        "name": names,
        "comment": texts,
        "owner": st.integers(0, 2),
        "labels": st.lists(names.filter(bool), min_size=1, max_size=4, unique=True),
        "tables": st.lists(tables, max_size=3),
        "sequences": st.lists(sequences, max_size=2),
        "bodies": st.lists(st.tuples(names, texts, st.integers(0, 2)), max_size=3),
        "defaults": st.booleans(),
        "event_trigger": st.booleans(),
        "view": st.booleans(),
    }
)
databases = st.fixed_dictionaries(
    {
        # The first is public.
        "schemas": st.lists(schemas, min_size=6, max_size=6),
        "large_objects": st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 2)), max_size=2),
        "setting": texts,
        "extension_in": st.integers(0, 5),
    }
)
CAST = {
    "text": "{}",
    "integer": "length({})",
    "numeric": "length({}) / 7.0",
    "timestamptz": "'2026-03-29 01:30+01'::timestamptz + length({}) * interval '1 hour'",
    "interval": "make_interval(months => length({}), secs => 0.5)",
    "jsonb": "to_jsonb({}::text)",
    "bytea": "convert_to({}, 'UTF8')",
    "text[]": "array[{}, NULL, '']",
    "float8": "length({})::float8 / 3",
}


def statements(
    drawn: dict[str, Any], roles: Sequence[str], it: Extension, database: str
) -> Iterator[Statement]:
    """SQL that makes the database, run by a superuser in a new one; ``roles`` are two that own things."""
    named = [sql.SQL("CURRENT_USER"), *map(sql.Identifier, roles)]
    yield sql.SQL("SET check_function_bodies = off")
    yield sql.SQL("ALTER DATABASE {} SET custom.said = {}").format(
        sql.Identifier(database), sql.Literal(drawn["setting"])
    )
    places = ["public", *(f"{n} {each['name']}" for n, each in enumerate(drawn["schemas"][1:], 1))]
    for place, schema in zip(places, drawn["schemas"], strict=True):
        if place != "public":
            yield sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(
                sql.Identifier(place), named[schema["owner"]]
            )
    home = sql.Identifier(places[drawn["extension_in"]])
    yield sql.SQL("CREATE EXTENSION {} SCHEMA {}").format(sql.Identifier(it.name), home)
    its_type = sql.SQL("{}.").format(home) + sql.SQL(it.type)
    for place, schema in zip(places, drawn["schemas"], strict=True):
        yield from _Schema(place, schema, named, its_type, it.value).statements()
    for content, owner in drawn["large_objects"]:
        yield sql.SQL(
            "DO $do$ BEGIN EXECUTE format('ALTER LARGE OBJECT %s OWNER TO %s', "
            "lo_from_bytea(0, {}), {}); END $do$"
        ).format(sql.Literal(content), sql.Literal(named[owner].as_string(None)))


class _Schema:
    def __init__(
        self,
        place: str,
        drawn: dict[str, Any],
        roles: Sequence[sql.Composable],
        its_type: sql.Composable,
        its_value: str,
    ) -> None:
        self.place, self.drawn, self.roles = place, drawn, roles
        self.types: dict[str, sql.Composable] = {
            "its enum": self.name("mood"),
            "its domain": self.name("small"),
            "its range": self.name("span"),
            "the extension's": its_type,
        }
        first = sql.Literal(drawn["labels"][0])
        self.values = {
            "its enum": sql.SQL("{}::{}").format(first, self.types["its enum"]),
            "its domain": sql.SQL("'fine'"),
            "its range": sql.SQL("'[1,2)'::{}").format(self.types["its range"]),
            "the extension's": sql.SQL("{}::{}").format(sql.Literal(its_value), its_type),
        }

    def name(self, *parts: object) -> sql.Identifier:
        return sql.Identifier(self.place, " ".join(map(str, parts)))

    def statements(self) -> Iterator[Statement]:
        drawn, run = self.drawn, sql.SQL
        yield run("COMMENT ON SCHEMA {} IS {}").format(
            sql.Identifier(self.place), sql.Literal(drawn["comment"] or None)
        )
        labels = run(", ").join(map(sql.Literal, drawn["labels"]))
        yield run("CREATE TYPE {} AS ENUM ({})").format(self.types["its enum"], labels)
        yield run("CREATE DOMAIN {} AS text DEFAULT {} CONSTRAINT {} CHECK (VALUE <> {})").format(
            self.types["its domain"],
            sql.Literal(drawn["comment"]),
            sql.Identifier(f"c {drawn['name']}"),
            sql.Literal(drawn["name"] or "!"),
        )
        yield run("CREATE TYPE {} AS RANGE (subtype = numeric)").format(self.types["its range"])
        if drawn["defaults"]:
            yield run(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT INSERT ON TABLES TO {} WITH GRANT OPTION"
            ).format(self.roles[1], sql.Identifier(self.place), self.roles[2])
        for number, (name, body, owner) in enumerate(drawn["bodies"]):
            yield from self.function(number, name, body, owner)
        for number, table in enumerate(drawn["tables"]):
            yield from self.table(number, table)
        for number, sequence in enumerate(drawn["sequences"]):
            yield from self.sequence(number, sequence)
        if drawn["event_trigger"]:
            called = self.name("seen", drawn["name"])
            yield run(
                "CREATE FUNCTION {}() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'"
            ).format(called)
            yield run("CREATE EVENT TRIGGER {} ON sql_drop EXECUTE FUNCTION {}()").format(
                sql.Identifier(f"e {self.place}"), called
            )

    def function(self, number: int, name: str, body: str, owner: int) -> Iterator[Statement]:
        called, run = self.name(f"f{number}", name), sql.SQL
        yield run(
            "CREATE FUNCTION {}(a text DEFAULT {}) RETURNS void LANGUAGE sql SET work_mem = '1MB' AS {}"
        ).format(called, sql.Literal(body), sql.Literal(body))
        yield run("COMMENT ON FUNCTION {} IS {}").format(called, sql.Literal(body or None))
        yield run("REVOKE ALL ON FUNCTION {} FROM PUBLIC").format(called)
        yield run("GRANT EXECUTE ON FUNCTION {} TO {}").format(called, self.roles[1])
        yield run("ALTER FUNCTION {} OWNER TO {}").format(called, self.roles[owner])

    def table(self, number: int, drawn: dict[str, Any]) -> Iterator[Statement]:
        table, run = self.name(f"t{number}", drawn["name"]), sql.SQL
        key = sql.Identifier(f"k {drawn['name']}")
        columns = [run("{} text DEFAULT {}").format(key, sql.Literal(drawn["default"]))]
        kinds = []
        for place, (name, type_) in enumerate(drawn["columns"]):
            kinds.append(type_)
            its = self.types.get(type_, run(type_))
            columns.append(run("{} {}").format(sql.Identifier(f"c{place} {name}"), its))
        if drawn["generated"]:
            made = run("{} text GENERATED ALWAYS AS ({} || {}) STORED")
            columns.append(made.format(sql.Identifier("made"), key, sql.Literal(drawn["default"])))
        partitioned = drawn["kind"] == "partitioned"
        yield run("CREATE {} TABLE {} ({}) {}").format(
            run("UNLOGGED" if drawn["kind"] == "UNLOGGED" else ""),
            table,
            run(", ").join(columns),
            run("PARTITION BY LIST ({})").format(key) if partitioned else run(""),
        )
        if partitioned:
            first, rest = self.name(f"p{number}", drawn["name"]), self.name(f"r{number}")
            value = sql.Literal(drawn["default"])
            yield run("CREATE TABLE {} PARTITION OF {} FOR VALUES IN ({})").format(
                first, table, value
            )
            yield run("CREATE TABLE {} PARTITION OF {} DEFAULT").format(rest, table)
        if drawn["kind"] == "inherited":
            yield run("CREATE TABLE {} (more int) INHERITS ({})").format(
                self.name(f"i{number}"), table
            )
        for text in drawn["rows"]:
            values = [sql.Literal(text), *(self.value(kind, text) for kind in kinds)]
            made_too = run(", DEFAULT") if drawn["generated"] else run("")
            yield run("INSERT INTO {} VALUES ({}{})").format(
                table, run(", ").join(values), made_too
            )
        yield from self.around(number, table, key, drawn)

    def value(self, kind: str, text: str | None) -> sql.Composable:
        if kind in CAST:
            return sql.SQL(CAST[kind]).format(sql.Literal(text))
        return sql.SQL("NULL") if text is None else self.values[kind]

    def around(
        self, number: int, table: sql.Identifier, key: sql.Identifier, drawn: dict[str, Any]
    ) -> Iterator[Statement]:
        """What hangs on a table."""
        run, grantee = sql.SQL, self.roles[drawn["grantee"]]
        said = sql.Literal(drawn["default"])
        yield run("CREATE INDEX {} ON {} (({} || {})) WHERE {} <> {}").format(
            sql.Identifier(f"x{number} {drawn['name']}"), table, key, said, key, said
        )
        yield run("COMMENT ON COLUMN {}.{} IS {}").format(
            table, key, sql.Literal(drawn["comment"] or None)
        )
        option = run(" WITH GRANT OPTION" if drawn["options"] else "")
        yield run("GRANT SELECT, UPDATE ({}) ON {} TO {}").format(key, table, grantee) + option
        if drawn["policy"]:
            yield run("CREATE POLICY {} ON {} TO {}, {} USING ({} = {})").format(
                sql.Identifier(f"o {drawn['name']}"), table, self.roles[1], self.roles[2], key, said
            )
        if drawn["published"] and drawn["kind"] != "UNLOGGED":
            yield run("CREATE PUBLICATION {} FOR TABLE {}").format(
                sql.Identifier(f"{self.place} {number}"), table
            )
        if self.drawn["view"]:
            view = self.name(f"v{number}", drawn["name"])
            yield run("CREATE VIEW {} AS SELECT {} AS {} FROM {} WHERE {} <> {}").format(
                view, key, sql.Identifier(drawn["name"] or "none"), table, key, said
            )
            yield run("CREATE MATERIALIZED VIEW {} AS SELECT * FROM {}").format(
                self.name(f"m{number}"), view
            )
        yield run("ALTER TABLE {} OWNER TO {}").format(table, self.roles[drawn["owner"]])

    def sequence(self, number: int, drawn: dict[str, Any]) -> Iterator[Statement]:
        sequence, run = self.name(f"s{number}", drawn["name"]), sql.SQL
        yield run("CREATE SEQUENCE {} AS smallint INCREMENT {} MINVALUE -99 MAXVALUE 99 {}").format(
            sequence, sql.Literal(drawn["step"]), run("CYCLE" if drawn["cycle"] else "")
        )
        place = sql.Literal(sequence.as_string(None))
        called = {
            "used": "nextval({})",
            "first": "setval({}, -99, false)",
            "last": "setval({}, 99)",
        }
        if drawn["place"] in called:
            yield run("SELECT " + called[drawn["place"]]).format(place)
        yield run("ALTER SEQUENCE {} OWNER TO {}").format(sequence, self.roles[drawn["owner"]])
