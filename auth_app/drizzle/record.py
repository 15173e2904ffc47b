"""Drizzle's record of what is applied, ``__drizzle_migrations``: written from a folder, kept by a rebuild."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from fltr_project.catalog import contract
from fltr_project.catalog.read import read as read_catalog
from fltr_project.errors import CannotRun, Refused, RolledBack
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.routers import database_of
from fltr_project.words import counted

from . import folder as folders
from . import snapshot
from .folder import Folder

logger = logging.getLogger(__name__)

ALIAS = database_of("auth_app")
# Drizzle 1.0 adds it to a record of 0.x, with the time at which a migration was applied.
HAS_NAMES = """
    SELECT EXISTS (SELECT FROM pg_attribute
        WHERE attrelid = to_regclass('public.__drizzle_migrations') AND attname = 'name'
          AND NOT attisdropped)
"""


@dataclass(frozen=True)
class Adoption:
    """The migrations of a folder, oldest first, and where the database stands."""

    entries: tuple[str, ...]
    # Recorded just now.
    recorded: tuple[str, ...] = ()
    # Not in the record.
    unrecorded: tuple[str, ...] = ()
    # What the database lacks of what the migrations make, in words.
    missing: tuple[str, ...] = ()


class NotAsTheFolderSays(Refused):
    """The database lacks what migrations of the folder make, so they must not count as applied."""

    def __init__(self, folder: Path, missing: Sequence[str]) -> None:
        listed = ", ".join(missing[:5]) + (
            f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        )
        super().__init__(
            f"Guard 'adoption': the migrations of {str(folder)!r} make what the database lacks, and Drizzle would "
            f"never make it once they are recorded: {listed}. Nothing was recorded. Add it by a migration of "
            "Django, or take it out of the Drizzle schema and run `drizzle-kit generate`."
        )
        self.missing = tuple(missing)


def compare(folder: Folder, using: str = ALIAS) -> Adoption:
    """What is not recorded of the folder, and what the database lacks of it. Read-only.

    Raises CannotRun where the snapshot makes no sense.
    """
    found = read_catalog(connections[using], contract.tables(using))
    with pinned(connections[using]) as cursor:
        known = _known(cursor)
    return Adoption(
        entries=tuple(each.tag for each in folder.entries),
        unrecorded=tuple(each.tag for each in folder.entries if each.created_at not in known),
        missing=snapshot.missing(wanted(folder), found),
    )


def adopt(folder: Folder, using: str = ALIAS) -> Adoption:
    """Record every migration of the folder in database ``using``, where all that they make is there.

    One transaction; what is recorded is left alone. Raises NotAsTheFolderSays, and then records nothing.
    """
    is_alone = not connections[using].in_atomic_block
    with transaction.atomic(using=using):
        with pinned(connections[using]) as cursor:
            # A rebuild has limits of its own for its transaction.
            if is_alone:
                locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
            # Two at once would both find an entry missing; readers go on reading.
            cursor.execute("LOCK TABLE public.__drizzle_migrations IN SHARE ROW EXCLUSIVE MODE")
        compared = compare(folder, using)
        if compared.missing:
            raise NotAsTheFolderSays(folder.path, compared.missing)
        with pinned(connections[using]) as cursor:
            _record(cursor, folder, compared.unrecorded)
    return Adoption(compared.entries, recorded=compared.unrecorded)


def wanted(folder: Folder) -> tuple[snapshot.WantedTable, ...]:
    """The tables as the folder's migrations leave them; raises CannotRun where that cannot be told."""
    try:
        return snapshot.tables(folder.snapshot)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise CannotRun(
            f"The newest snapshot in {str(folder.path)!r} is none that drizzle-kit 0.2x, 0.3x or 1.0 writes for "
            "PostgreSQL. Run `drizzle-kit up`, or `drizzle-kit generate` again."
        ) from error


def _known(cursor: CursorWrapper) -> set[int]:
    cursor.execute("SELECT created_at FROM public.__drizzle_migrations")
    return {when for (when,) in cursor.fetchall()}


def _record(cursor: CursorWrapper, folder: Folder, tags: Sequence[str]) -> None:
    entries = [each for each in folder.entries if each.tag in tags]
    if entries:
        cursor.executemany(
            "INSERT INTO public.__drizzle_migrations (hash, created_at) VALUES (%s, %s)",
            [(each.hash, each.created_at) for each in entries],
        )
    cursor.execute(HAS_NAMES)
    (has_names,) = cursor.fetchone()
    if folder.by_name and has_names:
        cursor.executemany(
            "UPDATE public.__drizzle_migrations SET name = %s WHERE created_at = %s AND name IS NULL",
            [(each.tag, each.created_at) for each in folder.entries],
        )


def after_migrate(using: str) -> None:
    """After a migration: record the migrations of DRIZZLE_FOLDER, where it is set and all is there.

    What is not there is logged, not raised: the migration is done.
    """
    with pinned(connections[using]) as cursor:
        cursor.execute("SELECT to_regclass('public.__drizzle_migrations') IS NOT NULL")
        if cursor.fetchone() != (True,):
            return
    try:
        adopt_configured(connections[using])
    except (CannotRun, Refused) as error:
        logger.warning("DRIZZLE_FOLDER was not adopted: %s", error)


