"""Run a repair: the transactional part as one transaction, then the statements that may not be in one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import Error as DatabaseError
from django.db import connections, transaction

from fltr_project.errors import CannotRun, RolledBack
from fltr_project.postgres import locks
from fltr_project.postgres.target import Target

from .belongings import SCHEMA
from .repair import Repair, script


def apply(
    target: Target,
    repairs: Iterable[Repair],
    lock_timeout: int = locks.LOCK_TIMEOUT,
    progress: Callable[[str], Any] = lambda statement: None,
) -> int:
    """Run every statement but those that lose rows; the number that were run.

    ``progress`` is told each statement before it runs; ``lock_timeout`` is in milliseconds. Raises
    Blocked when another session is in the way. What the rows do not allow (an orphan, a duplicate)
    is RolledBack in the transactional part, which is done whole or not at all, and CannotRun after
    it, where each statement stands for itself and running again goes on.
    """
    inside, outside = (
        [statement for statement in part if not statement.startswith("--")]
        for part in script(repairs)
    )
    connection = connections[target.alias]
    with locks.naming_blockers([connection], SCHEMA, lock_timeout):
        with transaction.atomic(using=target.alias), connection.cursor() as cursor:
            locks.limit_waiting(cursor, lock_timeout, locks.STATEMENT_TIMEOUT)
            locks.take_operation_lock(cursor, target.database)
            # The statements name everything with its schema; functions may call what comes later.
            cursor.execute(
                "SELECT set_config('search_path', '', true),"
                " set_config('check_function_bodies', 'off', true)"
            )
            for statement in inside:
                progress(statement)
                with _explained(statement, RolledBack, "Nothing was changed."):
                    cursor.execute(statement)
        with connection.cursor() as cursor:
            try:
                cursor.execute("SET search_path = ''")
                for statement in outside:
                    progress(statement)
                    with _explained(statement, CannotRun, "What came before it is done."):
                        cursor.execute(statement)
            finally:
                if not connection.connection.closed:
                    cursor.execute("RESET search_path")
    return len(inside) + len(outside)


@contextmanager
def _explained(statement: str, failure: type[CannotRun | RolledBack], state: str) -> Iterator[None]:
    """Say which statement the server refused; a lock timeout stays what it is."""
    try:
        yield
    except DatabaseError as error:
        cause = error.__cause__
        if not isinstance(cause, psycopg.Error) or isinstance(
            cause, psycopg.errors.LockNotAvailable | psycopg.OperationalError
        ):
            raise
        reason = cause.diag.message_primary or str(cause)
        raise failure(
            f"The repair stopped at {' '.join(statement.split())!r}: {reason}. {state} "
            "Mend the rows that are in the way, then run the command again."
        ) from error
