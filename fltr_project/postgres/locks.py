"""Bounded waiting: how long a statement may wait, who is in the way, and one operation at a time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable

from fltr_project.errors import Blocked, explain
from fltr_project.words import visible

from .errors import LockTimedOut, SessionsInTheWay
from .search_path import pin, pinned
from .sessions import LOCK_TIMEOUT as LOCK_TIMEOUT
from .target import Target

# Milliseconds.
STATEMENT_TIMEOUT = 300_000
# An arbitrary key that every operation of this project on a schema takes; it is per database.
OPERATION_KEY = 0x636C65616E
# What the connection that holds it calls itself, by which this process knows its own lock.
OPERATION = f"clean_slate {uuid.uuid4().hex[:12]}"
# Tables that are locked against writers one by one; a larger schema is only watched.
LOCKED_TABLES = 1_000
# Milliseconds of one attempt to lock them, well below the server's deadlock_timeout of 1 s.
ATTEMPT = 200
PAUSE = 0.05  # Seconds between two looks at who is in the way.


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
        return visible(
            f"pid {self.pid} of {self.role}{application}, {doing}{self.state} for {self.seconds} s"
        )


@dataclass(frozen=True)
class Capacity:
    """How many locks the server guarantees to all sessions together, and how many it has given out."""

    guaranteed: int
    taken: int


def limit_waiting(cursor: CursorWrapper, lock_timeout: int, statement_timeout: int) -> None:
    """Let each statement wait and run this many milliseconds at most, until the transaction ends."""
    cursor.execute(
        "SELECT pg_catalog.set_config('lock_timeout', %s, true),"
        " pg_catalog.set_config('statement_timeout', %s, true)",
        [str(lock_timeout), str(statement_timeout)],
    )


@contextmanager
def exclusive(target: Target) -> Iterator[None]:
    """Be the only operation of this project on the database while the block runs, in transactions or outside.

    Raises Blocked, naming the holder, when another operation has the lock, which is held as ``held`` says.
    """
    with held(target.alias) as cursor:
        take_operation_lock(cursor, target.database)
        # A statement with parameters keeps its snapshot until the next one, and CREATE INDEX
        # CONCURRENTLY waits for whoever has an older one. This has none.
        cursor.execute("SET LOCAL statement_timeout = 0")
        yield


@contextmanager
def held(alias: str) -> Iterator[CursorWrapper]:
    """A cursor for locks that last as long as the block: of a transaction of a connection of its own.

    Such locks hold through a connection pooler, and end with this process however that happens.
    """
    connection = connections[alias].copy()
    # An idle connection is what a firewall forgets: seconds between two signs of life.
    connection.settings_dict["OPTIONS"].setdefault("keepalives_idle", 60)
    try:
        connection.set_autocommit(False)
        with connection.cursor() as cursor:
            pin(cursor)
            cursor.execute(HOLD, [OPERATION])
            yield cursor
    finally:
        # The server ends a session some time after its client has left; a transaction it ends now.
        with suppress(DatabaseError):
            connection.rollback()
        connection.close()


def take_operation_lock(cursor: CursorWrapper, database: str) -> None:
    """Let no other operation begin until the current transaction ends.

    Within ``exclusive`` the lock is this process's already; should its connection have been lost, it is
    taken anew. Raises Blocked, naming the holder, when another operation has it.
    """
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [OPERATION_KEY])
    (taken,) = cursor.fetchone()
    if taken:
        return
    cursor.execute(HOLDER, [OPERATION_KEY])
    row = cursor.fetchone()
    if row and row[2] == OPERATION:
        return
    raise Blocked(
        f"Another operation of this project is at work on database {database!r}: "
        f"{_holder(*row) if row else 'one that has ended since'}. "
        "Wait until it has ended, then run the command again."
    )


def holder(connection: BaseDatabaseWrapper) -> str | None:
    """Which session an operation of another process is at work from, or None. Read-only."""
    with pinned(connection) as cursor:
        cursor.execute(HOLDER, [OPERATION_KEY])
        row = cursor.fetchone()
    return None if row is None or row[2] == OPERATION else _holder(*row)


def _holder(pid: int, role: str, application: str, address: str | None, seconds: int | None) -> str:
    place = f", from {address}" if address else ""
    since = f", for {seconds} s" if seconds is not None else ""
    return visible(f"pid {pid} of {role} ({application}){place}{since}")


def capacity(cursor: CursorWrapper) -> Capacity:
    """The room in the server's lock table, for all databases together. Read-only."""
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
    Raises SessionsInTheWay, naming them.
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
) -> SessionsInTheWay:
    """The error that names these sessions, after a wait of ``lock_timeout`` milliseconds."""
    database = connection.settings_dict["NAME"]
    names = "; ".join(map(str, sessions)) or "a session that has ended since"
    return SessionsInTheWay(
        f"Waited {lock_timeout / 1000:g} s for other sessions to leave schema {schema} of "
        f"{database} and gave up; nothing has changed. In the way: {names}."
    )


@contextmanager
def naming_blockers(
    connections: Sequence[BaseDatabaseWrapper], schema: str, lock_timeout: int
) -> Iterator[None]:
    """Raise LockTimedOut, with who is in the way, for a lock timeout or a deadlock of the block.

    The block must contain its transaction: a failed one could not look for who is in the way.
    """
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
        raise LockTimedOut(
            f"Waited {lock_timeout / 1000:g} s for a lock on schema {schema} and gave up. "
            f"In the way: {names}."
        ) from error


def others_in_schema(connection: BaseDatabaseWrapper, schema: str) -> tuple[Session, ...]:
    """The other transactions that hold a lock in ``schema`` or on it, longest first. Read-only.

    A table that an uncommitted transaction has created counts: it is not visible, but the lock on
    its schema is. The server's own workers do not count, which give way by themselves.
    """
    with pinned(connection) as cursor:
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
    with pinned(connection) as cursor:
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
            with transaction.atomic(using=connection.alias), pinned(connection) as cursor:
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
            with transaction.atomic(using=connection.alias), pinned(connection) as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 1000)", [session.pid])
        except DatabaseError as error:
            raise Blocked(
                f"{session} is in the way and could not be ended: "
                f"{explain(error) or error} Nothing has changed."
            ) from error
        ended.append(session)
    return tuple(ended)


# The holder's transaction is idle on purpose, which a server may be set to end.
HOLD = """
    SELECT set_config('application_name', %s, true),
           (SELECT count(set_config(name, '0', true)) FROM pg_settings
            WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout'))
"""

# pg_locks shows the key in two halves.
HOLDER = """
    SELECT l.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), host(a.client_addr),
           extract(epoch FROM clock_timestamp() - a.xact_start)::int
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND (l.classid::bigint << 32 | l.objid::bigint) = %s
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

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
