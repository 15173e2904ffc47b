"""Empty schema ``public`` of one database, undo that, or drop what was set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import Error as DatabaseError
from django.db import connections, transaction

from fltr_project.errors import Blocked
from fltr_project.postgres import locks
from fltr_project.postgres.target import Target

from . import aside
from .plan import Plan


def nuke(plan: Plan, lock_timeout: int = locks.LOCK_TIMEOUT) -> str | None:
    """Set schema ``public`` aside and make an empty one; the old schema's name, None without one.

    One transaction on the plan's database. Milliseconds for ``lock_timeout``. Raises Blocked when
    another session or another operation of this project is in the way; then nothing has changed.
    """
    target = plan.target
    with _operation(target, lock_timeout):
        return aside.set_aside(connections[target.alias])


def undo(plan: Plan, name: str, lock_timeout: int = locks.LOCK_TIMEOUT) -> str | None:
    """Make the schema ``name`` public again; the name of the one that it replaced.

    As ``nuke`` in every other way; raises CannotRun when there is no such schema.
    """
    target = plan.target
    with _operation(target, lock_timeout):
        return aside.bring_back(connections[target.alias], name)


def purge(
    target: Target,
    name: str,
    lock_timeout: int = locks.LOCK_TIMEOUT,
    progress: Callable[[int], Any] = lambda tables_left: None,
) -> None:
    """Drop the schema ``name`` that was set aside, in batches; may be stopped and begun again.

    ``progress`` is told the number of tables left. Raises Blocked when another session still uses
    one of its tables; then the rest stays.
    """
    with naming_blockers([target], name, lock_timeout):
        for tables_left in aside.purge(connections[target.alias], name, lock_timeout):
            progress(tables_left)


@contextmanager
def _operation(target: Target, lock_timeout: int) -> Iterator[None]:
    with (
        naming_blockers([target], aside.SCHEMA, lock_timeout),
        transaction.atomic(using=target.alias),
    ):
        begin(target, lock_timeout)
        yield


def begin(target: Target, lock_timeout: int) -> None:
    """Bound the waiting of the open transaction and make it the only operation on the database."""
    with connections[target.alias].cursor() as cursor:
        locks.limit_waiting(cursor, lock_timeout, locks.STATEMENT_TIMEOUT)
        locks.take_operation_lock(cursor, target.database)


@contextmanager
def naming_blockers(targets: Sequence[Target], schema: str, lock_timeout: int) -> Iterator[None]:
    """Turn a lock timeout of the block, which must end its transaction, into Blocked."""
    try:
        yield
    except DatabaseError as error:
        if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            raise
        sessions = [
            f"{session}, in {target.database}"
            for target in targets
            for session in locks.others_in_schema(connections[target.alias], schema)
        ]
        names = "; ".join(sessions) or "a session that has ended since"
        raise Blocked(
            f"Waited {lock_timeout / 1000:g} s for a lock on schema {schema} and gave up. "
            f"In the way: {names}. End it or wait for it, then run the command again."
        ) from error
