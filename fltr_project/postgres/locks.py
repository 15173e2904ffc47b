"""Bounded waiting: how long a statement may wait, who is in the way, and one operation at a time."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from fltr_project.errors import Blocked

# Milliseconds. Five seconds is what a queue of readers behind a lock is let wait (facts, R10).
LOCK_TIMEOUT = 5_000
STATEMENT_TIMEOUT = 300_000
# An arbitrary key that every operation of this project on a schema takes; it is per database.
OPERATION_KEY = 0x636C65616E


@dataclass(frozen=True)
class Session:
    pid: int
    role: str
    application: str
    state: str
    seconds: int

    def __str__(self) -> str:
        application = f" ({self.application})" if self.application else ""
        return f"pid {self.pid} of {self.role}{application}, {self.state} for {self.seconds} s"


def limit_waiting(cursor: CursorWrapper, lock_timeout: int, statement_timeout: int) -> None:
    """Bound every wait of the current transaction, in milliseconds."""
    cursor.execute(
        "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
        [str(lock_timeout), str(statement_timeout)],
    )


def take_operation_lock(cursor: CursorWrapper, database: str) -> None:
    """Make this transaction the only operation on the database; raises Blocked when there is one."""
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [OPERATION_KEY])
    if not cursor.fetchone()[0]:
        raise Blocked(
            f"Another operation of this project is at work on database {database!r}. "
            "Wait until it has ended, then run the command again."
        )


def others_in_schema(connection: BaseDatabaseWrapper, schema: str) -> tuple[Session, ...]:
    """The other sessions that hold a lock in ``schema`` or on it, longest first. Read-only."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT a.pid, a.usename, a.application_name, a.state,
                   extract(epoch FROM clock_timestamp() - a.state_change)::int AS seconds
            FROM pg_locks l
            JOIN pg_stat_activity a USING (pid)
            LEFT JOIN pg_class c ON l.locktype = 'relation' AND c.oid = l.relation
            JOIN pg_namespace n ON n.nspname = %s
             AND (c.relnamespace = n.oid
                  OR l.classid = 'pg_namespace'::regclass AND l.objid = n.oid)
            WHERE l.granted AND a.pid <> pg_backend_pid()
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            ORDER BY seconds DESC
            """,
            [schema],
        )
        return tuple(
            Session(pid, role or "", application, state or "active", seconds or 0)
            for pid, role, application, state, seconds in cursor.fetchall()
        )
