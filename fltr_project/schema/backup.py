"""A verified backup of a whole database: the archive, and a manifest that says what it holds."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import connections, transaction

from fltr_project.errors import BackupFailed, CannotRun
from fltr_project.postgres import dump, locks
from fltr_project.postgres.target import Target
from fltr_project.words import counted

from . import fingerprint
from .aside import PREFIX
from .belongings import SCHEMA
from .facts import TRACKING_TABLES
from .plan import Plan

FORMAT = 1
# Backups of one database that are kept; the oldest go first.
KEEP = 10


@dataclass(frozen=True)
class Backup:
    """An archive that was proven readable and to hold what the database held."""

    path: Path
    manifest: Path
    sha256: str
    bytes: int
    tables: int
    rows: int
    product_rows: int
    # Older ones that were deleted, beyond as many as are kept.
    removed: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What an archive holds, as written beside it."""

    format: int
    created_at: str
    sha256: str
    bytes: int
    pg_dump: str
    target: dict[str, Any]
    # Schema, table, and the count and hash of its rows; sequences with where they stand.
    rows: list[list[str]]
    sequences: dict[str, str]
    fingerprint: dict[str, list[str]]


def require_possible(plan: Plan, directory: Path) -> None:
    """Raise BackupFailed when a backup of the planned database could not be made."""
    dump.pg_dump(plan.target.major)
    if plan.locks.dump > plan.locks.guaranteed:
        raise BackupFailed(
            f"pg_dump locks every table, and {plan.target} has {counted(plan.locks.dump, 'tables')} but "
            f"room for {counted(plan.locks.guaranteed, 'locks')}. Raise max_locks_per_transaction and restart the "
            "server; nothing was touched."
        )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13))
    except OSError as error:
        raise BackupFailed(
            f"Backups cannot be written to {directory}: {error.strerror}. Name another directory "
            "with --backup-dir; nothing was touched."
        ) from error


