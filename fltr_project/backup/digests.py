"""How many rows, where the sequences stand, what the large objects hold: read by the server itself.

A digest is the sum of 64-bit hashes of the rows as text, so it does not depend on their order, and it is
the same on PostgreSQL 15 to 18 (measured). Its seed is drawn for each backup, so nobody can prepare rows
that cancel each other out.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from fltr_project.catalog.aside import PREFIX
from fltr_project.postgres.search_path import pinned
from fltr_project.words import counted

# Tables that are read by one statement.
TOGETHER = 100
# Bytes of a large object that are read at a time; at most 1 GB may be.
PIECE = 1 << 26


@dataclass(frozen=True)
class Digest:
    """The number of some rows, and the sum of their hashes."""

    count: int
    sum: str

    def __str__(self) -> str:
        return f"{self.count} {self.sum}"


@dataclass(frozen=True)
class Data:
    """What a database holds beside its schema."""

    seed: int
    # By schema and table.
    tables: Mapping[tuple[str, str], Digest]
    # The last value and whether it was used, by schema and sequence.
    sequences: Mapping[tuple[str, str], str]
    large_objects: Digest


def new_seed() -> int:
    return secrets.randbits(62)


def read(
    connection: BaseDatabaseWrapper,
    seed: int,
    tables: Iterable[tuple[str, str]] | None = None,
    sequences: Iterable[tuple[str, str]] | None = None,
) -> Data:
    """The data of the database, or of these tables and sequences, each a schema and a name. Read-only.

    Must be called in a transaction, whose snapshot it shows. Raises django.db.Error, also where row
    security would hide rows.
    """
    with pinned(connection) as cursor:
        cursor.execute("SAVEPOINT digests")
        cursor.execute(AS_TEXT)
        cursor.execute(TABLES, [PREFIX])
        found = cursor.fetchall()
        own = [(schema, name) for kind, schema, name in found if kind == "r"]
        standing = [(schema, name) for kind, schema, name in found if kind == "S"]
        data = Data(
            seed,
            _tables(cursor, seed, own if tables is None else sorted(tables)),
            _sequences(cursor, standing if sequences is None else sorted(sequences)),
            _large_objects(cursor, seed),
        )
        cursor.execute("ROLLBACK TO SAVEPOINT digests")
    return data


def difference(expected: Data, found: Data) -> str | None:
    """The first thing in ``expected`` that is not so in ``found``, in words; None when all is. Pure."""
    for (schema, table), want in expected.tables.items():
        have = found.tables.get((schema, table))
        if have is None:
            return f"table {table!r} of schema {schema} is missing"
        if have.count != want.count:
            return (
                f"table {table!r} of schema {schema} has {counted(have.count, 'rows')}, "
                f"not {want.count:,}"
            )
        if have != want:
            return f"table {table!r} of schema {schema} has other rows"
    for (schema, name), stands in expected.sequences.items():
        have_at = found.sequences.get((schema, name), "nowhere")
        if have_at != stands:
            return f"sequence {name!r} of schema {schema} stands at {have_at}, not {stands}"
    if found.large_objects != expected.large_objects:
        return (
            f"there are {counted(found.large_objects.count, 'large objects')}, and "
            f"{expected.large_objects.count:,} or others belong there"
        )
    return None


def _tables(
    cursor: CursorWrapper, seed: int, tables: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Digest]:
    found: dict[tuple[str, str], Digest] = {}
    for batch in batched(tables, TOGETHER):
        queries = [
            ROWS.format(
                place=sql.Literal(place), table=sql.Identifier(*table), seed=sql.Literal(seed)
            )
            for place, table in enumerate(batch)
        ]
        cursor.execute(sql.SQL(" UNION ALL ").join(queries))
        found |= {batch[place]: Digest(count, total) for place, count, total in cursor.fetchall()}
    return found


def _sequences(
    cursor: CursorWrapper, names: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for batch in batched(names, TOGETHER):
        queries = [
            STANDS.format(place=sql.Literal(place), sequence=sql.Identifier(*name))
            for place, name in enumerate(batch)
        ]
        cursor.execute(sql.SQL(" UNION ALL ").join(queries))
        found |= {batch[place]: stands for place, stands in cursor.fetchall()}
    return found


def _large_objects(cursor: CursorWrapper, seed: int) -> Digest:
    cursor.execute(LARGE_OBJECTS, {"seed": seed, "piece": PIECE})
    return Digest(*cursor.fetchone())


# What the text of a value depends on, and that rows which are hidden are an error.
AS_TEXT = """
    SET LOCAL row_security = off;
    SET LOCAL TimeZone = 'UTC';
    SET LOCAL DateStyle = 'ISO, MDY';
    SET LOCAL IntervalStyle = 'postgres';
    SET LOCAL extra_float_digits = 3;
    SET LOCAL bytea_output = 'hex';
    SET LOCAL xmlbinary = 'base64';
    SET LOCAL lc_monetary = 'C'
"""
# The tables whose rows pg_dump writes, and the sequences. An extension makes its own again.
TABLES = """
    SELECT c.relkind::text, n.nspname::text, c.relname::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'S') AND n.nspname <> 'information_schema'
      AND NOT starts_with(n.nspname, 'pg_') AND NOT starts_with(n.nspname, %s)
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e'
                      AND (e.classid = c.tableoid AND e.objid = c.oid
                           OR e.classid = n.tableoid AND e.objid = n.oid))
    ORDER BY 1, 2, 3
"""
# The whole row, whatever a column of the table is called.
ROWS = sql.SQL(
    "SELECT {place}, count(*), coalesce(sum(hashtextextended("
    '(t.*)::text COLLATE "C", {seed})), 0)::text FROM ONLY {table} t'
)
STANDS = sql.SQL("SELECT {place}, last_value || ' ' || is_called FROM {sequence}")
LARGE_OBJECTS = """
    SELECT count(*), coalesce(sum(hashtextextended(m.oid || ' ' || p.pieces, %(seed)s)), 0)::text
    FROM pg_largeobject_metadata m, LATERAL (
        WITH RECURSIVE piece (place, content) AS (
            SELECT 0::bigint, lo_get(m.oid, 0, %(piece)s)
            UNION ALL
            SELECT place + 1, lo_get(m.oid, (place + 1) * %(piece)s, %(piece)s)
            FROM piece WHERE octet_length(content) = %(piece)s)
        SELECT string_agg(md5(content), ' ' ORDER BY place) AS pieces FROM piece) p
"""
