"""Bring a backup back: into a clean schema, in one transaction, proven before it commits.

The archive's SQL is run on this project's own connection, so that setting the old schema aside,
filling the new one and proving it are one transaction: readers see the old or the restored one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import psycopg
from django.db import Error as DatabaseError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from fltr_project.catalog.aside import OperationRecord
from fltr_project.errors import CannotRun, CleanSlateError, RolledBack, explain
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.rebuild import inventory, schema_properties, set_aside
from fltr_project.rebuild.acting import NEW_SCHEMA, acting
from fltr_project.rebuild.endings import Standings
from fltr_project.rebuild.errors import ContentChanged
from fltr_project.rebuild.plan import Plan
from fltr_project.rebuild.purge import NOTHING_READ, LastLook
from fltr_project.rebuild.schema_properties import SCHEMA
from fltr_project.words import counted

from . import archive, choice, contents, database_settings, digests, fingerprint, roles
from .archive import Archive
from .backup import product_rows, require_whole
from .choice import Choice
from .errors import OtherDatabasesBackup
from .fill import Changes, NotFilled, fill
from .manifest import Manifest
from .reading import SEQUENCE_SET, Seen
from .script import TABLE_DATA, Piece

# Locks of making one table, with its index, TOAST, types and constraints (measured: 6 to 8).
LOCKS_A_TABLE = 8


@dataclass(frozen=True)
class Owners:
    """Who gets what an archive holds: who had it, others in their place, or the role that restores."""

    # Nobody is made an owner but the role that restores; rights of roles that are not there are left out.
    mine: bool = False
    # Roles of the archive with those that get their place.
    renamed: Mapping[str, str] | None = None

    @property
    def as_they_were(self) -> bool:
        return not self.mine and not self.renamed


AS_THEY_WERE = Owners()


@dataclass(frozen=True)
class Restored:
    # What the schema that was there before is called now; None when there was none.
    aside: str | None
    tables: int
    rows: int
    product_rows: int
    # What the archive has and the database kept as it was.
    kept: tuple[str, ...]
    # What did not come back, or was not compared, a sentence each.
    apart_from: tuple[str, ...]
    # What was there before, when writers had been locked out.
    last_look: LastLook = NOTHING_READ


def require_possible(plan: Plan, manifest: Manifest) -> None:
    """Raise OtherDatabasesBackup, or CannotRun when the restore could not be one transaction."""
    if manifest.alias != plan.target.alias:
        raise OtherDatabasesBackup(
            manifest.database, manifest.alias, plan.target.database, plan.target.alias
        )
    tables = len(manifest.data.tables)
    needed = LOCKS_A_TABLE * tables
    if needed > plan.locks.guaranteed:
        raise CannotRun(
            f"Restoring {counted(tables, 'tables')} in one transaction takes about "
            f"{needed:,} locks, and {plan.target} guarantees {plan.locks.guaranteed:,}. Raise "
            "max_locks_per_transaction and restart the server; nothing was touched."
        )


def changes(owners: Owners, missing_roles: frozenset[str]) -> Changes:
    """What of the archive is run otherwise. Pure."""
    if owners.as_they_were:
        return Changes()

    def rewrite(piece: Piece) -> bytes:
        renamed = Piece(piece.kind, piece.name, roles.renamed(piece, owners.renamed or {}))
        return roles.without(renamed, missing_roles) if owners.mine else renamed.text

    return Changes(("--no-owner",) if owners.mine else (), rewrite)


def restore(
    plan: Plan,
    source: Archive,
    manifest: Manifest,
    record: OperationRecord,
    *,
    lock_timeout: int = locks.LOCK_TIMEOUT,
    terminate: bool = False,
    backed_up: bool = False,
    owners: Owners = AS_THEY_WERE,
    missing_roles: frozenset[str] = frozenset(),
    progress: Callable[[Seen], None] = lambda seen: None,
    standings: Standings | None = None,
) -> Restored:
    """Set ``public`` aside, fill a new one from the archive, and prove it equal to the manifest.

    One transaction. Large objects are replaced by the archive's. Schemas and extensions that are
    there stay as they are; those that are missing are restored too. ``lock_timeout`` is in
    milliseconds; with ``terminate`` the sessions in the way are ended; ``backed_up`` says that a backup
    was made after the plan. ``owners`` says who gets what, ``missing_roles`` are those that the server
    does not know. Raises Blocked, Refused or CannotRun as a nuke does, and RolledBack for every other
    failure; then nothing has changed. Raises CommitUnknown where the server did not answer.
    """
    target = plan.target
    connection = connections[target.alias]
    try:
        # Leaving this block commits.
        with acting(plan, standings, NEW_SCHEMA, lock_timeout) as known:
            last = set_aside.begin(plan, lock_timeout, terminate, backed_up=backed_up)
            with pinned(connection) as cursor:
                locks.limit_waiting(cursor, lock_timeout, archive.STATEMENT_TIMEOUT)
                if last.changed and inventory.large_objects(cursor).count:
                    raise ContentChanged(
                        f"Guard 'content': {target} has changed since its backup, and its large objects, which "
                        "would be replaced, are not kept with the old schema."
                    )
                restored = _restore(
                    cursor,
                    source,
                    manifest,
                    record,
                    owners,
                    changes(owners, missing_roles),
                    progress,
                )
            # What was read is what was checked, also where somebody has written into the file since.
            require_whole(source, manifest)
            known["old"] = restored.aside
        return replace(restored, last_look=last)
    except CleanSlateError:
        raise
    except (DatabaseError, psycopg.Error, NotFilled) as error:
        cause = error.error if isinstance(error, NotFilled) else error
        sentence = explain(cause) or f"{' '.join(str(cause).split())}."
        where = f" at {error.entry}" if isinstance(error, NotFilled) else ""
        raise RolledBack(
            f"Restoring {source.path.name} into {target} failed{where}: {sentence} Everything was rolled "
            "back; the database is as it was."
        ) from error
    finally:
        # The archive's SQL makes settings for the session.
        connection.close()


def _restore(
    cursor: CursorWrapper,
    source: Archive,
    manifest: Manifest,
    record: OperationRecord,
    owners: Owners,
    changed: Changes,
    progress: Callable[[Seen], None],
) -> Restored:
    connection: BaseDatabaseWrapper = cursor.db
    raw = connection.connection
    chosen = choose(cursor, manifest)
    _withdraw(cursor, manifest)
    name = set_aside.set_aside(connection, record, like_before=False)
    cursor.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
    fill(raw, source, chosen.entries, changed, progress)
    if name:
        schema_properties.republish(cursor, name, SCHEMA)
    settings = database_settings.statements(source, manifest.entries)
    refused = database_settings.apply(raw, connection.settings_dict["NAME"], settings)
    found = require_equal(connection, manifest, chosen, owners)
    uncompared = () if owners.as_they_were else ("owners and grants, which were asked to change",)
    return Restored(
        name,
        len(found.tables),
        sum(digest.count for digest in found.tables.values()),
        product_rows(found.tables),
        chosen.kept,
        (*chosen.left_out, *refused, *uncompared),
    )


def choose(cursor: CursorWrapper, manifest: Manifest) -> Choice:
    """The entries that the database gets: all of ``public``, and what else is missing. Read-only."""
    carried = {each.name for each in manifest.entries if each.kind == "EVENT TRIGGER"}
    # Those go with the functions that they call, and come back with the archive's.
    recreated = [
        name for name, _ in schema_properties.event_triggers(cursor, SCHEMA) if name in carried
    ]
    return choice.choose(manifest.entries, choice.standing(contents.objects(cursor), recreated))


def require_equal(
    connection: BaseDatabaseWrapper, manifest: Manifest, chosen: Choice, owners: Owners
) -> digests.Data:
    """The data of what was chosen; raises RolledBack unless all is as the manifest says.

    Must be called in the transaction that has restored it.
    """
    tables, sequences = (
        {(each.schema, each.name) for each in chosen.entries if each.kind == kind}
        for kind in (TABLE_DATA, SEQUENCE_SET)
    )
    every = manifest.data
    expected = digests.Data(
        every.seed,
        {key: digest for key, digest in every.tables.items() if key in tables},
        {key: stands for key, stands in every.sequences.items() if key in sequences},
        every.large_objects,
    )
    found = digests.read(connection, every.seed, expected.tables, expected.sequences)
    problem = digests.difference(expected, found) or fingerprint.difference(
        manifest.fingerprint, fingerprint.read(connection), owners=owners.as_they_were
    )
    if problem:
        raise RolledBack(
            f"What was restored is not what the backup holds: {problem}. Everything was rolled "
            "back; the database is as it was."
        )
    return found


def _withdraw(cursor: CursorWrapper, manifest: Manifest) -> None:
    """Drop the members of publications and the event triggers that the archive makes again."""
    mine = {each.name for each in manifest.entries if each.kind == "EVENT TRIGGER"}
    carried = {each.name for each in manifest.entries if each.kind == "PUBLICATION"}
    published = schema_properties.published(cursor, SCHEMA)
    for name in published.schema:
        if name in carried:
            cursor.execute(
                sql.SQL("ALTER PUBLICATION {} DROP TABLES IN SCHEMA public").format(
                    sql.Identifier(name)
                )
            )
    for member in published.tables:
        if member.publication in carried:
            cursor.execute(
                sql.SQL("ALTER PUBLICATION {} DROP TABLE ONLY {}").format(
                    sql.Identifier(member.publication), sql.Identifier(SCHEMA, member.table)
                )
            )
    for name, _ in schema_properties.event_triggers(cursor, SCHEMA):
        if name in mine:
            cursor.execute(sql.SQL("DROP EVENT TRIGGER {}").format(sql.Identifier(name)))