def adopt_configured(connection: BaseDatabaseWrapper) -> str | None:
    """In a release: record the migrations of DRIZZLE_FOLDER; what was done, None where it is not set.

    Raises as ``adopt`` and ``folder.read`` do.
    """
    if not settings.DRIZZLE_FOLDER:
        return None
    adoption = adopt(folders.read(Path(settings.DRIZZLE_FOLDER)), connection.alias)
    return f"{counted(len(adoption.entries), 'migrations')} of DRIZZLE_FOLDER recorded"


def carry(connection: BaseDatabaseWrapper, old: str) -> str | None:
    """After a rebuild: take the record over from the schema ``old``, or write it from DRIZZLE_FOLDER.

    In the caller's transaction. What was done, in words; None where there was no record. Raises RolledBack
    where the new schema lacks what the folder's migrations make.
    """
    try:
        if done := adopt_configured(connection):
            return done
    except (CannotRun, Refused) as error:
        raise RolledBack(f"DRIZZLE_FOLDER was not adopted: {error}") from error
    with pinned(connection) as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s"
            " AND c.relname = '__drizzle_migrations' AND a.attname IN ('hash', 'created_at')"
            " AND NOT a.attisdropped",
            [old],
        )
        if cursor.fetchone() != (2,):
            return None
        cursor.execute(
            sql.SQL(
                "INSERT INTO public.__drizzle_migrations (hash, created_at)"
                " SELECT o.hash, o.created_at FROM {} o ORDER BY o.created_at"
            ).format(sql.Identifier(old, "__drizzle_migrations"))
        )
        rows: int = cursor.rowcount
    return f"Drizzle's record of {counted(rows, 'migrations')} kept" if rows else None


def script(folder: Folder) -> str:
    """SQL that does what ``adopt`` does, for a build that has psql and no Python; touches no database.

    It compares tables and columns only. Raises CannotRun where the snapshot makes no sense.
    """
    columns = [
        (table.name, name, type_)
        for table in wanted(folder)
        for name, type_ in table.columns.items()
    ]
    values = _rows(columns)
    lines = [
        "BEGIN;",
        "SET LOCAL search_path = '';",
        f"SET LOCAL lock_timeout = '{locks.LOCK_TIMEOUT}ms';",
        "LOCK TABLE public.__drizzle_migrations IN SHARE ROW EXCLUSIVE MODE;",
    ]
    if columns:
        lines.append(_block(COMPARED, values))
    if folder.entries:
        entries = _rows([(each.hash, each.created_at) for each in folder.entries])
        lines.append(RECORDED.replace("ROWS", entries))
    if folder.by_name:
        names = _rows([(each.tag, each.created_at) for each in folder.entries])
        lines.append(_block(NAMED, names))
    return "\n".join([*lines, "COMMIT;"])


def _rows(rows: Sequence[tuple[str | int, ...]]) -> str:
    """Rows of a VALUES list."""
    return ",\n        ".join(
        sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row))).as_string()
        for row in rows
    )


def _block(text: str, rows: str) -> str:
    """The DO block with these rows in it, between dollar quotes that stand nowhere in them."""
    tag = "block"
    while f"${tag}$" in rows:
        tag += "_"
    return text.replace("$TAG$", f"${tag}$").replace("ROWS", rows)


COMPARED = """\
DO $TAG$
DECLARE missing text;
BEGIN
    SELECT pg_catalog.string_agg(w.table_name || '.' || w.column_name || ' as ' || w.type_name, ', ')
    INTO missing
    FROM (VALUES
        ROWS
    ) AS w (table_name, column_name, type_name)
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'public' AND c.relname = w.table_name AND a.attname = w.column_name
          AND a.attnum > 0 AND NOT a.attisdropped
          AND pg_catalog.replace(pg_catalog.replace(
              pg_catalog.format_type(a.atttypid, a.atttypmod), 'public.', ''), '"', '') = w.type_name);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'The database lacks what these migrations make, and Drizzle would never make it: %', missing;
    END IF;
END $TAG$;"""
RECORDED = """\
INSERT INTO public.__drizzle_migrations (hash, created_at)
    SELECT e.hash, e.created_at FROM (VALUES
        ROWS
    ) AS e (hash, created_at)
    WHERE NOT EXISTS (SELECT FROM public.__drizzle_migrations m WHERE m.created_at = e.created_at);"""
# Drizzle 1.0 knows migrations by name, once it has given its record that column.
NAMED = """\
DO $TAG$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_attribute
               WHERE attrelid = pg_catalog.to_regclass('public.__drizzle_migrations')
                 AND attname = 'name' AND NOT attisdropped) THEN
        UPDATE public.__drizzle_migrations m SET name = e.name FROM (VALUES
        ROWS
        ) AS e (name, created_at)
        WHERE m.created_at = e.created_at AND m.name IS NULL;
    END IF;
END $TAG$;"""
