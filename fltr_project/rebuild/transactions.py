"""Transactions that know afterwards whether they have committed, also when the answer was lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from django.db import Error as DatabaseError
from django.db import connections, transaction

from fltr_project.errors import explain
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned

from .errors import CommitUnknown

# Seconds that a session whose connection is gone is given to end the commit that it was at.
PATIENCE = 5.0
# Seconds between two questions.
PAUSE = 0.1


class Outcome(Enum):
    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    # The server cannot be asked, or does not know any more.
    UNKNOWN = "unknown"


class Transaction:
    """An open transaction on the database ``alias``, which its owner commits or rolls back."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._atomic = transaction.atomic(using=alias)
        self._atomic.__enter__()
        self._id: str | None = None
        self._ended: Outcome | None = None

    def commit(self) -> None:
        """Commit; whatever it raises, ``outcome`` tells what came of it."""
        with connections[self.alias].cursor() as cursor:
            cursor.execute("SELECT pg_catalog.pg_current_xact_id()::text")
            (self._id,) = cursor.fetchone()
        self._atomic.__exit__(None, None, None)
        self._ended = Outcome.COMMITTED

    def roll_back(self, error: BaseException) -> None:
        """Roll back because of ``error``; a connection that is gone has done so by itself."""
        if self._ended is None:
            self._ended = Outcome.ROLLED_BACK
            self._atomic.__exit__(type(error), error, error.__traceback__)

    def outcome(self, error: BaseException) -> Outcome:
        """What has become of it, after ``error`` came up; one that is still open is rolled back."""
        if self._ended is None and self._id is None:
            self.roll_back(error)
        elif self._ended is None:
            self._ended = _ask(self.alias, str(self._id))
        return self._ended or Outcome.UNKNOWN


@contextmanager
def certain(alias: str) -> Iterator[Transaction]:
    """As ``transaction.atomic``, but a commit whose answer was lost is looked up.

    Ends without an error when the transaction has committed, however that was learned. Raises
    CommitUnknown when nobody can tell, and the database's own error when it was rolled back; whatever it raises, ``outcome`` of
    what it yields tells what came of it.
    """
    work = Transaction(alias)
    try:
        yield work
    except BaseException as error:
        work.roll_back(error)
        raise
    try:
        work.commit()
    except DatabaseError as error:
        outcome = work.outcome(error)
        if outcome is Outcome.UNKNOWN:
            raise CommitUnknown(
                f"The connection to database {alias!r} was lost during the commit: "
                f"{explain(error) or error} Whether it has committed is not known.",
                alias,
            ) from error
        if outcome is Outcome.ROLLED_BACK:
            raise


def _ask(alias: str, transaction_id: str) -> Outcome:
    """Ask the server over a new connection what it did with the transaction."""
    connection = connections[alias]
    deadline = time.monotonic() + PATIENCE
    try:
        connection.close()
        while True:
            with transaction.atomic(using=alias), pinned(connection) as cursor:
                locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
                cursor.execute("SELECT pg_xact_status(%s::xid8)", [transaction_id])
                (status,) = cursor.fetchone()
            if status != "in progress" or time.monotonic() > deadline:
                return _OUTCOMES.get(status, Outcome.UNKNOWN)
            time.sleep(PAUSE)
    except DatabaseError:
        return Outcome.UNKNOWN


_OUTCOMES = {"committed": Outcome.COMMITTED, "aborted": Outcome.ROLLED_BACK}
