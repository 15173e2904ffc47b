"""What a nuke would take and what stands in its way; reads only, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from fltr_project.postgres.target import Target

from . import aside
from .facts import TRACKING_TABLES

# Rows are counted exactly up to this many a table; beyond it, and for this many tables, the
# planner's estimate is good enough to be frightened by.
EXACT_ROWS = 100_000
EXACT_TABLES = 500


@dataclass(frozen=True)
class Rows:
    table: str
    count: int
    exact: bool


@dataclass(frozen=True)
class Plan:
    """A nuke of schema ``public`` of ``target``, before it is done."""

    target: Target
    # Whether the role owns the schema and may create one.
    permitted: bool
    rows: tuple[Rows, ...]
    # Of tables with their indexes and TOAST.
    bytes: int
    # Views, sequences, functions and types, by what PostgreSQL calls them.
    other_objects: dict[str, int]
    extensions: tuple[str, ...]
    # What would break or go silent: objects outside the schema, publications, event triggers.
    dependants: tuple[str, ...]
    # Schemas of earlier nukes that wait for an undo or a purge.
    waiting: tuple[str, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(row.table for row in self.rows)

    @property
    def product_rows(self) -> int:
        """Rows that somebody would miss: the records of what migrations ran are not among them."""
        return sum(row.count for row in self.rows if row.table not in TRACKING_TABLES)

    @property
    def is_exact(self) -> bool:
        return all(row.exact for row in self.rows)


def plan(connection: BaseDatabaseWrapper, target: Target) -> Plan:
    """Read what there is. No lock above ACCESS SHARE, a fixed number of round trips."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT has_database_privilege(current_database(), 'CREATE')
               AND coalesce((SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace
                             WHERE nspname = 'public'), true)
            """
        )
        (permitted,) = cursor.fetchone()
        cursor.execute(
            """
            SELECT c.relname, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid),
                   has_table_privilege(c.oid, 'SELECT')
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
              AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                              AND e.objid = c.oid AND e.deptype = 'e')
            ORDER BY c.relname
            """
        )
        tables = cursor.fetchall()
        cursor.execute(
            """
            SELECT word, count(*) FROM (
                SELECT CASE c.relkind WHEN 'v' THEN 'views' WHEN 'm' THEN 'materialized views'
                       WHEN 'f' THEN 'foreign tables' WHEN 'S' THEN 'sequences' END
                FROM pg_class c WHERE c.relkind IN ('v', 'm', 'f', 'S')
                 AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'public')
                 AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = c.tableoid
                                 AND e.objid = c.oid AND e.deptype = 'e')
                UNION ALL
                SELECT 'functions' FROM pg_proc p
                WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'public')
                  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = p.tableoid
                                  AND e.objid = p.oid AND e.deptype = 'e')
                UNION ALL
                SELECT 'types' FROM pg_type t
                WHERE t.typnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'public')
                  AND t.typtype IN ('e', 'd', 'r')
                  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = t.tableoid
                                  AND e.objid = t.oid AND e.deptype = 'e')
            ) AS kinds (word) GROUP BY word ORDER BY word
            """
        )
        other_objects = dict(cursor.fetchall())
        schema = aside.properties(cursor, aside.SCHEMA)
        return Plan(
            target=target,
            permitted=permitted,
            rows=_count_rows(connection, tables),
            bytes=sum(size for _, _, size, _ in tables),
            other_objects=other_objects,
            extensions=schema.extensions if schema else (),
            dependants=dependants(connection),
            waiting=aside.find(connection),
        )


def dependants(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """What lies outside schema ``public`` and hangs on something in it, in PostgreSQL's words.

    Extensions in the schema are no dependants: they move along (schema.aside). Read-only.
    """
    with connection.cursor() as cursor:
        cursor.execute(DEPENDANTS)
        return tuple(name for (name,) in cursor.fetchall())


def _count_rows(
    connection: BaseDatabaseWrapper, tables: list[tuple[str, int, int, bool]]
) -> tuple[Rows, ...]:
    if not tables or len(tables) > EXACT_TABLES or not all(allowed for *_, allowed in tables):
        return tuple(Rows(name, estimate, False) for name, estimate, _, _ in tables)
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, count(*) FROM (SELECT FROM {} LIMIT {}) AS rows").format(
            sql.Literal(name), sql.Identifier(aside.SCHEMA, name), sql.Literal(EXACT_ROWS + 1)
        )
        for name, *_ in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        counts = dict(cursor.fetchall())
    return tuple(
        Rows(name, counts[name], True)
        if counts[name] <= EXACT_ROWS
        else Rows(name, max(estimate, counts[name]), False)
        for name, estimate, _, _ in tables
    )


# A dependant is in the schema of the relation it belongs to, or in its own.
DEPENDANTS = """
    WITH public AS (SELECT oid FROM pg_namespace WHERE nspname = 'public'),
    inside AS (
        SELECT tableoid AS classid, oid FROM pg_class WHERE relnamespace = (SELECT oid FROM public)
        UNION ALL
        SELECT tableoid, oid FROM pg_type WHERE typnamespace = (SELECT oid FROM public)
        UNION ALL
        SELECT tableoid, oid FROM pg_proc WHERE pronamespace = (SELECT oid FROM public)
        UNION ALL
        SELECT c.tableoid, c.oid FROM pg_constraint c WHERE connamespace = (SELECT oid FROM public)
    ),
    own AS (
        SELECT i.* FROM inside i WHERE NOT EXISTS (
            SELECT FROM pg_depend e
            WHERE e.classid = i.classid AND e.objid = i.oid AND e.deptype = 'e')
    ),
    outside AS (
        SELECT DISTINCT d.classid, d.objid,
               CASE d.classid
                   WHEN 'pg_class'::regclass THEN
                       (SELECT relnamespace FROM pg_class WHERE oid = d.objid)
                   WHEN 'pg_type'::regclass THEN
                       (SELECT typnamespace FROM pg_type WHERE oid = d.objid)
                   WHEN 'pg_proc'::regclass THEN
                       (SELECT pronamespace FROM pg_proc WHERE oid = d.objid)
                   WHEN 'pg_constraint'::regclass THEN
                       (SELECT connamespace FROM pg_constraint WHERE oid = d.objid)
                   WHEN 'pg_attrdef'::regclass THEN
                       (SELECT c.relnamespace FROM pg_attrdef a JOIN pg_class c ON c.oid = a.adrelid
                        WHERE a.oid = d.objid)
                   WHEN 'pg_rewrite'::regclass THEN
                       (SELECT c.relnamespace FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
                        WHERE r.oid = d.objid)
                   WHEN 'pg_trigger'::regclass THEN
                       (SELECT c.relnamespace FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                        WHERE t.oid = d.objid)
                   WHEN 'pg_policy'::regclass THEN
                       (SELECT c.relnamespace FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
                        WHERE p.oid = d.objid)
                   WHEN 'pg_statistic_ext'::regclass THEN
                       (SELECT stxnamespace FROM pg_statistic_ext WHERE oid = d.objid)
                   WHEN 'pg_operator'::regclass THEN
                       (SELECT oprnamespace FROM pg_operator WHERE oid = d.objid)
                   WHEN 'pg_opclass'::regclass THEN
                       (SELECT opcnamespace FROM pg_opclass WHERE oid = d.objid)
                   WHEN 'pg_opfamily'::regclass THEN
                       (SELECT opfnamespace FROM pg_opfamily WHERE oid = d.objid)
               END AS namespace
        FROM own JOIN pg_depend d ON d.refclassid = own.classid AND d.refobjid = own.oid
        WHERE d.deptype IN ('n', 'a')
    )
    SELECT DISTINCT type || ' ' || identity
    FROM outside, pg_identify_object(classid, objid, 0)
    WHERE namespace IS DISTINCT FROM (SELECT oid FROM public)
      AND coalesce((SELECT nspname FROM pg_namespace WHERE oid = namespace), '') NOT LIKE 'pg\\_toast%'
    UNION
    SELECT 'publication ' || pub.pubname FROM pg_publication pub
    JOIN pg_publication_namespace pn ON pn.pnpubid = pub.oid
    WHERE pn.pnnspid = (SELECT oid FROM public)
    UNION
    SELECT 'publication ' || pub.pubname FROM pg_publication pub
    JOIN pg_publication_rel pr ON pr.prpubid = pub.oid JOIN pg_class c ON c.oid = pr.prrelid
    WHERE c.relnamespace = (SELECT oid FROM public)
    UNION
    SELECT 'event trigger ' || e.evtname FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
    WHERE p.pronamespace = (SELECT oid FROM public)
    ORDER BY 1
""".replace("%'", "%%'")
