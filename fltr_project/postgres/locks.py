"""Bounded waiting: how long a statement may wait, who is in the way, and one operation at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable

from fltr_project.errors import Blocked, explain

# Milliseconds. Five seconds is what a queue of writers behind a lock is let wait (facts, R10).
LOCK_TIMEOUT = 5_000
STATEMENT_TIMEOUT = 300_000
# An arbitrary key that every operation of this project on a schema takes; it is per database.
OPERATION_KEY = 0x636C65616E
# Tables that are locked against writers one by one; a larger schema is only watched.
LOCKED_TABLES = 1_000
# Milliseconds of one attempt to lock them, well below the server's deadlock_timeout of 1 s.
ATTEMPT = 200
# Seconds between two looks at who is in the way.
PAUSE = 0.05


@dataclass(frozen=True)
class Session:
    """Another transaction at work on a schema; ``pid`` is 0 for a prepared one, which has none."""

    pid: int
    transaction: str
    role: str
    application: str
    state: str
    seconds: int
    # Whether it holds a lock that only changes of data or of the schema take.
    writes: bool

    def __str__(self) -> str:
        if not self.pid:
            return "a prepared transaction (see pg_prepared_xacts)"
        application = f" ({self.application})" if self.application else ""
        doing = "with uncommitted changes, " if self.writes else ""
        return (
            f"pid {self.pid} of {self.role}{application}, {doing}{self.state} for {self.seconds} s"
        )


@dataclass(frozen=True)
class Capacity:
    """How many locks the server guarantees to all sessions together, and how many it has given out."""

    guaranteed: int
    taken: int


def limit_waiting(cursor: CursorWrapper, lock_timeout: int, statement_timeout: int) -> None:
    """Bound every wait of the current transaction, in milliseconds."""
    cursor.execute(
        "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
        [str(lock_timeout), str(statement_timeout)],
    )


@contextmanager
def operation(connection: BaseDatabaseWrapper, database: str) -> Iterator[None]:
    """Be the only operation of this project on the database while the block runs.

    The server frees the lock when the session ends, however that happens. Raises Blocked when
    another operation has it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [OPERATION_KEY])
        if not cursor.fetchone()[0]:
            raise _at_work(database)
    try:
        yield
    finally:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [OPERATION_KEY])
        except DatabaseError:
            # A connection that broke has freed the lock already; its own error is on its way.
            connection.close()


def take_operation_lock(cursor: CursorWrapper, database: str) -> None:
    """Make this transaction the only operation on the database; raises Blocked when there is one."""
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [OPERATION_KEY])
    if not cursor.fetchone()[0]:
        raise _at_work(database)


def capacity(cursor: CursorWrapper) -> Capacity:
    """Read-only."""
    cursor.execute(
        """
        SELECT current_setting('max_locks_per_transaction')::int
               * (current_setting('max_connections')::int
                  + current_setting('max_prepared_transactions')::int),
               (SELECT count(*) FROM pg_locks WHERE NOT fastpath)
        """
    )
    return Capacity(*cursor.fetchone())


def clear_the_way(
    connection: BaseDatabaseWrapper, schema: str, lock_timeout: int, terminate: bool = False
) -> tuple[Session, ...]:
    """Wait until nobody else is at work on the schema's tables, then keep writers out.

    In the caller's transaction: first the transactions that are at work now are waited for, holding
    no lock that anybody would queue behind; then the tables are locked against writers, whom the
    commit sends to the new tables. Readers go on all the time. All in all it takes ``lock_timeout``
    milliseconds and a moment at most.

    With ``terminate`` those in the way are ended at once, as far as the role may; they are returned.
    Raises Blocked naming who is in the way.
    """
    deadline = time.monotonic() + lock_timeout / 1000
    ended = _terminate(connection, schema) if terminate else ()
    _wait_for(connection, schema, deadline, lock_timeout)
    _lock_out_writers(connection, schema, deadline, lock_timeout)
    # Who came in between and is no writer reads the old tables to the end of its transaction.
    writers = tuple(session for session in others_in_schema(connection, schema) if session.writes)
    if writers:
        raise in_the_way(connection, schema, lock_timeout, writers)
    return ended


def in_the_way(
    connection: BaseDatabaseWrapper,
    schema: str,
    lock_timeout: int,
    sessions: tuple[Session, ...],
) -> Blocked:
    database = connection.settings_dict["NAME"]
    names = "; ".join(map(str, sessions)) or "a session that has ended since"
    return Blocked(
        f"Waited {lock_timeout / 1000:g} s for other sessions to leave schema {schema} of "
        f"{database} and gave up; nothing has changed. In the way: {names}. "
        "End them, wait for them, or run the command again with --terminate."
    )


