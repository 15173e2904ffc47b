"""Waiting for one's turn: operations that come at the same time run one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import Error as DatabaseError
from django.db import connections
from psycopg.errors import LockNotAvailable

from fltr_project.errors import Blocked

from . import locks
from .target import Target

# Milliseconds: another release migrates meanwhile, and a large index takes its time.
WAIT = 300_000


@contextmanager
def in_turn(target: Target, wait: int = WAIT) -> Iterator[None]:
    """Be the only operation on the database while the block runs, after those that are at work now.

    As ``locks.exclusive``, but it waits up to ``wait`` milliseconds. Raises Blocked, naming the holder, when that
    was not enough. Within another one of this process it is its turn already.
    """
    with locks.held(target.alias) as cursor:
        taken = False
        with suppress(Blocked):
            locks.take_operation_lock(cursor, target.database)
            taken = True
        if not taken:
            locks.limit_waiting(cursor, wait, 0)
            try:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [locks.OPERATION_KEY])
            except DatabaseError as error:
                if not isinstance(error.__cause__, LockNotAvailable):
                    raise
                who = locks.holder(connections[target.alias]) or "one that has ended since"
                raise Blocked(
                    f"Waited {wait / 1000:g} s for another operation on {target} and gave up: {who}. Wait until "
                    "it has ended, then run the command again."
                ) from error
        # As in ``exclusive``: who keeps a snapshot is waited for by CREATE INDEX CONCURRENTLY.
        cursor.execute("SET LOCAL statement_timeout = 0")
        yield
