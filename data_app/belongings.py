"""What belongs to users in ``fltr``, where no foreign key says so."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections, transaction

from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.routers import database_of


def remove(user_ids: Sequence[str]) -> int:
    """Delete the datasets of these users, with their documents and jobs; how many. One transaction in ``fltr``.

    Raises django.db.Error where the database cannot be reached.
    """
    using = database_of("data_app")
    with transaction.atomic(using=using), pinned(connections[using]) as cursor:
        locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        cursor.execute("DELETE FROM public.datasets WHERE owner_id = ANY (%s)", [list(user_ids)])
        return int(cursor.rowcount)
