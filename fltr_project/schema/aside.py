"""Set a schema aside instead of dropping it, and bring it back.

``ALTER SCHEMA public RENAME`` takes four locks and milliseconds at any size, where
``DROP SCHEMA public CASCADE`` takes 15 locks a table and fails at 1,000 tables on default settings
(measured). Until the purge (schema.purge), undoing is one rename.

What a schema that was set aside is there for stands in its comment, which the rename commits with:
whoever finds it after a crash knows what it was part of.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from fltr_project.errors import CannotRun

from . import belongings
from .belongings import SCHEMA

PREFIX = "public_aside_"
_NAME = re.compile(rf"^{PREFIX}\d{{8}}_\d{{6}}_\d{{6}}$")

# The old schema of a rebuild of several databases, until all of them have committed.
COMMITTED = "committed"
# Complete, and waiting for an undo or a purge.
KEPT = "kept"
# Some of it may be gone.
PURGING = "purging"


@dataclass(frozen=True)
class Journal:
    """Why a schema was set aside: by which run of which command, together with which databases."""

    operation: str
    command: str
    aliases: tuple[str, ...]
    at: str
    state: str
    # The comment that the schema had as ``public``.
    comment: str | None = None


@dataclass(frozen=True)
class Waiting:
    """A schema that was set aside; no journal when somebody has overwritten its comment."""

    name: str
    journal: Journal | None

    @property
    def is_whole(self) -> bool:
        return self.journal is None or self.journal.state != PURGING


def journal(command: str, operation: str, aliases: tuple[str, ...]) -> Journal:
    """The journal of an operation that begins now; ``operation`` is the run's own identifier."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Journal(operation, command, aliases, at, KEPT if len(aliases) == 1 else COMMITTED)


def is_aside(schema: str) -> bool:
    return bool(_NAME.match(schema))


def way_out(alias: str) -> str:
    """What a person can do with the schemas of the database ``alias`` that were set aside."""
    nuke = f"manage.py nuke_schema --database {alias}"
    return f"`{nuke} --undo` brings it back, `{nuke} --purge` drops it for good"


def hint(alias: str) -> str:
    """That such a schema is there, for a person who finds the database ``alias`` empty."""
    return f"A schema that was set aside is there: {way_out(alias)}."


def waiting(cursor: CursorWrapper) -> tuple[Waiting, ...]:
    """The schemas that wait for an undo or a purge, newest first. Read-only."""
    cursor.execute(
        "SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace"
        " WHERE starts_with(nspname, %s) ORDER BY nspname DESC",
        [PREFIX],
    )
    return tuple(Waiting(name, _parse(text)) for name, text in cursor.fetchall() if is_aside(name))


def find(connection: BaseDatabaseWrapper) -> tuple[Waiting, ...]:
    with connection.cursor() as cursor:
        return waiting(cursor)


def set_aside(
    connection: BaseDatabaseWrapper, why: Journal, *, like_before: bool = True
) -> str | None:
    """Rename ``public`` away, create it anew with all that hung on it; the old schema's new name.

    Not ``like_before``, the new one has PostgreSQL's own owner, grants and comment.
    Runs in the caller's transaction, which must have its lock timeout set. None when there was no
    schema ``public`` to set aside: then only a new one is made, as PostgreSQL's own is.
    """
    with connection.cursor() as cursor:
        before = belongings.properties(cursor, SCHEMA)
        if before is None:
            belongings.create_default(cursor)
            return None
        name = _new_name()
        _rename(cursor, SCHEMA, name)
        if like_before:
            belongings.create_like(cursor, before)
        else:
            belongings.create_default(cursor)
        belongings.move(cursor, name, SCHEMA)
        write_journal(cursor, name, Journal(**{**asdict(why), "comment": before.comment}))
        return name


def bring_back(connection: BaseDatabaseWrapper, name: str, why: Journal) -> str | None:
    """Make the schema that was set aside ``public`` again; the name of the one it replaces.

    Runs in the caller's transaction. Raises CannotRun when there is no such schema, or when its
    purge has begun.
    """
    with connection.cursor() as cursor:
        found = next((each for each in waiting(cursor) if each.name == name), None)
        if found is None:
            raise CannotRun(f"There is no schema {name!r} to bring back.")
        if not found.is_whole:
            raise CannotRun(
                f"Schema {name!r} was being dropped, so some of it is gone. "
                "Finish that with --purge, and restore the backup with `restore_database`."
            )
        replaced = belongings.properties(cursor, SCHEMA)
        discarded = None
        if replaced is not None:
            discarded = _new_name()
            _rename(cursor, SCHEMA, discarded)
        _rename(cursor, name, SCHEMA)
        if found.journal:
            belongings.set_comment(cursor, SCHEMA, found.journal.comment)
        if discarded is not None and replaced is not None:
            belongings.move(cursor, discarded, SCHEMA)
            belongings.republish(cursor, discarded, SCHEMA)
            write_journal(
                cursor, discarded, Journal(**{**asdict(why), "comment": replaced.comment})
            )
    return discarded


def discard(connection: BaseDatabaseWrapper, why: Journal) -> str:
    """Rename ``public`` away and leave none, as there was none before; its new name."""
    name = _new_name()
    with connection.cursor() as cursor:
        _rename(cursor, SCHEMA, name)
        write_journal(cursor, name, why)
    return name


def change_state(cursor: CursorWrapper, name: str, state: str) -> None:
    """Write the state into the journal of a schema that was set aside, in the caller's transaction."""
    found = next((each for each in waiting(cursor) if each.name == name), None)
    if found is None or (found.journal and found.journal.state == state):
        return
    why = found.journal or Journal("", "", (), "", KEPT)
    write_journal(cursor, name, Journal(**{**asdict(why), "state": state}))


def write_journal(cursor: CursorWrapper, name: str, why: Journal) -> None:
    belongings.set_comment(cursor, name, json.dumps({"clean_slate": asdict(why)}))


def _parse(comment: str | None) -> Journal | None:
    try:
        entry: dict[str, Any] = json.loads(comment or "")["clean_slate"]
        return Journal(**{**entry, "aliases": tuple(entry["aliases"])})
    except (ValueError, TypeError, KeyError):
        return None


def _new_name() -> str:
    return PREFIX + datetime.now(UTC).strftime("%Y%m%d_%H%M%S_%f")


def _rename(cursor: CursorWrapper, old: str, new: str) -> None:
    cursor.execute(
        sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
    )
