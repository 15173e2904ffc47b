"""Where backups are: a directory that nobody else may write to, what is in it, and what goes from it."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from fltr_project.errors import CannotRun

from . import manifest
from .errors import DirectoryUnusable
from .manifest import ARCHIVE, MANIFEST, Manifest

# An archive that is being written; it is locked as long as somebody writes it.
PARTIAL = ".partial"
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
OWN = re.compile(r"(?P<own>.+-\d{8}T\d{12}Z)(?P<ending>\.partial|\.json\.partial|\.json)")


@dataclass(frozen=True)
class Stored:
    """An archive in the directory, and what its manifest says; None and why, where that cannot be read."""

    path: Path
    bytes: int
    manifest: Manifest | None
    problem: str = ""


def prepare(directory: Path) -> None:
    """Make the directory where it is missing, and remove what runs that were killed left in it.

    Raises DirectoryUnusable, also where somebody else may write to it: a link put there would lead an
    archive elsewhere, and another archive could be slipped in.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not directory.is_dir():
            raise NotADirectoryError(20, os.strerror(20))
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13))
        _require_private(directory)
        _clean(directory)
    except OSError as error:
        raise DirectoryUnusable(directory, str(error.strerror)) from error


@contextmanager
def writing(directory: Path, database: str, stamp: str) -> Iterator[tuple[Path, int]]:
    """A new archive's path, and a descriptor of the file under another name until it is whole.

    The block renames it (``finish``); whatever it leaves unfinished is removed. Raises OSError.
    """
    path = directory / f"{_safe(database)}-{stamp}{ARCHIVE}"
    partial = path.with_suffix(PARTIAL)
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(partial, flags, 0o600)
    try:
        # Until the last process that has it open is gone, pg_dump too.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield path, descriptor
    finally:
        partial.unlink(missing_ok=True)
        if not path.exists():
            path.with_suffix(MANIFEST).unlink(missing_ok=True)
        os.close(descriptor)


def finish(path: Path, descriptor: int, made: Manifest) -> None:
    """Give the archive its name, durably, with its manifest beside it. Raises OSError."""
    os.fsync(descriptor)
    manifest.write(made, path.with_suffix(MANIFEST))
    path.with_suffix(PARTIAL).replace(path)
    manifest.sync_directory(path.parent)


def stored(directory: Path) -> tuple[Stored, ...]:
    """The archives in the directory, the newest first. Read-only; their content is not looked at."""
    found = []
    try:
        paths = sorted(directory.glob(f"*{ARCHIVE}"))
    except OSError as error:
        raise CannotRun(f"{directory} cannot be read: {error.strerror}.") from error
    for path in paths:
        try:
            size = path.lstat().st_size
            found.append(Stored(path, size, manifest.read(path.with_suffix(MANIFEST))))
        except CannotRun as error:
            found.append(Stored(path, size, None, str(error)))
        except OSError:
            # Removed meanwhile.
            continue
    return tuple(sorted(found, key=_newest_first))


def described(path: Path) -> Manifest:
    """What the manifest says of the archive that ``path`` names; raises CannotRun where there is none."""
    return manifest.read(path.with_suffix(MANIFEST))


def newest(directory: Path, alias: str) -> Stored | None:
    """The newest archive of the database of this alias; None where there is none."""
    every = stored(directory)
    return next((each for each in every if each.manifest and each.manifest.alias == alias), None)


def last_proven(directory: Path, alias: str) -> str | None:
    """When a backup of the database of this alias last came back, in ISO 8601; None where none has.

    Raises CannotRun where the directory cannot be read.
    """
    proofs = (
        each.manifest.proof
        for each in stored(directory)
        if each.manifest and each.manifest.alias == alias
    )
    return max((proof.at for proof in proofs if proof), key=datetime.fromisoformat, default=None)


def rotate(
    directory: Path, made: Manifest, path: Path, keep: int, keep_days: int | None, now: datetime
) -> tuple[Path, ...]:
    """Delete this database's archives beyond ``keep``, or older than ``keep_days``; those deleted.

    Never the one just made at ``path``, nor the newest that is proven. Which database an archive is of, its
    manifest says: the server and the name.
    """
    mine = [
        each
        for each in stored(directory)
        if each.path != path and each.manifest and _same_database(each.manifest, made)
    ]
    proven = None if made.proof else next((each for each in mine if _is_proven(each)), None)
    old = [
        each
        for place, each in enumerate(mine, start=1)
        if each is not proven and (place >= keep or _is_older(each, keep_days, now))
    ]
    for each in old:
        remove(each.path)
    return tuple(each.path for each in old)


def remove(path: Path) -> None:
    """Delete an archive, and then what describes it."""
    path.unlink(missing_ok=True)
    path.with_suffix(MANIFEST).unlink(missing_ok=True)


def _require_private(directory: Path) -> None:
    whole = directory.resolve()
    for place in (whole, *whole.parents):
        mode = place.stat().st_mode
        # In a sticky directory, as /tmp is, nobody renames what is another's.
        if mode & WRITABLE_BY_OTHERS and not (place != whole and mode & stat.S_ISVTX):
            whose = "it" if place == whole else str(place)
            raise DirectoryUnusable(
                directory,
                f"other users may write to {whose} (mode {stat.S_IMODE(mode):04o}); take that right "
                "from them (chmod go-w)",
            )


def _clean(directory: Path) -> None:
    """Remove what runs that were killed have left: files that nobody holds a lock on any more."""
    for left in directory.iterdir():
        if OWN.fullmatch(left.name) and left.name.endswith(PARTIAL):
            _remove_unless_locked(left)
    for left in directory.iterdir():
        named = OWN.fullmatch(left.name)
        if named is None or left.name.endswith(PARTIAL):
            continue
        # A manifest whose archive never got its name.
        if not any(
            (directory / f"{named['own']}{ending}").exists() for ending in (PARTIAL, ARCHIVE)
        ):
            left.unlink(missing_ok=True)


def _remove_unless_locked(partial: Path) -> None:
    try:
        descriptor = os.open(partial, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial.unlink(missing_ok=True)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)


def _newest_first(each: Stored) -> tuple[float, str]:
    return (-each.manifest.time.timestamp() if each.manifest else 0.0, each.path.name)


def _same_database(one: Manifest, other: Manifest) -> bool:
    return all(
        one.target[name] == other.target[name]
        for name in ("system_identifier", "database", "alias")
    )


def _is_proven(each: Stored) -> bool:
    return bool(each.manifest and each.manifest.proof)


def _is_older(each: Stored, keep_days: int | None, now: datetime) -> bool:
    if keep_days is None or each.manifest is None:
        return False
    return now - each.manifest.time > timedelta(days=keep_days)


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", name).lstrip(".") or "database"
