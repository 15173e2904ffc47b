"""A backup of a whole database: the archive, and a manifest that says what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.backends.utils import CursorWrapper

from fltr_project.catalog.aside import PREFIX
from fltr_project.catalog.facts import TRACKING_TABLES
from fltr_project.errors import BackupFailed, CannotRun, explain
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pin
from fltr_project.postgres.target import Target
from fltr_project.rebuild.schema_properties import SCHEMA
from fltr_project.words import counted

from . import archive, contents, digests, directory, fingerprint, manifest, reading, script
from .archive import Archive
from .digests import Data, Digest
from .manifest import ARCHIVE, MANIFEST, Manifest, Proof

# Backups of one database that are kept; the oldest go first.
KEEP = 10


@dataclass(frozen=True)
class Backup:
    """An archive, and what has been shown of it: that it can be ``read`` to its end, or a proof by a restore."""

    path: Path
    manifest: Path
    sha256: str
    bytes: int
    tables: int
    rows: int
    product_rows: int
    read: bool
    proof: Proof | None = None
    # Why there is no proof, where one was wanted.
    unproven: str = ""
    # Older ones that were deleted, beyond as many as are kept.
    removed: tuple[Path, ...] = ()


@dataclass(frozen=True)
class _Snapshot:
    """What one snapshot of the database holds besides what is in the archive of it."""

    pg_dump: str
    data: Data
    objects: contents.Objects
    fingerprint: fingerprint.Fingerprint


def write(
    target: Target, into: Path, *, lock_timeout: int = locks.LOCK_TIMEOUT
) -> tuple[Path, Manifest]:
    """Dump the whole database into the directory ``into``; nobody has read the archive yet.

    The archive and what it is compared with are of one snapshot, so other sessions may go on writing.
    ``lock_timeout``, in milliseconds, bounds the wait for a table. Raises BackupFailed; then no
    archive was left. Not for use in a transaction.
    """
    archive.pg_dump(target.major)
    directory.prepare(into)
    now = datetime.now(UTC)
    try:
        with directory.writing(into, target.database, now.strftime("%Y%m%dT%H%M%S%fZ")) as (
            path,
            descriptor,
        ):
            snapshot = _dump(target, descriptor, lock_timeout)
            made = _described(target, snapshot, Archive(path, descriptor), now)
            directory.finish(path, descriptor, made)
    except OSError as error:
        raise BackupFailed(
            f"The backup of {target.database} could not be written to {into}: {error.strerror}. "
            "Nothing was touched."
        ) from error
    except DatabaseError as error:
        sentence = explain(error) or " ".join(str(error).split())
        raise BackupFailed(
            f"The backup of {target.database} could not be made: {sentence} Nothing was touched."
        ) from error
    return path, made


def read_back(path: Path) -> Manifest:
    """Read the archive at ``path`` to its end, and remember that in its manifest.

    Raises BackupFailed unless it holds what its snapshot held; then it is removed.
    """
    try:
        with opened(path) as (made, described):
            seen = reading.read(made, described.entries)
        counts = {table: digest.count for table, digest in described.data.tables.items()}
        if problem := reading.missing(counts, seen):
            raise BackupFailed(
                f"The backup of {described.database} is not what the snapshot was: {problem}. "
                "Nothing was touched."
            )
        described = replace(described, read=True)
        manifest.write(described, path.with_suffix(MANIFEST))
    except (BackupFailed, CannotRun) as error:
        directory.remove(path)
        raise BackupFailed(str(error)) from error
    return described


def described(
    path: Path, made: Manifest, *, unproven: str = "", removed: tuple[Path, ...] = ()
) -> Backup:
    """What there is to tell of the archive at ``path``. Pure."""
    return Backup(
        path=path,
        manifest=path.with_suffix(MANIFEST),
        sha256=made.sha256,
        bytes=made.bytes,
        tables=len(made.data.tables),
        rows=made.rows,
        product_rows=product_rows(made.data.tables),
        read=made.read,
        proof=made.proof,
        unproven="" if made.proof else unproven,
        removed=removed,
    )


@contextmanager
def opened(path: Path) -> Iterator[tuple[Archive, Manifest]]:
    """The archive that ``path`` names, itself or by its manifest, once its checksum has been proven.

    It stays open for the block, so that what was checked is what is read. Raises CannotRun when there
    is none or it is not the one that was written.
    """
    file = path.with_suffix(ARCHIVE)
    with archive.opened(file) as found:
        described = manifest.read(path.with_suffix(MANIFEST))
        require_whole(found, described)
        yield found, described


def require_whole(found: Archive, described: Manifest) -> None:
    """Raise CannotRun unless the archive is the one that the manifest describes."""
    digest = found.sha256()
    if digest != described.sha256:
        raise CannotRun(
            f"{found.path} is damaged: its SHA-256 is {digest[:12]}..., and its manifest says "
            f"{described.sha256[:12]}.... Name another backup."
        )
    listed = contents.ids(archive.listing(found))
    filled = {
        (each.schema, each.name)
        for each in described.entries
        if each.kind == script.TABLE_DATA and not each.extension
    }
    if listed != {each.id for each in described.entries} or filled - described.data.tables.keys():
        raise CannotRun(
            f"The manifest of {found.path} does not list what the archive holds. Name another backup."
        )


def product_rows(tables: Mapping[tuple[str, str], Digest]) -> int:
    """How many rows are the product's, as a plan counts them; the keys are schema and table."""
    return sum(
        digest.count
        for (schema, table), digest in tables.items()
        if schema == SCHEMA and table not in TRACKING_TABLES
    )


def _dump(target: Target, descriptor: int, lock_timeout: int) -> _Snapshot:
    """Dump, count and fingerprint one snapshot."""
    connection = connections[target.alias]
    with transaction.atomic(using=target.alias), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        pin(cursor)
        locks.limit_waiting(cursor, lock_timeout, archive.STATEMENT_TIMEOUT)
        objects = contents.objects(cursor)
        _require_locks(cursor, target, objects.tables)
        cursor.execute("SELECT pg_export_snapshot()")
        (snapshot,) = cursor.fetchone()
        # pg_dump takes its time in a process of its own; the counting goes on meanwhile.
        with archive.written(
            connection,
            descriptor,
            major=target.major,
            snapshot=snapshot,
            exclude_schemas=f"{PREFIX}*",
            lock_timeout=lock_timeout,
        ) as version:
            described = fingerprint.read(connection)
            data = digests.read(connection, digests.new_seed())
        return _Snapshot(version, data, objects, described)


def _described(target: Target, snapshot: _Snapshot, made: Archive, now: datetime) -> Manifest:
    entries = contents.entries(archive.listing(made), snapshot.objects)
    data = snapshot.data
    return Manifest(
        created_at=now.isoformat(timespec="microseconds"),
        sha256=made.sha256(),
        bytes=made.bytes,
        pg_dump=snapshot.pg_dump,
        target={**asdict(target), "system_identifier": str(target.system_identifier)},
        # A sequence goes on while others use it, whatever the snapshot: it stands where the archive says.
        data=Data(data.seed, data.tables, reading.sequences(made, entries), data.large_objects),
        entries=entries,
        fingerprint=snapshot.fingerprint,
    )


def _require_locks(cursor: CursorWrapper, target: Target, tables: int) -> None:
    guaranteed = locks.capacity(cursor).guaranteed
    if tables > guaranteed:
        raise BackupFailed(
            f"pg_dump locks every table, and {target} has {counted(tables, 'tables')} but room for "
            f"{counted(guaranteed, 'locks')}. Raise max_locks_per_transaction and restart the server; "
            "nothing was touched."
        )