def backup(
    plan: Plan, directory: Path, *, keep: int = KEEP, lock_timeout: int = locks.LOCK_TIMEOUT
) -> Backup:
    """Dump the planned database into ``directory`` and prove the archive.

    The archive, the fingerprint and the counts are of one snapshot. The archive is read to its end:
    its checksum, its list and every row in it, and compared with the plan. ``keep`` is how many of
    this database's backups stay. Raises BackupFailed; then no archive was left.
    """
    require_possible(plan, directory)
    target = plan.target
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    path = directory / f"{_safe(target.database)}-{stamp}.dump"
    partial = path.with_suffix(".partial")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        version, marks = _write(target, partial, lock_timeout)
        data = _proven(plan, partial)
        manifest = Manifest(
            format=FORMAT,
            created_at=stamp,
            sha256=dump.checksum(partial),
            bytes=partial.stat().st_size,
            pg_dump=version,
            target={**asdict(target), "system_identifier": str(target.system_identifier)},
            rows=[[*table, str(digest)] for table, digest in sorted(data.tables.items())],
            sequences=dict(sorted(data.sequences.items())),
            fingerprint=marks,
        )
        _write_durably(path.with_suffix(".json"), json.dumps(asdict(manifest), indent=1) + "\n")
        partial.replace(path)
    except OSError as error:
        raise BackupFailed(
            f"The backup of {target.database} could not be written to {directory}: "
            f"{error.strerror}. Nothing was touched."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
        if not path.exists():
            path.with_suffix(".json").unlink(missing_ok=True)
    removed = rotate(path, target, keep)
    return Backup(
        path,
        path.with_suffix(".json"),
        manifest.sha256,
        manifest.bytes,
        len(data.tables),
        sum(digest.count for digest in data.tables.values()),
        product_rows(data.tables),
        removed,
    )


def product_rows(tables: Mapping[tuple[str, str], dump.Digest]) -> int:
    """How many rows are the product's, as a plan counts them; the keys are schema and table."""
    return sum(
        digest.count
        for (schema, table), digest in tables.items()
        if schema == SCHEMA and table not in TRACKING_TABLES
    )


def read(path: Path) -> tuple[Path, Manifest]:
    """The archive that ``path`` names, itself or by its manifest, once its checksum has been proven.

    Raises CannotRun when there is none or it is not the one that was written.
    """
    archive = path.with_suffix(".dump")
    try:
        # Named first where neither is there.
        archive.stat()
        document = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        manifest = Manifest(**document)
        found = dump.checksum(archive)
    except OSError as error:
        raise CannotRun(
            f"There is no backup {str(path)!r}: {error.filename}: {error.strerror}. Name a .dump "
            "file that has its manifest, the .json file of the same name, beside it."
        ) from error
    except (ValueError, TypeError) as error:
        raise CannotRun(
            f"{path.with_suffix('.json')} is not the manifest of a backup. Name another backup."
        ) from error
    if manifest.format != FORMAT:
        raise CannotRun(
            f"{archive} was made by another version of this project (format {manifest.format}). "
            "Restore it with that version."
        )
    if found != manifest.sha256:
        raise CannotRun(
            f"{archive} is damaged: its SHA-256 is {found[:12]}..., and its manifest says "
            f"{manifest.sha256[:12]}.... Name another backup."
        )
    return archive, manifest


def rotate(newest: Path, target: Target, keep: int) -> tuple[Path, ...]:
    """Delete the oldest backups of this database beyond ``keep``, never the newest; those deleted."""
    same = re.compile(re.escape(_safe(target.database)) + r"-\d{8}T\d{12}Z\.json")
    mine = [
        manifest
        for manifest in sorted(newest.parent.iterdir(), reverse=True)
        if same.fullmatch(manifest.name) and manifest.stem != newest.stem
        if _is_of(manifest, target)
    ]
    old = mine[max(keep - 1, 0) :]
    for manifest in old:
        manifest.with_suffix(".dump").unlink(missing_ok=True)
        manifest.unlink(missing_ok=True)
    return tuple(manifest.with_suffix(".dump") for manifest in old)


def _write(target: Target, path: Path, lock_timeout: int) -> tuple[str, fingerprint.Fingerprint]:
    """Dump and fingerprint one snapshot."""
    connection = connections[target.alias]
    with transaction.atomic(using=target.alias), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        locks.limit_waiting(cursor, lock_timeout, locks.STATEMENT_TIMEOUT)
        cursor.execute("SELECT pg_export_snapshot()")
        (snapshot,) = cursor.fetchone()
        version = dump.write(
            connection,
            path,
            major=target.major,
            snapshot=snapshot,
            exclude_schemas=f"{PREFIX}*",
            lock_timeout=lock_timeout,
        )
        return version, fingerprint.read(connection)


def _proven(plan: Plan, path: Path) -> dump.Data:
    """Read the archive and compare it with the plan; raises BackupFailed when it is not that."""
    listed = {
        entry.name
        for entry in dump.entries(path)
        if entry.kind == "TABLE DATA" and entry.schema == "public"
    }
    planned = set(plan.tables)
    again = "Stop what changes it, then run the command again; nothing was touched."
    if missing := sorted(planned - listed):
        raise BackupFailed(
            f"The backup of {plan.target.database} lacks the table {missing[0]!r}. {again}"
        )
    data = dump.data(path)
    counts = {table: digest.count for table, digest in data.tables.items()}
    for rows in plan.rows:
        found = counts.get(("public", rows.table))
        if rows.exact and found != rows.count:
            raise BackupFailed(
                f"The table {rows.table!r} of {plan.target.database} had {counted(rows.count, 'rows')} "
                f"when the plan was read, and the backup has {found}. {again}"
            )
    return data


def _write_durably(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _is_of(manifest: Path, target: Target) -> bool:
    try:
        made_of = json.loads(manifest.read_text(encoding="utf-8"))["target"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(made_of.get("system_identifier") == str(target.system_identifier))


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", name).lstrip(".") or "database"
