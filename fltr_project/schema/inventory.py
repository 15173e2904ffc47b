"""What schema ``public`` holds: rows, bytes, objects by kind, and a mark that changes with them.

Everything here is read-only and takes no lock above ACCESS SHARE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.backends.utils import CursorWrapper
from psycopg import sql

# Rows are counted exactly up to this many a table, and for this many tables; beyond either, the
# planner's estimate is good enough to be frightened by.
EXACT_ROWS = 100_000
EXACT_TABLES = 500


@dataclass(frozen=True)
class Rows:
    table: str
    count: int
    exact: bool


@dataclass(frozen=True)
class Stock:
    """The tables' rows, of tables with their indexes and TOAST the bytes, and the content's mark."""

    rows: tuple[Rows, ...]
    bytes: int
    mark: str


@dataclass(frozen=True)
class LargeObjects:
    count: int
    bytes: int | None


def stock(cursor: CursorWrapper) -> Stock:
    """Count what ``public`` holds, and mark its content.

    The mark changes with every committed change of a row or of the schema. Of a table too large or
    too closed to be read it is made of PostgreSQL's counters, which follow within seconds.
    """
    cursor.execute(TABLES)
    tables = [_Table(*row) for row in cursor.fetchall()]
    readable = [table for table in tables if table.readable]
    counted: dict[str, tuple[int, int]] = {}
    if readable and len(tables) <= EXACT_TABLES:
        query = sql.SQL(" UNION ALL ").join(COUNT.format(*_parts(table.name)) for table in readable)
        cursor.execute(query)
        counted = {name: (count, mark) for name, count, mark in cursor.fetchall()}
    rows, marks = [], []
    for table in tables:
        count, mark = counted.get(table.name, (EXACT_ROWS + 1, 0))
        exact = count <= EXACT_ROWS
        if not exact and table.name in counted:
            rows.append(Rows(table.name, max(table.estimate, count), False))
        else:
            rows.append(Rows(table.name, count if exact else table.estimate, exact))
        marks.append(f"{table.name} {count} {mark}" if exact else f"{table.name} {table.changes}")
    cursor.execute(CATALOG_MARK)
    marks += [f"{catalog} {mark}" for catalog, mark in cursor.fetchall()]
    digest = hashlib.sha256("\n".join(marks).encode()).hexdigest()
    return Stock(tuple(rows), sum(table.bytes for table in tables), digest)


def objects(cursor: CursorWrapper) -> dict[str, int]:
    """How many things other than tables are in ``public``, by what PostgreSQL calls them."""
    cursor.execute(OBJECTS)
    return dict(cursor.fetchall())


def large_objects(cursor: CursorWrapper) -> LargeObjects:
    """The database's large objects; their bytes only where the role may read them."""
    cursor.execute(
        "SELECT (SELECT count(*) FROM pg_largeobject_metadata),"
        " has_table_privilege('pg_largeobject', 'SELECT')"
    )
    count, readable = cursor.fetchone()
    if not readable:
        return LargeObjects(count, None)
    cursor.execute("SELECT coalesce(sum(length(data)), 0)::bigint FROM pg_largeobject")
    return LargeObjects(count, cursor.fetchone()[0])


@dataclass(frozen=True)
class _Table:
    name: str
    estimate: int
    bytes: int
    readable: bool
    # Rows ever inserted, updated and deleted, and the file they are in.
    changes: str


def _parts(table: str) -> Sequence[sql.Composable]:
    return sql.Literal(table), sql.Identifier("public", table), sql.Literal(EXACT_ROWS + 1)


# A table that was never analyzed has no estimate, but one with a page in it is not called empty.
TABLES = """
    SELECT c.relname,
           greatest(c.reltuples, (pg_relation_size(c.oid) > 0)::int)::bigint,
           pg_total_relation_size(c.oid),
           has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid),
           concat_ws(' ', pg_stat_get_tuples_inserted(c.oid), pg_stat_get_tuples_updated(c.oid),
                     pg_stat_get_tuples_deleted(c.oid), c.relfilenode)
    FROM pg_class c
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'public')
      AND c.relkind = 'r'
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e')
    ORDER BY c.relname
"""

