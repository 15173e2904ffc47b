"""Empty schema ``public`` by setting it aside, and bring it back.

``ALTER SCHEMA public RENAME`` takes four locks and milliseconds at any size, where
``DROP SCHEMA public CASCADE`` takes 15 locks a table and fails at 1,000 tables on default settings
(measured). Until the purge (rebuild.purge), undoing is one rename.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from fltr_project.catalog import aside
from fltr_project.catalog.aside import OperationRecord, SetAside
from fltr_project.errors import CannotRun
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned

from . import inventory, last_look, losses, members, records, remember, schema_properties
from .acting import NEW_SCHEMA, OLD_SCHEMA, acting
from .endings import Standings
from .errors import PurgeBegun
from .plan import Plan
from .purge import LastLook
from .schema_properties import SCHEMA


@dataclass(frozen=True)
class HalfDone:
    """What a run left behind that was killed between the commits of its databases."""

    # The database that was rebuilt, and where its old schema is.
    alias: str
    name: str
    record: OperationRecord
    # The databases that were not rebuilt, and those of them that could not be asked.
    missing: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Emptied:
    """A schema that was set aside, committed."""

    # What the old schema is called now; None when there was none.
    aside: str | None
    last_look: LastLook


@dataclass(frozen=True)
class Undone:
    """An old schema that is public again, committed."""

    # What the schema that it has replaced is called now; None when there was none.
    replaced: str | None
    # What that held when nobody else could write to it any more.
    held: Plan
    last_look: LastLook


def nuke(
    plan: Plan,
    record: OperationRecord,
    lock_timeout: int = locks.LOCK_TIMEOUT,
    terminate: bool = False,
    *,
    backed_up: bool = False,
    standings: Standings | None = None,
) -> Emptied:
    """Set schema ``public`` aside and make an empty one.

    One transaction on the plan's database, committed here. Milliseconds for ``lock_timeout``; with
    ``terminate`` the sessions in the way are ended; ``backed_up`` says that a backup was made after the
    plan; ``standings`` are told where the database stands. Raises Blocked when another session or another operation of this project is in the way, what
    ``last_look.look`` raises, and CommitUnknown; after all but the last nothing has changed.
    """
    connection = connections[plan.target.alias]
    # Leaving this block commits: then the nuke has happened.
    with acting(plan, standings, NEW_SCHEMA, lock_timeout) as known:
        last = begin(plan, lock_timeout, terminate, backed_up=backed_up)
        hung = losses.judge(connection, plan.target.alias)
        known["old"] = set_aside(connection, record)
        remember.write_down(connection, losses.to_remember(hung, plan.target.role))
    return Emptied(known["old"], last)


def undo(
    plan: Plan,
    name: str,
    record: OperationRecord,
    lock_timeout: int = locks.LOCK_TIMEOUT,
    terminate: bool = False,
    standings: Standings | None = None,
) -> Undone:
    """Make the schema ``name`` public again.

    As ``nuke`` in every other way; raises CannotRun when there is no such schema.
    """
    connection = connections[plan.target.alias]
    with acting(plan, standings, OLD_SCHEMA, lock_timeout) as known:
        known["old"] = name
        begin_alone(plan, lock_timeout, terminate)
        with pinned(connection) as cursor:
            content = inventory.content(cursor)
        held = replace(plan, rows=content.rows, fingerprint=content.fingerprint)
        replaced = bring_back(connection, name, record)
        known["kept"] = replaced if held.product_rows else None
    return Undone(replaced, held, LastLook(content.digests))


def begin(plan: Plan, lock_timeout: int, terminate: bool, *, backed_up: bool = False) -> LastLook:
    """Begin to lose what the plan says, in the open transaction; what was there at the last look.

    Writers are locked out from here on. Raises as ``begin_alone`` and ``last_look.look`` do.
    """
    begin_alone(plan, lock_timeout, terminate)
    return last_look.look(plan, backed_up=backed_up)


def begin_alone(plan: Plan, lock_timeout: int, terminate: bool) -> None:
    """Begin an act in the open transaction: bounded waiting, alone, with nobody in the way."""
    connection = connections[plan.target.alias]
    with pinned(connection) as cursor:
        locks.limit_waiting(cursor, lock_timeout, locks.STATEMENT_TIMEOUT)
        locks.take_operation_lock(cursor, plan.target.database)
        # Pending trigger events would refuse a migration's ALTER TABLE (measured).
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        locks.clear_the_way(connection, SCHEMA, lock_timeout, terminate)


def set_aside(
    connection: BaseDatabaseWrapper, record: OperationRecord, *, like_before: bool = True
) -> str | None:
    """Rename ``public`` away and create it anew with all that hung on it; the old schema's new name.

    Where something holds it, it stays, and what is in it is moved to a schema of that name (``members``).
    Without ``like_before`` the new one has PostgreSQL's own owner, grants and comment. Runs in the
    caller's transaction, which must have its lock timeout set. None when there was no schema
    ``public``: then one is made as PostgreSQL makes it.
    """
    with pinned(connection) as cursor:
        before = schema_properties.properties(cursor, SCHEMA)
        if before is None:
            schema_properties.create_default(cursor)
            return None
        name = aside.new_name()
        if like_before and members.holds(cursor):
            _move_out(cursor, name)
            records.write(cursor, name, record.about(before.comment))
            return name
        _rename(cursor, SCHEMA, name)
        if like_before:
            schema_properties.create_like(cursor, before)
        else:
            schema_properties.create_default(cursor)
        schema_properties.move(cursor, name, SCHEMA)
        records.write(cursor, name, record.about(before.comment))
        return name


def bring_back(connection: BaseDatabaseWrapper, name: str, record: OperationRecord) -> str | None:
    """Make the schema that was set aside ``public`` again; the name of the one it replaces.

    Runs in the caller's transaction. Raises CannotRun when there is no such schema, and PurgeBegun.
    """
    with pinned(connection) as cursor:
        found = next((each for each in aside.waiting(cursor) if each.name == name), None)
        if found is None:
            raise CannotRun(f"There is no schema {name!r} to bring back.")
        if not found.is_whole:
            raise PurgeBegun(f"Schema {name!r} was being dropped, so some of it is gone.")
        replaced = schema_properties.properties(cursor, SCHEMA)
        discarded = None
        if replaced is not None and members.holds(cursor):
            discarded = aside.new_name()
            _move_out(cursor, discarded)
            members.move(cursor, name, SCHEMA)
            cursor.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(name)))
            schema_properties.republish(cursor, discarded, SCHEMA)
            records.write(cursor, discarded, record.about(replaced.comment))
            if found.record:
                schema_properties.set_comment(cursor, SCHEMA, found.record.comment)
            return discarded
        if replaced is not None:
            discarded = aside.new_name()
            _rename(cursor, SCHEMA, discarded)
        _rename(cursor, name, SCHEMA)
        if found.record:
            schema_properties.set_comment(cursor, SCHEMA, found.record.comment)
        if discarded is not None and replaced is not None:
            schema_properties.move(cursor, discarded, SCHEMA)
            schema_properties.republish(cursor, discarded, SCHEMA)
            records.write(cursor, discarded, record.about(replaced.comment))
    return discarded


def discard(connection: BaseDatabaseWrapper, record: OperationRecord) -> str:
    """Rename ``public`` away and leave none, as there was none before; its new name.

    Runs in the caller's transaction.
    """
    name = aside.new_name()
    with pinned(connection) as cursor:
        _rename(cursor, SCHEMA, name)
        records.write(cursor, name, record)
    return name


def half_done(found: Mapping[str, Sequence[SetAside] | None]) -> tuple[HalfDone, ...]:
    """What a killed run left half done, the last of each database; empty when everything is whole. Pure.

    ``found`` holds the schemas that were set aside, by alias; None for a database that could not be
    asked. A run writes into its records that it is complete as soon as all databases have
    committed; a record that does not say so, with no schema of the same run elsewhere, is half.
    """
    halves = {}
    for alias, waiting in found.items():
        for each in waiting or ():
            record = each.record
            if record is None or record.state is not aside.State.COMMITTED:
                continue
            others = [other for other in record.aliases if other != alias]
            missing = tuple(other for other in others if not _has(found.get(other), record))
            if missing and len(missing) == len(others):
                unknown = tuple(other for other in missing if found.get(other) is None)
                halves[alias] = HalfDone(alias, each.name, record, missing, unknown)
    return tuple(halves.values())


def _has(waiting: Sequence[SetAside] | None, record: OperationRecord) -> bool:
    """Whether a schema of the same run is there; what a compensation has kept names one database."""
    return any(
        each.record
        and (each.record.operation, each.record.aliases) == (record.operation, record.aliases)
        for each in waiting or ()
    )


def _move_out(cursor: CursorWrapper, name: str) -> None:
    cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    members.move(cursor, SCHEMA, name)


def _rename(cursor: CursorWrapper, old: str, new: str) -> None:
    cursor.execute(
        sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
    )
