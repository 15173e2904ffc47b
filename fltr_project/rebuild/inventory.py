"""What a schema holds: rows, bytes, objects by kind, and a fingerprint of all of it.

Everything here is read-only and takes no lock above ACCESS SHARE.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import batched

from django.db.backends.utils import CursorWrapper
from psycopg import sql

# Tables that are read by one statement. With more of them each batch gives its locks back.
READ_TOGETHER = 200


@dataclass(frozen=True)
class RowCount:
    table: str
    count: int
    # Not where the role may not read the table, or row security hides some of it.
    exact: bool


@dataclass(frozen=True)
class Content:
    rows: tuple[RowCount, ...]
    # Of tables with their indexes and TOAST.
    bytes: int
    # Of each table: another one after every committed change of a row.
    digests: dict[str, str]
    # Of what else the schema holds and what hangs on it: another one after every change of any of it.
    definitions: str

    @property
    def fingerprint(self) -> str:
        """Another one after every committed change of a row or of the schema."""
        parts = [*(" ".join(each) for each in self.digests.items()), self.definitions]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class LargeObjects:
    count: int
    bytes: int | None


def content(cursor: CursorWrapper, schema: str = "public") -> Content:
    """Count the rows in the schema, and take the digests of its content.

    Every row is looked at, of tables of any size: a tenth of a second or two a million. Of a table that is
    closed to the role the digest is made of PostgreSQL's counters, which follow within seconds. In the
    caller's transaction.
    """
    cursor.execute(TABLES, [schema])
    tables = [_Table(*row) for row in cursor.fetchall()]
    counted = _counted(cursor, schema, [table.name for table in tables if table.readable])
    rows, digests = [], {}
    for table in tables:
        count, hashed = counted.get(table.name, (table.estimate, table.changes))
        rows.append(RowCount(table.name, count, table.readable))
        digests[table.name] = f"{count} {hashed}"
    cursor.execute(CATALOG_HASHES, [schema, schema])
    hashes = [*cursor.fetchall(), *_large_object_hashes(cursor)]
    definitions = "\n".join(f"{catalog} {hashed}" for catalog, hashed in hashes)
    return Content(tuple(rows), sum(table.bytes for table in tables), digests, definitions)


def _large_object_hashes(cursor: CursorWrapper) -> list[tuple[str, int]]:
    """Of what large objects hold, which are the database's own, but a restore replaces them."""
    cursor.execute("SELECT has_table_privilege('pg_largeobject', 'SELECT')")
    (readable,) = cursor.fetchone()
    cursor.execute(LARGE_OBJECT_PAGES if readable else OWN_LARGE_OBJECTS)
    return [("pg_largeobject", cursor.fetchone()[0])]


def _counted(
    cursor: CursorWrapper, schema: str, tables: list[str]
) -> dict[str, tuple[int, int | str]]:
    """The number of rows and the hash of their places and versions, by table."""
    found: dict[str, tuple[int, int | str]] = {}
    for batch in batched(tables, READ_TOGETHER):
        query = sql.SQL(" UNION ALL ").join(
            COUNT.format(sql.Literal(table), sql.Identifier(schema, table)) for table in batch
        )
        if len(tables) > READ_TOGETHER:
            cursor.execute("SAVEPOINT batch")
        cursor.execute(query)
        found |= {name: (count, hashed) for name, count, hashed in cursor.fetchall()}
        if len(tables) > READ_TOGETHER:
            # Gives the locks back, of which a server has not enough for all the tables that may be.
            cursor.execute("ROLLBACK TO SAVEPOINT batch")
    return found


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


# A table that was never analyzed has no estimate, but one with a page in it is not called empty.
TABLES = """
    SELECT c.relname,
           greatest(c.reltuples, (pg_relation_size(c.oid) > 0)::int)::bigint,
           pg_total_relation_size(c.oid),
           has_table_privilege(c.oid, 'SELECT') AND NOT row_security_active(c.oid),
           concat_ws(' ', pg_stat_get_tuples_inserted(c.oid), pg_stat_get_tuples_updated(c.oid),
                     pg_stat_get_tuples_deleted(c.oid), c.relfilenode)
    FROM pg_class c
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
      AND c.relkind = 'r'
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                      AND e.objid = c.oid AND e.deptype = 'e')
    ORDER BY c.relname
"""

# Every new version of a row has another place or another transaction.
COUNT = sql.SQL(
    "SELECT {}, count(*), coalesce(bit_xor(hash_record_extended(ROW(ctid, xmin), 0)), 0) FROM ONLY {}"
)

