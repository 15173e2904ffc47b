"""Bring a backup back: into a clean schema, in one transaction, proven before it commits.

The archive's SQL is run on this project's own connection, so that setting the old schema aside,
filling the new one and proving it are one transaction: readers see the old or the restored one.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from fltr_project.errors import CannotRun, CleanSlateError, Refused, RolledBack, explain
from fltr_project.postgres import dump, locks
from fltr_project.postgres.dump import Digest, Entry
from fltr_project.words import counted

from . import aside, belongings, fingerprint, nuke
from .aside import Journal
from .backup import Manifest, product_rows
from .belongings import SCHEMA
from .plan import Plan

# Milliseconds that one statement of a restore may take: the index of a large table, say.
STATEMENT_TIMEOUT = 6 * 3_600_000
# Locks of making one table, with its index, TOAST, types and constraints (measured: 6 to 8).
LOCKS_A_TABLE = 8
# Bytes of rows handed to the server at a time.
BLOCK = 1 << 16
# pg_restore begins its scripts with settings, of which some are unknown to older servers and all
# timeouts are ours to set.
TIMEOUT_SETTING = re.compile(rb"^SET \w*timeout = 0;$")


@dataclass(frozen=True)
class Restored:
    # What the schema that was there before is called now; None when there was none.
    aside: str | None
    tables: int
    rows: int
    product_rows: int


def require_possible(plan: Plan, manifest: Manifest) -> None:
    """Raise Refused for another database's backup, CannotRun when it could not be one transaction."""
    source = manifest.target
    if source["alias"] != plan.target.alias:
        raise Refused(
            f"Guard 'backup': this is a backup of {source['database']} ({source['alias']}), and its "
            f"tables do not belong in {plan.target.database} ({plan.target.alias}). Name a backup "
            f"of {plan.target.alias}, or restore it with --database {source['alias']}."
        )
    needed = LOCKS_A_TABLE * len(manifest.rows)
    if needed > plan.locks.guaranteed:
        raise CannotRun(
            f"Restoring {counted(len(manifest.rows), 'tables')} in one transaction takes about "
            f"{needed:,} locks, and {plan.target} guarantees {plan.locks.guaranteed:,}. Raise "
            "max_locks_per_transaction and restart the server; nothing was touched."
        )


def restore(
    plan: Plan,
    archive: Path,
    manifest: Manifest,
    why: Journal,
    *,
    lock_timeout: int = locks.LOCK_TIMEOUT,
    terminate: bool = False,
) -> Restored:
    """Set ``public`` aside, fill a new one from the archive, and prove it equal to the manifest.

    One transaction. Large objects are replaced by the archive's. Schemas and extensions that are
    there stay as they are; those that are missing are restored too. Milliseconds for
    ``lock_timeout``. Raises Blocked, Refused or CannotRun as a nuke does, and RolledBack for every
    other failure; then nothing has changed.
    """
    target = plan.target
    connection = connections[target.alias]
    try:
        with (
            locks.naming_blockers([connection], SCHEMA, lock_timeout),
            transaction.atomic(using=target.alias),
        ):
            nuke.begin(plan, lock_timeout, terminate)
            return _fill(connection, archive, manifest, why)
    except CleanSlateError:
        raise
    except (DatabaseError, psycopg.Error) as error:
        sentence = explain(error) or f"{' '.join(str(error).split())}."
        raise RolledBack(
            f"Restoring {archive.name} into {target} failed: {sentence} Everything was rolled "
            "back; the database is as it was."
        ) from error
    finally:
        _reset(connection)


def _fill(
    connection: BaseDatabaseWrapper, archive: Path, manifest: Manifest, why: Journal
) -> Restored:
    entries = dump.entries(archive)
    with connection.cursor() as cursor:
        locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, STATEMENT_TIMEOUT)
        _withdraw(cursor, entries)
        name = aside.set_aside(connection, why, like_before=False)
        cursor.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
        chosen = _chosen(cursor, entries)
        with tempfile.NamedTemporaryFile("w", prefix="clean-slate-", suffix=".list") as listing:
            listing.write("".join(f"{entry.line}\n" for entry in chosen))
            listing.flush()
            raw = connection.connection
            for section in ("pre-data", "data", "post-data"):
                with dump.script(archive, section, Path(listing.name)) as output:
                    if section == "data":
                        _run_data(raw, output)
                    else:
                        _run_script(raw, output)
        if name:
            belongings.republish(cursor, name, SCHEMA)
    restored = {(entry.schema, entry.name) for entry in chosen if entry.kind == "TABLE DATA"}
    found = _require_equal(connection, manifest, restored)
    rows = sum(digest.count for digest in found.values())
    return Restored(name, len(restored), rows, product_rows(found))


