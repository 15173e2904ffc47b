"""Statements that call the server's own functions and operators, whoever may create others in ``public``.

An object of another role whose argument types fit a call exactly wins over one of ``pg_catalog`` that
fits less well (a variadic one, or with a conversion), and runs with the rights of whoever calls it. So what
this project asks a database is asked where only ``pg_catalog`` is searched, and names tables with
their schema. Never for a session: behind a pooler that is somebody else's a moment later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg.pq import TransactionStatus

PATH = "pg_catalog, pg_temp"
# Takes no snapshot, so that the transaction's isolation level may still be set after it.
PIN = f"SET LOCAL search_path = {PATH}"
_PIN_AND_TELL = f"""
    SELECT pg_catalog.current_setting('search_path'),
           pg_catalog.set_config('search_path', '{PATH}', true)
"""


def pin(cursor: CursorWrapper) -> None:
    """Search only ``pg_catalog`` until the cursor's transaction, or its savepoint, has ended."""
    cursor.execute(PIN)


@contextmanager
def pinned(connection: BaseDatabaseWrapper) -> Iterator[CursorWrapper]:
    """A cursor for the block, in which only ``pg_catalog`` is searched.

    In the caller's transaction, which has its own search_path back afterwards, or outside of one in a
    transaction of its own. Raises what the statements raise.
    """
    with ExitStack() as stack:
        alone = connection.get_autocommit()
        if alone:
            stack.enter_context(transaction.atomic(using=connection.alias))
        cursor = stack.enter_context(connection.cursor())
        if alone:
            pin(cursor)
            yield cursor
            return
        cursor.execute(_PIN_AND_TELL)
        before, _ = cursor.fetchone()
        try:
            yield cursor
        finally:
            if before != PATH and _is_open(connection):
                cursor.execute(
                    "SELECT pg_catalog.set_config('search_path', %s::text, true)", [before]
                )


@contextmanager
def unpinned(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Within ``pinned``, for statements of the ORM, which names no schema: search ``public`` too."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL search_path = public, pg_temp")
        try:
            yield
        finally:
            if _is_open(connection):
                pin(cursor)


def _is_open(connection: BaseDatabaseWrapper) -> bool:
    """Whether the transaction goes on; one that is to be rolled back takes its settings along."""
    raw = connection.connection
    if raw is None or raw.info.transaction_status != TransactionStatus.INTRANS:
        return False
    return not (connection.in_atomic_block and connection.get_rollback())
