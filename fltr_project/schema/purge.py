"""Drop a schema that was set aside, in batches that each stay under a budget of locks."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from fltr_project.errors import CannotRun
from fltr_project.postgres import locks

from . import aside

# Locks of one transaction, of the 6,400 that default settings guarantee to all sessions together.
BUDGET = 1_500
# Of other things than tables, which take one or two locks each.
BATCH = 400


def purge(connection: BaseDatabaseWrapper, name: str, lock_timeout: int) -> Iterator[int]:
    """Drop the schema that was set aside, each batch a transaction; yields tables left.

    May be stopped and begun again at any point; from its first batch on the schema cannot be
    brought back. Milliseconds for ``lock_timeout``.
    """
    if not aside.is_aside(name):
        raise CannotRun(f"{name!r} is not a schema that nuke_schema has set aside.")
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        locks.limit_waiting(cursor, lock_timeout, locks.STATEMENT_TIMEOUT)
        aside.change_state(cursor, name, aside.PURGING)
    for drop in (_drop_tables, _drop_others):
        left = 1
        while left:
            with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
                locks.limit_waiting(cursor, lock_timeout, locks.STATEMENT_TIMEOUT)
                left = drop(cursor, name)
            yield left
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        locks.limit_waiting(cursor, lock_timeout, locks.STATEMENT_TIMEOUT)
        cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))


def locks_needed(cursor: CursorWrapper, schema: str) -> tuple[int, int]:
    """How many locks the largest batch of a purge takes, and how many DROP SCHEMA would. Read-only."""
    cursor.execute(
        f"SELECT coalesce(sum(cost), 0), coalesce(max(cost), 0) FROM ({COST}) AS t",
        [schema, None],
    )
    total, largest = cursor.fetchone()
    cursor.execute(COST_OF_SCHEMA, [schema])
    (drop,) = cursor.fetchone()
    return min(int(total), max(BUDGET, int(largest))), int(drop)


def _drop_tables(cursor: CursorWrapper, schema: str) -> int:
    """Drop as many tables as the budget allows, children before parents; the number left."""
    cursor.execute(
        f"""
        SELECT relname, relkind, left_over FROM (
            SELECT *, sum(cost) OVER (ORDER BY place) AS locks FROM ({COST}) AS candidates
        ) AS planned WHERE locks <= %s OR place = 1
        """,
        [schema, BATCH, BUDGET],
    )
    tables = cursor.fetchall()
    if not tables:
        return 0
    for kind, word in (("rp", "TABLE"), ("f", "FOREIGN TABLE")):
        names = [sql.Identifier(schema, name) for name, relkind, _ in tables if relkind in kind]
        if names:
            cursor.execute(
                sql.SQL("DROP {} {} CASCADE").format(sql.SQL(word), sql.SQL(", ").join(names))
            )
    return int(tables[0][2]) - len(tables)


def _drop_others(cursor: CursorWrapper, schema: str) -> int:
    """Drop a batch of what is no table; 0 when there is nothing left that comes in numbers."""
    cursor.execute(OTHERS, [schema, BATCH])
    statements = [statement for (statement,) in cursor.fetchall()]
    for statement in statements:
        # Put together by the server's own format(), with %I and %s of a regprocedure.
        cursor.execute(statement)
    return len(statements)


# Locks of dropping one table: on itself and its two row types, TOAST table and index, indexes,
# defaults, sequences, constraints, triggers; and of a foreign key, which has two triggers at either
# end, the other end's triggers, table and constraint. Every look-up has its index: of 20,000 tables
# with 20,000 foreign keys it takes a second.
COST = """
    SELECT c.relname, c.relkind, c.left_over, c.place,
           3 + 2 * (c.reltoastrelid <> 0)::int
           + (SELECT count(*) FROM pg_index x WHERE x.indrelid = c.oid)
           + (SELECT count(*) FROM pg_attrdef d WHERE d.adrelid = c.oid)
           + (SELECT count(*) FROM pg_constraint k WHERE k.conrelid = c.oid)
           + (SELECT count(*) + 2 * count(*) FILTER (WHERE t.tgisinternal)
              FROM pg_trigger t WHERE t.tgrelid = c.oid)
           + (SELECT count(*) FROM pg_depend s WHERE s.refclassid = 'pg_class'::regclass
              AND s.refobjid = c.oid AND s.classid = 'pg_class'::regclass AND s.refobjsubid > 0
              AND s.deptype IN ('a', 'i')) AS cost
    FROM (
        SELECT oid, relname, relkind, reltoastrelid, count(*) OVER () AS left_over,
               row_number() OVER (ORDER BY parent, oid DESC) AS place
        FROM (SELECT t.oid, t.relname, t.relkind, t.reltoastrelid,
                     EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = t.oid) AS parent
              FROM pg_class t
              WHERE t.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
                AND t.relkind IN ('r', 'p', 'f')) AS tables
        ORDER BY place LIMIT %s
    ) AS c
"""

# What DROP SCHEMA ... CASCADE locks, all in one transaction (measured: exact).
COST_OF_SCHEMA = """
    WITH schema AS (SELECT oid FROM pg_namespace WHERE nspname = %s),
    relations AS (SELECT c.oid, c.reltoastrelid FROM pg_class c, schema WHERE relnamespace = schema.oid)
    SELECT 1 + (SELECT count(*) + 2 * count(*) FILTER (WHERE reltoastrelid <> 0) FROM relations)
           + (SELECT count(*) FROM pg_type t, schema WHERE typnamespace = schema.oid)
           + (SELECT count(*) FROM pg_constraint k, schema WHERE connamespace = schema.oid)
           + (SELECT count(*) FROM pg_proc p, schema WHERE pronamespace = schema.oid)
           + (SELECT count(*) FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid)
           + (SELECT count(*) FROM pg_attrdef d JOIN relations r ON r.oid = d.adrelid)
"""

OTHERS = """
    WITH schema AS (SELECT oid FROM pg_namespace WHERE nspname = %s)
    SELECT statement FROM (
        SELECT 1, format('DROP %%s IF EXISTS %%s CASCADE',
                         CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                                      ELSE 'SEQUENCE' END, c.oid::regclass)
        FROM pg_class c, schema WHERE relnamespace = schema.oid AND relkind IN ('v', 'm', 'S')
        UNION ALL
        SELECT 2, format('DROP ROUTINE IF EXISTS %%s CASCADE', p.oid::regprocedure)
        FROM pg_proc p, schema WHERE pronamespace = schema.oid
        UNION ALL
        SELECT 3, format('DROP TYPE IF EXISTS %%s CASCADE', t.oid::regtype)
        FROM schema, pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE typnamespace = schema.oid
          AND (typtype IN ('e', 'd', 'r') OR typtype = 'c' AND c.relkind = 'c')
    ) AS drops (step, statement) ORDER BY step LIMIT %s
"""
