"""What an archive holds, as written beside it, and what has been proven of it.

The manifest names the archive by its SHA-256 and carries one of itself, so a changed byte in either is
found before anything is touched.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fltr_project.errors import CannotRun

from .contents import Entry
from .digests import Data, Digest

FORMAT = 2
# Of the archive and its manifest, which have one name.
ARCHIVE, MANIFEST = ".dump", ".json"
# A manifest of 5,000 tables takes 3 MB; what is longer is none.
LONGEST = 1 << 28


@dataclass(frozen=True)
class Proof:
    """That an archive was restored, and what came back was equal."""

    at: str
    # In words: where the scratch database was.
    place: str
    server: str
    pg_restore: str
    seconds: float
    # What could not be restored or compared there, a sentence each.
    apart_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What an archive holds."""

    created_at: str
    sha256: str
    bytes: int
    pg_dump: str
    # As Target.as_json has it.
    target: dict[str, Any]
    data: Data
    entries: tuple[Entry, ...]
    # Of schema public (backup.fingerprint).
    fingerprint: dict[str, list[str]]
    # To its end, and found to hold as many rows as the snapshot: what a proof shows too, and more.
    read: bool = False
    proof: Proof | None = None

    @property
    def alias(self) -> str:
        return str(self.target["alias"])

    @property
    def database(self) -> str:
        return str(self.target["database"])

    @property
    def major(self) -> int:
        return int(self.target["major"])

    @property
    def time(self) -> datetime:
        return datetime.fromisoformat(self.created_at)

    @property
    def rows(self) -> int:
        return sum(digest.count for digest in self.data.tables.values())


def render(manifest: Manifest) -> str:
    """The manifest as text, with its own checksum as the last member. Pure."""
    data = manifest.data
    document = {
        "format": FORMAT,
        **{
            name: value
            for name, value in asdict(manifest).items()
            if name not in {"data", "entries"}
        },
        "seed": data.seed,
        "tables": [[*key, digest.count, digest.sum] for key, digest in sorted(data.tables.items())],
        "sequences": [[*key, stands] for key, stands in sorted(data.sequences.items())],
        "large_objects": [data.large_objects.count, data.large_objects.sum],
        "entries": [
            [each.id, each.kind, each.schema, each.name, each.about, each.extension]
            for each in manifest.entries
        ],
    }
    return sealed(document)


def sealed(document: Mapping[str, Any]) -> str:
    """One text for a document, whoever writes it; the last member is its own checksum. Pure."""
    body = json.dumps(document, indent=1, sort_keys=True)
    seal = hashlib.sha256(body.encode()).hexdigest()
    return f'{body[:-2]},\n "manifest_sha256": "{seal}"\n}}\n'


def parse(text: str, path: Path) -> Manifest:
    """What ``render`` has written; raises CannotRun for anything else, naming ``path``. Pure."""
    try:
        document = json.loads(text)
        if document["format"] != FORMAT:
            raise CannotRun(
                f"{path} was written by another version of this project (format "
                f"{document['format']!r}). Restore that backup with that version."
            )
        seal = document.pop("manifest_sha256")
        if sealed(document) != text:
            raise CannotRun(
                f"{path} is damaged: it is not as it was written (its own SHA-256 is {seal[:12]}...). "
                "Name another backup."
            )
        proof = document["proof"]
        return Manifest(
            created_at=document["created_at"],
            sha256=document["sha256"],
            bytes=document["bytes"],
            pg_dump=document["pg_dump"],
            target=document["target"],
            data=Data(
                document["seed"],
                {(s, t): Digest(count, total) for s, t, count, total in document["tables"]},
                {(s, name): stands for s, name, stands in document["sequences"]},
                Digest(*document["large_objects"]),
            ),
            entries=tuple(Entry(*each) for each in document["entries"]),
            fingerprint=document["fingerprint"],
            # Until it was told, every archive was.
            read=document.get("read", True),
            proof=Proof(**{**proof, "apart_from": tuple(proof["apart_from"])}) if proof else None,
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CannotRun(
            f"{path} is not the manifest of a backup of this project, or it is damaged. "
            "Name another backup."
        ) from error


def read(path: Path) -> Manifest:
    """The manifest at ``path``; raises CannotRun when it is none, or not as it was written."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(LONGEST)
        return parse(content.decode(), path)
    except OSError as error:
        raise CannotRun(
            f"There is no backup {str(path.with_suffix(ARCHIVE))!r}: {path}: {error.strerror}. Name a "
            f"{ARCHIVE} file that has its manifest, the {MANIFEST} file of the same name, beside it."
        ) from error
    except UnicodeDecodeError as error:
        raise CannotRun(f"{path} is damaged: it is no text. Name another backup.") from error


def write(manifest: Manifest, path: Path) -> None:
    """Write the manifest durably, in one step: a reader sees the old one or the new. Raises OSError."""
    partial = path.with_suffix(".json.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            # As long as it is locked, nobody takes it for what a killed run has left.
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(render(manifest))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in the directory durable, so that a power cut leaves no archive without its own."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