# Every new version of a row has another place or another transaction.
COUNT = sql.SQL(
    "SELECT {}, count(*), coalesce(bit_xor(hashtextextended(place, 0)), 0) FROM"
    " (SELECT ctid::text || ' ' || xmin::text AS place FROM ONLY {} LIMIT {}) AS rows"
)

CATALOG_MARK = """
    WITH public AS (SELECT oid FROM pg_namespace WHERE nspname = 'public'),
    relations AS (SELECT c.oid, c.xmin FROM pg_class c, public WHERE relnamespace = public.oid),
    versions AS (
        SELECT 'pg_class' AS catalog, concat(oid, ' ', xmin) AS version FROM relations
        UNION ALL
        SELECT 'pg_attribute', concat(a.attrelid, ' ', a.attnum, ' ', a.xmin)
        FROM pg_attribute a JOIN relations r ON r.oid = a.attrelid WHERE a.attnum > 0
        UNION ALL
        SELECT 'pg_constraint', concat(c.oid, ' ', c.xmin)
        FROM pg_constraint c, public WHERE c.connamespace = public.oid
        UNION ALL
        SELECT 'pg_trigger', concat(t.oid, ' ', t.xmin)
        FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid
        UNION ALL
        SELECT 'pg_proc', concat(p.oid, ' ', p.xmin)
        FROM pg_proc p, public WHERE p.pronamespace = public.oid
        UNION ALL
        SELECT 'pg_type', concat(t.oid, ' ', t.xmin)
        FROM pg_type t, public WHERE t.typnamespace = public.oid
        UNION ALL
        SELECT 'pg_namespace', concat(n.oid, ' ', n.xmin)
        FROM pg_namespace n WHERE n.nspname = 'public' OR starts_with(n.nspname, 'public_aside_')
    )
    SELECT catalog, bit_xor(hashtextextended(version, 0)) FROM versions
    GROUP BY catalog ORDER BY catalog
"""

OBJECTS = """
    WITH public AS (SELECT oid FROM pg_namespace WHERE nspname = 'public'),
    things AS (
        SELECT c.tableoid AS classid, c.oid,
               CASE c.relkind WHEN 'p' THEN 'partitioned tables' WHEN 'v' THEN 'views'
                    WHEN 'm' THEN 'materialized views' WHEN 'f' THEN 'foreign tables'
                    WHEN 'S' THEN 'sequences' WHEN 'i' THEN 'indexes' WHEN 'I' THEN 'indexes' END
               AS word
        FROM pg_class c, public WHERE c.relnamespace = public.oid AND c.relkind NOT IN ('r', 'c')
        UNION ALL
        SELECT p.tableoid, p.oid, CASE p.prokind WHEN 'p' THEN 'procedures'
                                       WHEN 'a' THEN 'aggregates' ELSE 'functions' END
        FROM pg_proc p, public WHERE p.pronamespace = public.oid
        UNION ALL
        SELECT t.tableoid, t.oid, 'types' FROM public, pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE t.typnamespace = public.oid
          AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
        UNION ALL
        SELECT t.tableoid, t.oid, 'triggers' FROM public, pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace = public.oid AND NOT t.tgisinternal
        UNION ALL
        SELECT p.tableoid, p.oid, 'policies' FROM public, pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        WHERE c.relnamespace = public.oid
        UNION ALL
        SELECT d.classid, d.objid,
               CASE d.classid WHEN 'pg_collation'::regclass THEN 'collations'
                    WHEN 'pg_operator'::regclass THEN 'operators'
                    WHEN 'pg_opclass'::regclass THEN 'operator classes'
                    WHEN 'pg_opfamily'::regclass THEN 'operator families'
                    WHEN 'pg_conversion'::regclass THEN 'conversions'
                    WHEN 'pg_statistic_ext'::regclass THEN 'extended statistics'
                    ELSE 'text search objects' END
        FROM pg_depend d, public
        WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = public.oid AND d.deptype = 'n'
          AND d.classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass,
                                'pg_default_acl'::regclass, 'pg_extension'::regclass,
                                'pg_publication_namespace'::regclass)
    )
    SELECT word, count(*) FROM things
    WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = things.classid
                      AND e.objid = things.oid AND e.deptype = 'e')
    GROUP BY word ORDER BY word
"""
