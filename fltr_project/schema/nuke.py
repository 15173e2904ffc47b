"""Empty schema ``public`` of one database, undo that, or drop what was set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import Error as DatabaseError
from django.db import connections, transaction

from fltr_project.errors import Blocked, Refused
from fltr_project.postgres import locks
from fltr_project.postgres.target import Target

from . import aside, guards, inventory
from . import purge as purging
from .aside import Journal
from .belongings import SCHEMA
from .plan import Plan


def nuke(
    plan: Plan, why: Journal, lock_timeout: int = locks.LOCK_TIMEOUT, terminate: bool = False
) -> str | None:
    """Set schema ``public`` aside and make an empty one; the old schema's name, None without one.

    One transaction on the plan's database. Milliseconds for ``lock_timeout``. Raises Blocked when
    another session or another operation of this project is in the way, and Refused when a protected
    database has changed since the plan; then nothing has changed.
    """
    target = plan.target
    with (
        naming_blockers([target], SCHEMA, lock_timeout),
        transaction.atomic(using=target.alias),
    ):
        begin(plan, lock_timeout, terminate)
        return aside.set_aside(connections[target.alias], why)


def undo(
    plan: Plan,
    name: str,
    why: Journal,
    lock_timeout: int = locks.LOCK_TIMEOUT,
    terminate: bool = False,
) -> str | None:
    """Make the schema ``name`` public again; the name of the one that it replaced.

    As ``nuke`` in every other way; raises CannotRun when there is no such schema.
    """
    target = plan.target
    with (
        naming_blockers([target], SCHEMA, lock_timeout),
        transaction.atomic(using=target.alias),
    ):
        begin(plan, lock_timeout, terminate, unchanged=False)
        return aside.bring_back(connections[target.alias], name, why)


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
        for tables_left in purging.purge(connections[target.alias], name, lock_timeout):
            progress(tables_left)


def begin(plan: Plan, lock_timeout: int, terminate: bool, unchanged: bool = True) -> None:
    """Begin the act in the open transaction: bounded waiting, alone, with nobody in the way.

    With ``unchanged`` a protected database must hold just what the plan says: whoever consented
    to it has seen that, and the backup has it.
    """
    target = plan.target
    connection = connections[target.alias]
    with connection.cursor() as cursor:
        locks.limit_waiting(cursor, lock_timeout, locks.STATEMENT_TIMEOUT)
        locks.take_operation_lock(cursor, target.database)
        # Pending trigger events would refuse a migration's ALTER TABLE (measured).
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        locks.clear_the_way(connection, SCHEMA, lock_timeout, terminate)
        if unchanged and guards.is_protected(plan) and inventory.stock(cursor).mark != plan.mark:
            raise Refused(
                f"Guard 'content': {target} has changed since its plan was read, so it holds what "
                "nobody agreed to lose. Stop what writes to it, then begin again with --plan."
            )


@contextmanager
def naming_blockers(targets: Sequence[Target], schema: str, lock_timeout: int) -> Iterator[None]:
    """Turn a lock timeout of the block, which must end its transaction, into Blocked."""
    try:
        yield
    except DatabaseError as error:
        if not isinstance(
            error.__cause__, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected
        ):
            raise
        sessions = [
            f"{session}, in {target.database}"
            for target in targets
            for session in locks.others_in_schema(connections[target.alias], schema)
        ]
        names = "; ".join(sessions) or "a session that has ended since"
        raise Blocked(
            f"Waited {lock_timeout / 1000:g} s for a lock on schema {schema} and gave up. "
            f"In the way: {names}. End it, wait for it, or run the command again with --terminate."
        ) from error
