"""Users that a proof has to commit: marked, and removed at its end, after an interrupt too.

Those of a run that was killed are removed by the next one, unless others are running.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connections, transaction

from fltr_project import registry
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.words import counted

# Whoever finds one of these users knows where it is from; .invalid is nobody's domain (RFC 2606).
RACE, APPS = "smoke_credits", "smoke_apps"
DOMAIN = "@example.invalid"
# An arbitrary key of the advisory lock that everybody holds who has such a user; it is per database.
KEY = 0x72616365


@dataclass(frozen=True)
class Marked:
    # The address of the user that the block may make.
    address: str
    # How many users of killed runs were removed.
    left_over: int

    @property
    def sentence(self) -> str:
        """What to add to a line about it."""
        if not self.left_over:
            return ""
        return f"; removed {counted(self.left_over, 'users')} left by killed runs"


def new_address(label: str) -> str:
    return f"{label}-{uuid.uuid4()}{DOMAIN}"


@contextmanager
def room(label: str, using: str) -> Iterator[Marked]:
    """An address that the block may commit a user for, in database ``using``; the user is removed at its end.

    With what the apps have registered as a user's own in other databases. Raises django.db.Error where
    the database cannot be reached.

    The lock of ``KEY`` is shared from before the user is committed until it is removed, and left-over users
    are removed only by a transaction that has that lock alone: no running proof loses its own.
    """
    # Known beforehand: an interrupt of the commit does not tell whether there is a user.
    address = new_address(label)
    left_over = _remove_left_over(using)
    with locks.held(using) as holder:
        locks.limit_waiting(holder, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        holder.execute("SELECT pg_advisory_xact_lock_shared(%s)", [KEY])
        try:
            yield Marked(address, left_over)
        finally:
            with transaction.atomic(using=using):
                _remove("email = %s", [address], using)


def _remove_left_over(using: str) -> int:
    """Remove the users of killed runs, unless a proof runs; how many."""
    with transaction.atomic(using=using):
        with pinned(connections[using]) as cursor:
            locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [KEY])
            if not cursor.fetchone()[0]:
                return 0
        labels = [label.replace("_", r"\_") + "-%" + DOMAIN for label in (RACE, APPS)]
        return _remove("email LIKE ANY (%s)", [labels], using)


def _remove(condition: str, parameters: list[Any], using: str) -> int:
    """Remove the users, after what they own elsewhere: a kill in between leaves them to the next run."""
    with pinned(connections[using]) as cursor:
        locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        cursor.execute(f"SELECT id, email FROM public.users WHERE {condition}", parameters)  # noqa: S608
        users = dict(cursor.fetchall())
        if not users:
            return 0
        for alias in registry.belongings.aliases():
            for remove in registry.belongings.of(alias):
                remove(list(users))
        cursor.execute(
            "DELETE FROM public.verifications WHERE identifier = ANY (%s)", [[*users.values()]]
        )
        cursor.execute("DELETE FROM public.users WHERE id = ANY (%s)", [[*users]])
        return int(cursor.rowcount)
