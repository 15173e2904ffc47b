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
import shutil
import socket
import stat
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

from . import placement

SUPERUSER = "postgres"
# Made on the first connection to them; any other missing database stays an error.
DATABASES = ("fltr_auth", "fltr")
# Seconds that a start, which may replay a killed server's log, and a stop may take.
START_TIMEOUT, STOP_TIMEOUT = 60, 60
SOCKET = ".s.PGSQL.5432"
# sockaddr_un holds 107 bytes and a NUL on Linux, 103 on macOS; "/.s.PGSQL.5432" takes 14.
SOCKET_DIRECTORY_BYTES = 103 - len(f"/{SOCKET}")
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
    def _place(self) -> placement.Place:
        return placement.choose(self.root.resolve(), self.major)

    @property
    def home(self) -> Path:
        """Where data and log are: below ``root``, or for root in a private place elsewhere."""
        return self._place.home

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
        # Not TMPDIR, which another process may have otherwise.
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path("/tmp") / f"clean-slate-{digest}"  # noqa: S108 - private, and its owner is checked

    # --- joining and leaving

    def join(self) -> None:
        """Make sure that the server runs and stays up while this process lives.

        Raises CannotRun when it cannot be started. Costs a few file look-ups once joined.
        """
        if self._has_joined() and self._is_running():
            return
        with _explained(self.home):
            self._prepare_home()
        with self._exclusively():
            placement.provide_programs(self._place, self.major)
            # Asked again under the lock: another thread may have joined by now.
            if not self._has_joined():
                descriptor = os.open(self.home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                _joined[self.home] = (os.getpid(), descriptor)
                atexit.register(self.leave)
            self._start()

    def leave(self) -> None:
        """Give up this process's use of the server; stop it when nobody else uses or keeps it."""
        if not self._has_joined():
            return
        with self._exclusively():
            _, descriptor = _joined.pop(self.home)
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
                    "The embedded server is in use by another process, so it was not stopped."
                    + (" It is no longer kept and stops when the last one ends." if kept else "")
                )
            if running:
                self._stop("fast")
            return running

    def remove(self) -> None:
        """Delete the data of a server that has stopped, wherever it was kept."""
        if self._is_running():
            raise CannotRun("The embedded server is running, so its data was not removed.")
        shutil.rmtree(self.home, ignore_errors=True)
        if self._place.elsewhere:
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
        # Under another name until it is marked: killed half-way, it must not stand there unmarked.
        fresh = f"{name}_new"
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
            if connection.execute(known, [name]).fetchone():
                return True
            for statement in (
                "DROP DATABASE IF EXISTS {}",
                "CREATE DATABASE {} TEMPLATE template0",
                "ALTER DATABASE {} SET fltr.environment = 'development'",
                "ALTER DATABASE {} SET TimeZone = 'UTC'",
                "ALTER DATABASE {} RENAME TO {}",
            ):
                # A statement with one place leaves the second name out.
                names = map(sql.Identifier, (fresh, name))
                connection.execute(sql.SQL(statement).format(*names))
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
        uid, gid = self._place.run_as or (None, None)
        # pg_ctl's child inherits the pipes, so output goes to a file that nobody waits for.
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(
                [self._place.bin / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
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
            f"Look into {self.log}."
        )

    # --- files

    def _prepare_home(self) -> None:
        missing = not self.home.is_dir()
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.socket_directory != self.home:
            self._prepare_socket_directory()
        if self._place.run_as is not None:
            self._hand_over(*self._place.run_as, missing)

    def _prepare_socket_directory(self) -> None:
        """Make the directory for this server's user alone: its socket asks for no password."""
        directory = self.socket_directory
        directory.mkdir(mode=0o700, exist_ok=True)
        facts = directory.lstat()
        owners = {os.geteuid(), *(self._place.run_as or ())[:1]}
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid not in owners or facts.st_mode & 0o077:
            raise CannotRun(
                f"{directory}, where the embedded server's socket must be, belongs to another user "
                "or is open to others. Remove it, or use a checkout with a shorter path."
            )

    def _hand_over(self, uid: int, gid: int, missing: bool) -> None:
        """As root: give the directories to the server's user, and say so when they are elsewhere."""
        for directory in {self.home, self.socket_directory}:
            os.chown(directory, uid, gid)
        if not self._place.elsewhere:
            return
        for ancestor in (placement.ROOT_HOME, self.home.parent):
            ancestor.chmod(0o755)
        if missing:
            sys.stderr.write(
                f"Note: {placement.SYSTEM_USER}, the user that PostgreSQL runs as when root starts it, may "
                f"not enter {self.root.resolve()}, which stays closed. The server's data are in "
                f"{self.home}.\n"
            )

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with _explained(self.home):
            descriptor = os.open(self.home / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _has_joined(self) -> bool:
        return _joined.get(self.home, (None, -1))[0] == os.getpid()

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
        with _explained(self.home):
            return os.path.lexists(self.home / "keep")

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
            # A postmaster works in its data directory; another one may have the number by now.
            if process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(self.data):
                return
        except psutil.Error:
            # Gone, or somebody else's.
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


@contextmanager
def _explained(home: Path) -> Iterator[None]:
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
