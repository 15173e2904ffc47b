"""Which migrations a database has yet to run, by its own record."""

from __future__ import annotations

from dataclasses import replace

from django.db import ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from fltr_project.postgres.search_path import pinned
from fltr_project.routers import database_of

from .report import Verified


def with_pending(verified: Verified, connection: BaseDatabaseWrapper) -> Verified:
    """The verification with the migrations that are not applied; asked where something is wrong."""
    recorded = "django_migrations" in verified.catalog.tracking_tables
    if not recorded or not verified.wrong:
        return verified
    return replace(verified, pending=pending(connection))


def pending(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """The migrations on disk that the database has not recorded, where it has recorded others.

    Read-only, one round trip. Empty where another program made the tables, and where the role may
    not read the record.
    """
    on_disk = {
        key
        for key in MigrationLoader(None).disk_migrations
        if database_of(key[0]) == connection.alias
    }
    try:
        with pinned(connection) as cursor:
            cursor.execute("SELECT app, name FROM public.django_migrations")
            applied = on_disk.intersection(cursor.fetchall())
    except ProgrammingError:
        return ()
    return tuple(".".join(key) for key in sorted(on_disk - applied)) if applied else ()
