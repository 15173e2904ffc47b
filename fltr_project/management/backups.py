"""How backups and their proofs are told: to a person, and as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from fltr_project import words
from fltr_project.backup.backup import Backup
from fltr_project.backup.manifest import Manifest, Proof
from fltr_project.backup.places import Place
from fltr_project.backup.reading import Seen
from fltr_project.backup.upload import Upload
from fltr_project.paths import shown
from fltr_project.words import counted

# In place of a path: the newest backup of the database.
LATEST = "latest"
# Seconds between two lines of progress.
EVERY = 5.0
# Bytes of an archive whose proof is announced.
LARGE = 10_000_000


class ProofProgress:
    """Tells what is going to be proven, and how far it is, every few seconds."""

    def __init__(self, say: Callable[..., None]) -> None:
        self._say = say
        self._tables, self._told = 0, time.monotonic()

    def begins(self, written: Backup, proves: bool) -> None:
        """The archive is written; ``proves`` says whether it is restored for a proof now."""
        self._tables, self._told = written.tables, time.monotonic()
        if proves and written.bytes > LARGE:
            self._say(
                f"  {size(written.bytes)} are restored into a scratch database for a proof, which takes "
                "about as long as writing them, and as much room as the database does."
            )

    def __call__(self, place: Place, seen: Seen) -> None:
        now = time.monotonic()
        if now - self._told < EVERY:
            return
        self._told = now
        self._say(
            f"  proving in {place.name}: {len(seen.rows):,} of {counted(self._tables, 'tables')}, "
            f"{sum(seen.rows.values()):,} rows"
        )


def proof_line(proof: Proof) -> str:
    """How an archive has been proven, in a sentence without its end."""
    left_out = f", apart from {'; '.join(proof.apart_from)}" if proof.apart_from else ""
    return (
        f"restored into {proof.place} (PostgreSQL {proof.server}) and found equal in "
        f"{proof.seconds:.1f} s{left_out}"
    )


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1024**2:,.1f} MiB" if count >= 100_000 else f"{count / 1024:,.0f} KiB"


def age(moment: str, now: datetime | None = None) -> str:
    """How long ago that was, for people."""
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(moment)).total_seconds()
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= length:
            return f"{counted(int(seconds // length), unit)} ago"
    return "just now"


def proof_age(manifest: Manifest) -> str:
    """What has been shown of an archive, and when."""
    if manifest.proof:
        return f"proven {age(manifest.proof.at)}"
    return "read, not proven" if manifest.read else "neither read nor proven"


def backup_directory(option: str | None) -> Path:
    return Path(option or settings.BACKUP_DIR).absolute()


def backup_line(made: Backup) -> str:
    rows = words.rows(made.rows, made.product_rows)
    old = len(made.removed)
    removed = f"; {words.counted(old, 'older ones')} removed" if old else ""
    return f"{shown(made.path)} ({size(made.bytes)}, {rows}, {proof_word(made.proof)}){removed}"


def proof_word(proof: Proof | None) -> str:
    """What has been shown of a backup: ``proven`` by a restore, or ``read`` to its end."""
    return "proven" if proof else "read"


def backup_json(made: Backup) -> dict[str, Any]:
    return {
        "path": str(made.path),
        "manifest": str(made.manifest),
        "sha256": made.sha256,
        "bytes": made.bytes,
        "tables": made.tables,
        "rows": made.rows,
        "product_rows": made.product_rows,
        "proof": proof_json(made.proof),
        "unproven": made.unproven or None,
        "removed": [str(path) for path in made.removed],
    }


def proof_json(proof: Proof | None) -> dict[str, Any] | None:
    return {**asdict(proof), "apart_from": list(proof.apart_from)} if proof else None


def upload_json(made: Upload) -> dict[str, Any]:
    return {"ok": made.problem is None, "problem": made.problem}