def _chosen(cursor: CursorWrapper, entries: Sequence[Entry]) -> list[Entry]:
    """The entries to restore: all of ``public``, and what else is missing."""
    cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname <> 'public'")
    schemas = {name for (name,) in cursor.fetchall()}
    cursor.execute("SELECT extname FROM pg_extension")
    extensions = {name for (name,) in cursor.fetchall()}
    cursor.execute("SELECT pubname FROM pg_publication")
    publications = {name for (name,) in cursor.fetchall()}
    chosen = []
    for entry in entries:
        if entry.schema in schemas or (entry.kind == "SCHEMA" and entry.name in schemas):
            continue
        about = entry.name.partition(" ")
        if entry.kind == "EXTENSION" and entry.name in extensions:
            continue
        if entry.kind == "COMMENT" and about[0] == "EXTENSION" and about[2] in extensions:
            continue
        if entry.kind == "PUBLICATION" and entry.name in publications:
            continue
        if entry.kind in {"DATABASE", "DATABASE PROPERTIES", "SUBSCRIPTION"}:
            continue
        if entry.kind in {"ACL", "COMMENT"} and about[0] == "SCHEMA" and about[2] in schemas:
            continue
        chosen.append(entry)
    return chosen


def _withdraw(cursor: CursorWrapper, entries: Sequence[Entry]) -> None:
    """Make room for what the archive brings along: members of publications and event triggers."""
    carried = {
        entry.name.split(" ")[0] for entry in entries if entry.kind.startswith("PUBLICATION")
    }
    published = belongings.published(cursor, SCHEMA)
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
    mine = {entry.name for entry in entries if entry.kind == "EVENT TRIGGER"}
    for name, _ in belongings.event_triggers(cursor, SCHEMA):
        if name in mine:
            cursor.execute(sql.SQL("DROP EVENT TRIGGER {}").format(sql.Identifier(name)))


def _run_script(raw: psycopg.Connection[Any], output: IO[bytes]) -> None:
    """Run a section without rows: SQL but for psql's own first and last command."""
    lines = [
        line
        for line in output
        if not line.startswith((rb"\restrict ", rb"\unrestrict "))
        and not TIMEOUT_SETTING.match(line)
    ]
    script = b"".join(lines)
    if script.strip():
        # Without parameters it is sent as it is, all statements at once.
        raw.execute(script)


def _run_data(raw: psycopg.Connection[Any], output: IO[bytes]) -> None:
    cursor = raw.cursor()
    for statement, rows in dump.statements(output):
        if rows is None:
            if not TIMEOUT_SETTING.match(statement):
                cursor.execute(statement)
            continue
        with cursor.copy(statement) as copy:
            block = bytearray()
            for row in rows:
                block += row
                if len(block) > BLOCK:
                    copy.write(bytes(block))
                    block.clear()
            copy.write(bytes(block))


def _require_equal(
    connection: BaseDatabaseWrapper, manifest: Manifest, restored: set[tuple[str, str]]
) -> dict[tuple[str, str], Digest]:
    """The rows by schema and table; raises RolledBack unless all is as the manifest says."""
    expected = {
        (schema, table): digest
        for schema, table, digest in manifest.rows
        if (schema, table) in restored
    }
    found = fingerprint.rows(connection, sorted(expected))
    problem = next(
        (
            f"table {table} of schema {schema} has {found[schema, table]}, not {digest}"
            for (schema, table), digest in expected.items()
            if str(found[schema, table]) != digest
        ),
        None,
    )
    mine = {name: value for name, value in manifest.sequences.items() if name.startswith("public.")}
    if problem is None and (stand := fingerprint.sequences(connection, sorted(mine))) != mine:
        name = next(name for name in mine if stand[name] != mine[name])
        problem = f"sequence {name} stands at {stand[name]}, not {mine[name]}"
    problem = problem or fingerprint.difference(manifest.fingerprint, fingerprint.read(connection))
    if problem:
        raise RolledBack(
            f"What was restored is not what the backup holds: {problem}. Everything was rolled "
            "back; the database is as it was."
        )
    return found


def _reset(connection: BaseDatabaseWrapper) -> None:
    """Undo the settings that the archive's SQL has made for the session; keep its locks."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("RESET ALL")
        connection.init_connection_state()
    except DatabaseError:
        connection.close()
