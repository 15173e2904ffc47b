"""Take a backup as an operator means it: written, proven or read, kept, the old ones gone, the new one sent on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fltr_project.errors import BackupFailed
from fltr_project.postgres import locks
from fltr_project.postgres.target import Target
from fltr_project.rebuild.consent import protects

from . import backup, directory, manifest, proof
from .backup import KEEP, Backup
from .manifest import MANIFEST, Manifest
from .places import Place
from .reading import Seen
from .upload import Upload, upload


@dataclass(frozen=True)
class Wanted:
    """What a backup is to be."""

    into: Path
    # None is: where the database is protected.
    proven: bool | None = None
    # How many of a database are kept, and for how many days; None is for ever.
    keep: int = KEEP
    keep_days: int | None = None
    # Milliseconds.
    lock_timeout: int = locks.LOCK_TIMEOUT


def take(
    target: Target,
    wanted: Wanted,
    on_written: Callable[[Backup, bool], None] = lambda written, proves: None,
    progress: Callable[[Place, Seen], None] = lambda place, seen: None,
) -> tuple[Backup, Upload | None]:
    """A backup of the database, proven where that is wanted and possible, and what became of its upload.

    What is not proven is read to its end. ``on_written`` is told of the archive and whether its proof comes
    now, ``progress`` how far that is. Raises BackupFailed; after a proof that failed the archive stays, for
    whoever wants to look into it, and nothing else has been touched.
    """
    path, made = backup.write(target, wanted.into, lock_timeout=wanted.lock_timeout)
    written = backup.described(path, made)
    wants_proof = wanted.proven
    if wants_proof is None:
        wants_proof = protects(target.environment, written.product_rows)
    on_written(written, wants_proof)
    unproven = ""
    if wants_proof:
        try:
            made, unproven = prove(path, progress)
        except BackupFailed:
            # It stays, so it is to be known whether it can be read.
            backup.read_back(path)
            raise
    if not (made.read or made.proof):
        made = backup.read_back(path)
    removed = directory.rotate(
        wanted.into, made, path, wanted.keep, wanted.keep_days, datetime.now(UTC)
    )
    found = backup.described(path, made, unproven=unproven, removed=removed)
    return found, upload(path) if made.proof else None


def prove(
    path: Path, progress: Callable[[Place, Seen], None] = lambda place, seen: None
) -> tuple[Manifest, str]:
    """Prove the archive at ``path`` and remember it in its manifest; why not, where there is no place for it.

    Raises BackupFailed when it does not come back, which the manifest remembers too: an older proof
    is forgotten. Raises CannotRun when the archive is not the one that was written.
    """
    with backup.opened(path) as (source, described):
        where = path.with_suffix(MANIFEST)
        try:
            found = proof.prove(source, described, progress)
        except BackupFailed:
            if described.proof is not None:
                manifest.write(replace(described, proof=None), where)
            raise
        if isinstance(found, proof.Unproven):
            return described, str(found)
        described = replace(described, proof=found)
        manifest.write(described, where)
        return described, ""
