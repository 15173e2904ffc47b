"""Run a repair: most of it as one transaction, then the statements that each stand for themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from fltr_project.errors import CannotRun, RolledBack
from fltr_project.postgres import locks, sessions
from fltr_project.postgres.target import Target
from fltr_project.words import visible

from .names import PUBLIC
from .repair import Repair, together
from .statement import Hazard, Statement, needed


def apply(
    target: Target,
    repairs: Iterable[Repair],
    lock_timeout: int | None = None,
    allowed: frozenset[Hazard] = frozenset(),
    progress: Callable[[str], Any] = lambda statement: None,
) -> int:
    """Run every statement whose hazards are all ``allowed``; the number that were run.

    Nothing else of this project changes the database meanwhile. No statement waits longer for others than it
    says, nor than ``lock_timeout`` milliseconds where that is given; ``progress`` is told each before it
    runs. Raises Blocked when another session is in the way. What the rows or the rights do not allow
    (an orphan, a duplicate) is RolledBack in the transaction, which is done whole or not at all, and
    CannotRun after it, where each statement stands for itself and running again goes on.
    """
    chosen = needed(together(repairs), allowed)
    statements = [each for each in chosen if not each.is_held(allowed)]
    connection = connections[target.alias]
    if not all(each.transactional for each in statements):
        sessions.require_session(connection)
    longest = max((_wait(each, lock_timeout) for each in statements), default=0)
    with (
        locks.exclusive(target),
        locks.naming_blockers([connection], PUBLIC, longest),
    ):
        with transaction.atomic(using=target.alias), connection.cursor() as cursor:
            prepare(cursor)
            for statement in statements:
                if not statement.stands_alone:
                    progress(statement.sql)
                    with _explained(statement, RolledBack, "Nothing was changed."):
                        _run(cursor, statement, lock_timeout)
        for statement in statements:
            if statement.stands_alone:
                progress(statement.sql)
                with _explained(statement, CannotRun, "What came before it is done."):
                    _run_alone(connection, statement, lock_timeout)
    return len(statements)


def _wait(statement: Statement, lock_timeout: int | None) -> int:
    return min(statement.lock_timeout, lock_timeout or statement.lock_timeout)


def prepare(cursor: CursorWrapper) -> None:
    """For this transaction: every name has its schema, functions may call what comes later."""
    cursor.execute("SET LOCAL search_path = ''; SET LOCAL check_function_bodies = off")


def _run(cursor: CursorWrapper, statement: Statement, lock_timeout: int | None) -> None:
    locks.limit_waiting(cursor, _wait(statement, lock_timeout), locks.STATEMENT_TIMEOUT)
    cursor.execute(statement.sql)


def _run_alone(
    connection: BaseDatabaseWrapper, statement: Statement, lock_timeout: int | None
) -> None:
    wait = _wait(statement, lock_timeout)
    if statement.transactional:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            prepare(cursor)
            # Rows are looked at while others write: that may take as long as it takes.
            locks.limit_waiting(cursor, wait, 0)
            cursor.execute(statement.sql)
        return
    with sessions.outside_transactions(connection, wait), connection.cursor() as cursor:
        cursor.execute(statement.sql)


@contextmanager
def _explained(
    statement: Statement, failure: type[CannotRun | RolledBack], state: str
) -> Iterator[None]:
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
        way_out = (
            "Connect as a role that may do it"
            if isinstance(cause, psycopg.errors.InsufficientPrivilege)
            else "Mend what is in the way"
        )
        raise failure(
            f"The repair stopped at `{visible(statement.sql)}`: {visible(reason)}. {state} "
            f"{way_out}, then run the command again."
        ) from error
