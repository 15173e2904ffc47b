"""A folder of Drizzle migrations, as drizzle-kit 0.x (a journal) and 1.0 (a directory a migration) write it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fltr_project.errors import CannotRun

JOURNAL = Path("meta") / "_journal.json"
# Milliseconds that a bigint and Drizzle's Date both hold.
MILLISECONDS = range(1 << 53)
_DIRECTORY = re.compile(r"(\d{14})_.+")


@dataclass(frozen=True)
class Entry:
    """One migration, as Drizzle records it."""

    tag: str
    # Milliseconds since 1970, by which Drizzle 0.x knows what is applied.
    created_at: int
    # Of its file.
    hash: str


@dataclass(frozen=True)
class Folder:
    path: Path
    # Oldest first.
    entries: tuple[Entry, ...]
    # What the tables are like after all of them; None where there is no migration.
    snapshot: dict[str, Any] | None
    # Whether Drizzle 1.0 has written it, which knows migrations by their names.
    by_name: bool


def read(path: Path) -> Folder:
    """The migrations of a folder; touches no database.

    Raises CannotRun when it is no folder of Drizzle migrations, or one of its files cannot be read.
    """
    journal = path / JOURNAL
    directories = sorted(each for each in path.glob("*_*") if (each / "migration.sql").exists())
    if not journal.exists() and not directories:
        raise CannotRun(
            f"{str(path)!r} is not a Drizzle migrations folder: there is neither {JOURNAL} nor a directory "
            "with a migration.sql. Name the folder that drizzle.config.ts has as `out`."
        )
    if journal.exists() and directories:
        raise CannotRun(
            f"{str(path)!r} has the migrations of Drizzle 0.x and of 1.0 side by side. Run `drizzle-kit up`, and "
            "remove what it leaves of the older ones."
        )
    current = journal
    try:
        if journal.exists():
            entries, current = _journal(path), journal.parent
            snapshot = _load(_snapshot_file(path, entries[-1])) if entries else None
        else:
            current = directories[-1]
            entries = [_directory(each) for each in directories]
            snapshot = _load(current / "snapshot.json")
    except (OSError, ValueError, LookupError, TypeError) as error:
        file = getattr(error, "filename", None) or str(current)
        raise CannotRun(
            f"Drizzle's {file!r} cannot be read. Run `drizzle-kit generate` again, or name the folder that "
            "drizzle.config.ts has as `out`."
        ) from error
    return Folder(path, tuple(entries), snapshot, by_name=not journal.exists())


def _journal(path: Path) -> list[Entry]:
    return [
        Entry(entry["tag"], MILLISECONDS[entry["when"]], _hash(path / f"{entry['tag']}.sql"))
        for entry in json.loads((path / JOURNAL).read_text(encoding="utf-8"))["entries"]
    ]


def _snapshot_file(path: Path, entry: Entry) -> Path:
    """That of a migration, which has only the first part of its name."""
    return path / "meta" / f"{entry.tag.partition('_')[0]}_snapshot.json"


def _directory(path: Path) -> Entry:
    match = _DIRECTORY.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path.name} does not begin with a time")
    made = datetime.strptime(match[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return Entry(path.name, round(made.timestamp()) * 1000, _hash(path / "migration.sql"))


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _load(file: Path) -> dict[str, Any]:
    document = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise TypeError(f"{file} holds no object")
    return document