@contextmanager
def naming_blockers(
    connections: Sequence[BaseDatabaseWrapper], schema: str, lock_timeout: int
) -> Iterator[None]:
    """Turn a lock timeout or a deadlock of the block, which must end its transaction, into Blocked."""
    try:
        yield
    except DatabaseError as error:
        if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
            raise
        sessions = [
            f"{session}, in {connection.settings_dict['NAME']}"
            for connection in connections
            for session in others_in_schema(connection, schema)
        ]
        names = "; ".join(sessions) or "a session that has ended since"
        raise Blocked(
            f"Waited {lock_timeout / 1000:g} s for a lock on schema {schema} and gave up. "
            f"In the way: {names}. End it or wait for it, then run the command again; where it has "
            "--terminate, that ends it."
        ) from error


def others_in_schema(connection: BaseDatabaseWrapper, schema: str) -> tuple[Session, ...]:
    """The other transactions that hold a lock in ``schema`` or on it, longest first. Read-only.

    A table that an uncommitted transaction has created counts: it is not visible, but the lock on
    its schema is. The server's own workers do not count, which give way by themselves.
    """
    with connection.cursor() as cursor:
        # Within a transaction the server would show the sessions as they were at the first look.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(OTHERS, [schema])
        return tuple(Session(*row) for row in cursor.fetchall())


def _wait_for(
    connection: BaseDatabaseWrapper, schema: str, deadline: float, lock_timeout: int
) -> None:
    """Return when the transactions that are at work now have ended; who comes later may stay."""
    first = {(each.pid, each.transaction) for each in others_in_schema(connection, schema)}
    while first:
        time.sleep(PAUSE)
        now = others_in_schema(connection, schema)
        left = tuple(each for each in now if (each.pid, each.transaction) in first)
        if not left:
            return
        first = {(each.pid, each.transaction) for each in left}
        if time.monotonic() > deadline:
            raise in_the_way(connection, schema, lock_timeout, left)


def _lock_out_writers(
    connection: BaseDatabaseWrapper, schema: str, deadline: float, lock_timeout: int
) -> None:
    """Lock the tables against writers, all of them or none, until the transaction ends.

    In short attempts: a writer that waits for us while we wait for it is let through, before the
    server would call it a deadlock and end either.
    """
    with connection.cursor() as cursor:
        cursor.execute(LOCKABLE, [schema])
        names = [name for (name,) in cursor.fetchall()]
    if not names or len(names) > LOCKED_TABLES:
        return
    tables = sql.SQL(", ").join(
        sql.SQL("ONLY {}").format(sql.Identifier(schema, name)) for name in names
    )
    statement = sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(tables)
    while True:
        try:
            with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
                limit_waiting(cursor, ATTEMPT, STATEMENT_TIMEOUT)
                cursor.execute(statement)
                limit_waiting(cursor, lock_timeout, STATEMENT_TIMEOUT)
                return
        except DatabaseError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            if time.monotonic() > deadline:
                others = others_in_schema(connection, schema)
                raise in_the_way(connection, schema, lock_timeout, others) from error
        time.sleep(PAUSE)


def _terminate(connection: BaseDatabaseWrapper, schema: str) -> tuple[Session, ...]:
    ended = []
    for session in others_in_schema(connection, schema):
        if not session.pid:
            continue
        try:
            with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 1000)", [session.pid])
        except DatabaseError as error:
            raise Blocked(
                f"{session} is in the way and could not be ended: "
                f"{explain(error) or error} Nothing has changed."
            ) from error
        ended.append(session)
    return tuple(ended)


def _at_work(database: str) -> Blocked:
    return Blocked(
        f"Another operation of this project is at work on database {database!r}. "
        "Wait until it has ended, then run the command again."
    )


# Parents first, as writers mostly go: who waits for its parent's lock holds none of a child's.
LOCKABLE = """
    SELECT c.relname
    FROM pg_class c
    LEFT JOIN (SELECT confrelid, count(*) AS children FROM pg_constraint GROUP BY confrelid) AS k
      ON k.confrelid = c.oid
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
      AND c.relkind = 'r' AND has_table_privilege(c.oid, 'UPDATE')
    ORDER BY coalesce(k.children, 0) DESC, c.relname
"""

OTHERS = """
    SELECT coalesce(l.pid, 0), l.virtualtransaction, coalesce(a.usename, ''),
           coalesce(a.application_name, ''), coalesce(a.state, 'active'),
           coalesce(extract(epoch FROM clock_timestamp() - max(a.state_change)), 0)::int AS seconds,
           bool_or(l.locktype = 'object' OR l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
    FROM pg_locks l
    JOIN pg_namespace n ON n.nspname = %s
    LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_class c ON l.locktype = 'relation' AND c.oid = l.relation
    WHERE (c.relnamespace = n.oid
           OR l.locktype = 'object' AND l.classid = 'pg_namespace'::regclass AND l.objid = n.oid)
      AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND coalesce(a.backend_type, 'client backend') = 'client backend'
    GROUP BY 1, 2, 3, 4, 5
    ORDER BY seconds DESC
"""
