"""Empty schema ``public`` of one database, undo that, or drop what was set aside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections, transaction

from fltr_project.errors import Refused
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
        locks.naming_blockers([connections[target.alias]], SCHEMA, lock_timeout),
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
        locks.naming_blockers([connections[target.alias]], SCHEMA, lock_timeout),
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
    with locks.naming_blockers([connections[target.alias]], name, lock_timeout):
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