# Every version of a row of a catalog has another transaction.
CATALOG_HASHES = """
    WITH schema AS (SELECT oid FROM pg_namespace WHERE nspname = %s),
    relations AS (SELECT c.oid, c.xmin FROM pg_class c, schema WHERE relnamespace = schema.oid),
    functions AS (SELECT p.oid, p.xmin FROM pg_proc p, schema WHERE p.pronamespace = schema.oid),
    types AS (SELECT t.oid, t.xmin FROM pg_type t, schema WHERE t.typnamespace = schema.oid),
    constraints AS (
        SELECT k.oid, k.xmin FROM pg_constraint k, schema WHERE k.connamespace = schema.oid
    ),
    triggers AS (
        SELECT t.oid, t.xmin FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid
    ),
    policies AS (SELECT p.oid, p.xmin FROM pg_policy p JOIN relations r ON r.oid = p.polrelid),
    rules AS (SELECT w.oid, w.xmin FROM pg_rewrite w JOIN relations r ON r.oid = w.ev_class),
    versions AS (
        SELECT 'pg_class' AS catalog, concat(oid, ' ', xmin) AS version FROM relations
        UNION ALL
        SELECT 'pg_attribute', concat(a.attrelid, ' ', a.attnum, ' ', a.xmin)
        FROM pg_attribute a JOIN relations r ON r.oid = a.attrelid WHERE a.attnum > 0
        UNION ALL
        SELECT 'pg_attrdef', concat(d.oid, ' ', d.xmin)
        FROM pg_attrdef d JOIN relations r ON r.oid = d.adrelid
        UNION ALL
        SELECT 'pg_constraint', concat(oid, ' ', xmin) FROM constraints
        UNION ALL
        SELECT 'pg_index', concat(i.indexrelid, ' ', i.xmin)
        FROM pg_index i JOIN relations r ON r.oid = i.indrelid
        UNION ALL
        SELECT 'pg_trigger', concat(oid, ' ', xmin) FROM triggers
        UNION ALL
        SELECT 'pg_policy', concat(oid, ' ', xmin) FROM policies
        UNION ALL
        SELECT 'pg_rewrite', concat(oid, ' ', xmin) FROM rules
        UNION ALL
        SELECT 'pg_sequence', concat(s.seqrelid, ' ', s.xmin)
        FROM pg_sequence s JOIN relations r ON r.oid = s.seqrelid
        UNION ALL
        SELECT 'pg_proc', concat(oid, ' ', xmin) FROM functions
        UNION ALL
        SELECT 'pg_type', concat(oid, ' ', xmin) FROM types
        UNION ALL
        SELECT 'pg_enum', concat(e.oid, ' ', e.xmin)
        FROM pg_enum e JOIN types t ON t.oid = e.enumtypid
        UNION ALL
        SELECT 'pg_statistic_ext', concat(s.oid, ' ', s.xmin)
        FROM pg_statistic_ext s, schema WHERE s.stxnamespace = schema.oid
        UNION ALL
        SELECT 'pg_description', concat(d.classoid, ' ', d.objoid, ' ', d.objsubid, ' ', d.xmin)
        FROM pg_description d WHERE (d.classoid, d.objoid) IN (
            SELECT 'pg_class'::regclass::oid, oid FROM relations
            UNION ALL SELECT 'pg_proc'::regclass, oid FROM functions
            UNION ALL SELECT 'pg_type'::regclass, oid FROM types
            UNION ALL SELECT 'pg_constraint'::regclass, oid FROM constraints
            UNION ALL SELECT 'pg_trigger'::regclass, oid FROM triggers
            UNION ALL SELECT 'pg_policy'::regclass, oid FROM policies
            UNION ALL SELECT 'pg_rewrite'::regclass, oid FROM rules
            UNION ALL SELECT 'pg_namespace'::regclass, oid FROM schema)
        UNION ALL
        SELECT 'pg_publication_rel', concat(m.oid, ' ', m.xmin)
        FROM pg_publication_rel m JOIN relations r ON r.oid = m.prrelid
        UNION ALL
        SELECT 'pg_publication_namespace', concat(m.oid, ' ', m.xmin)
        FROM pg_publication_namespace m, schema WHERE m.pnnspid = schema.oid
        UNION ALL
        SELECT 'pg_event_trigger', concat(e.oid, ' ', e.xmin) FROM pg_event_trigger e
        UNION ALL
        SELECT 'pg_extension', concat(e.oid, ' ', e.xmin)
        FROM pg_extension e, schema WHERE e.extnamespace = schema.oid
        UNION ALL
        SELECT 'pg_default_acl', concat(d.oid, ' ', d.xmin)
        FROM pg_default_acl d, schema WHERE d.defaclnamespace = schema.oid
        UNION ALL
        SELECT 'pg_namespace', concat(n.oid, ' ', n.xmin)
        FROM pg_namespace n WHERE n.nspname = %s OR starts_with(n.nspname, 'public_aside_')
        UNION ALL
        SELECT 'pg_largeobject_metadata', concat(l.oid, ' ', l.xmin) FROM pg_largeobject_metadata l
    )
    SELECT catalog, bit_xor(hashtextextended(version, 0)) FROM versions
    GROUP BY catalog ORDER BY catalog
"""

LARGE_OBJECT_PAGES = """
    SELECT coalesce(bit_xor(hash_record_extended(ROW(loid, pageno, xmin), 0)), 0) FROM pg_largeobject
"""
# Who may not see the pages may read its own; of a huge one the beginning, which is all that one call gives.
OWN_LARGE_OBJECTS = """
    SELECT coalesce(bit_xor(hashtextextended(concat(oid, md5(lo_get(oid, 0, 67108864))), 0)), 0)
    FROM pg_largeobject_metadata WHERE pg_has_role(lomowner, 'USAGE')
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
