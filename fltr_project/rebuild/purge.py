"""Drop a schema that was set aside, in batches that each stay under a budget of locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from fltr_project.catalog import aside
from fltr_project.errors import CannotRun, CleanSlateError, explain
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.postgres.target import Target
from fltr_project.words import listed

from . import inventory, records
from .dependants import dependants
from .errors import HangsOnOldSchema, PurgeInterrupted, WrittenSince

# Locks of one transaction, of the 6,400 that default settings guarantee to all sessions together.
BUDGET = 1_500
# Of other things than tables, which take one or two locks each.
BATCH = 400


@dataclass(frozen=True)
class LastLook:
    """What the schema held under the lock."""

    # Of each table; None where everything may be lost, and nothing was read.
    digests: Mapping[str, str] | None = None
    # Whether that is something else than what the plan says, and the backup has.
    changed: bool = False


NOTHING_READ = LastLook()


@dataclass(frozen=True)
class Left:
    """A schema that could not be dropped at the end of an operation that has committed."""

    name: str
    reason: str
    # Whether the schema could be brought back; not when some of it may be gone.
    whole: bool


def purge(
    target: Target,
    name: str,
    lock_timeout: int = locks.LOCK_TIMEOUT,
    progress: Callable[[int], Any] = lambda tables_left: None,
    last: LastLook = NOTHING_READ,
) -> None:
    """Drop the schema ``name`` that was set aside, each batch a transaction.

    May be stopped and begun again at any point; from its first batch on the schema cannot be
    brought back. ``progress`` is told the number of tables left. Milliseconds for ``lock_timeout``. ``last``
    is what was there when it was set aside. Raises Blocked when another session still uses one of its
    tables; then the rest stays; HangsOnOldSchema and WrittenSince before anything is dropped.
    """
    if not aside.is_aside(name):
        raise CannotRun(f"{name!r} is not the name of a schema that was set aside.")
    connection = connections[target.alias]
    with locks.naming_blockers([connection], name, lock_timeout):
        with _batch(connection, lock_timeout) as cursor:
            _require_droppable(cursor, name, last)
            records.change_state(cursor, name, aside.State.PURGING)
        for drop in (_drop_tables, _drop_others):
            left = 1
            while left:
                with _batch(connection, lock_timeout) as cursor:
                    left = drop(cursor, name)
                progress(left)
        with _batch(connection, lock_timeout) as cursor:
            cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))


def purge_at_the_end(
    target: Target,
    name: str,
    lock_timeout: int = locks.LOCK_TIMEOUT,
    progress: Callable[[int], Any] = lambda tables_left: None,
    last: LastLook = NOTHING_READ,
) -> Left | None:
    """As ``purge``, for the end of an operation that has committed: what is left, None when all is gone.

    A reader of an old table or a lost connection is no failure of that operation. Raises
    PurgeInterrupted.
    """
    try:
        purge(target, name, lock_timeout, progress, last)
    except (CleanSlateError, DatabaseError) as error:
        reason = explain(error) or f"{type(error).__name__}: {' '.join(str(error).split())}."
        return Left(name, reason, _is_whole(connections[target.alias], name))
    except KeyboardInterrupt as interrupt:
        raise PurgeInterrupted(target.database, target.alias, name) from interrupt
    return None


def _require_droppable(cursor: CursorWrapper, name: str, last: LastLook) -> None:
    """Raise HangsOnOldSchema or WrittenSince when a schema that was set aside is not to be dropped.

    A view that somebody made upon its tables before the commit would go with it, and so would a row of a schema with
    more tables than can be locked.
    """
    if found := dependants(cursor, name):
        raise HangsOnOldSchema(
            f"What is outside the old schema {name} hangs on it and would be lost: {listed(found)}."
        )
    if last.digests is None:
        return
    if last.changed:
        raise WrittenSince(
            f"The old schema {name} holds what was changed after the plan was read, so the backup may lack it."
        )
    now = inventory.content(cursor, name).digests
    other = [table for table, digest in now.items() if last.digests.get(table) != digest]
    if other:
        raise WrittenSince(
            f"Somebody wrote to the old schema {name} while it was set aside, so the backup lacks it: "
            f"{listed(other)}."
        )


@contextmanager
def _batch(connection: BaseDatabaseWrapper, lock_timeout: int) -> Iterator[CursorWrapper]:
    with transaction.atomic(using=connection.alias), pinned(connection) as cursor:
        locks.limit_waiting(cursor, lock_timeout, locks.STATEMENT_TIMEOUT)
        yield cursor


def _is_whole(connection: BaseDatabaseWrapper, name: str) -> bool:
    """Whether no batch of the purge has run; False where the server cannot be asked."""
    try:
        if not connection.is_usable():
            connection.close()
        return any(each.name == name and each.is_whole for each in aside.find(connection))
    except DatabaseError:
        return False


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
          -- A range type's own functions go with it, and only so.
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = p.tableoid AND d.objid = p.oid
                          AND d.deptype = 'i')
        UNION ALL
        SELECT 3, format('DROP TYPE IF EXISTS %%s CASCADE', t.oid::regtype)
        FROM schema, pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE typnamespace = schema.oid
          AND (typtype IN ('e', 'd', 'r') OR typtype = 'c' AND c.relkind = 'c')
    ) AS drops (step, statement) ORDER BY step LIMIT %s
"""
