"""Run a repair: the transactional part as one transaction, then the statements that may not be in one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db import connections, transaction

from fltr_project.postgres import locks
from fltr_project.postgres.target import Target

from . import aside
from .nuke import naming_blockers
from .repair import Repair, script


def apply(
    target: Target,
    repairs: Iterable[Repair],
    lock_timeout: int = locks.LOCK_TIMEOUT,
    progress: Callable[[str], Any] = lambda statement: None,
) -> int:
    """Run every statement but those that lose rows; the number that were run.

    ``progress`` is told each statement before it runs; ``lock_timeout`` is in milliseconds. Raises
    Blocked when another session is in the way, django.db.Error for what the rows do not allow
    (an orphan, a duplicate). The transactional part is done whole or not at all; each statement
    after it stands for itself, and running again goes on.
    """
    inside, outside = (
        [statement for statement in part if not statement.startswith("--")]
        for part in script(repairs)
    )
    connection = connections[target.alias]
    with naming_blockers([target], aside.SCHEMA, lock_timeout):
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
                cursor.execute(statement)
        with connection.cursor() as cursor:
            try:
                cursor.execute("SET search_path = ''")
                for statement in outside:
                    progress(statement)
                    cursor.execute(statement)
            finally:
                if not connection.connection.closed:
                    cursor.execute("RESET search_path")
    return len(inside) + len(outside)
