"""Starting and stopping PostgreSQL by its own programs, also after it was killed.

Callers see to it that nobody else does so at the same time.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fltr_project.errors import CannotRun

from .placement import Place
from .tcp import HOST, Tcp, is_free

SUPERUSER = "postgres"
# Of a server that listens on its socket only, whose name has it.
SOCKET_PORT = 5432
# Seconds that a start, which may replay a killed server's log, and a stop may take.
START_TIMEOUT, STOP_TIMEOUT = 60, 60


@dataclass(frozen=True)
class Postmaster:
    """The server process of one place, whether it runs or not."""

    place: Place
    major: int

    @property
    def data(self) -> Path:
        return self.place.home / "data"

    @property
    def log(self) -> Path:
        return self.place.home / "log"

    @property
    def tcp(self) -> Tcp:
        return Tcp(self.place)

    def start(self, *, listens: bool = False) -> bool:
        """Start the server unless it runs, with a new data directory where there is none.

        With ``listens`` on TCP too; whether it does, or another program has the port. Raises CannotRun with
        the last lines of the log.
        """
        if self.is_running():
            return self.listens()
        self._clear_after_crash()
        if not self.data.is_dir():
            self._make_data()
        options = {
            "port": str(SOCKET_PORT),
            "listen_addresses": "",
            "unix_socket_directories": str(self.place.socket_directory),
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if listens:
            self.tcp.prepare()
            port = self.tcp.port()
            listens = is_free(port)
            options |= {
                "port": str(port),
                "listen_addresses": HOST if listens else "",
                "hba_file": str(self.tcp.rules_file),
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
        if listens:
            self.tcp.set_password(SUPERUSER, port)
        return listens

    def stop(self, mode: str = "fast") -> None:
        """Stop the server if it runs, in one of pg_ctl's modes; "fast" rolls back what is open."""
        if self.is_running():
            self._run(
                "pg_ctl",
                "stop",
                "--wait",
                f"--timeout={STOP_TIMEOUT}",
                f"--pgdata={self.data}",
                f"--mode={mode}",
            )

    def is_running(self) -> bool:
        """Whether a server answers on the socket: process numbers outlive their processes."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.place.socket(self.port())))
            except OSError:
                return False
        return True

    def pid(self) -> int | None:
        """The process number in the data directory, which a killed server leaves there."""
        number = self._lock_file(0)
        return int(number) if number.isdigit() else None

    def port(self) -> int:
        """The port of the server that runs, which its socket has in its name."""
        number = self._lock_file(3)
        return int(number) if number.isdigit() else SOCKET_PORT

    def listens(self) -> bool:
        """Whether the server that runs listens on TCP."""
        return self._lock_file(5) == HOST

    def _lock_file(self, line: int) -> str:
        """A line of postmaster.pid, which PostgreSQL documents: 0 is the process, 3 the port, 5 the address."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except (OSError, ValueError):
            return ""
        return lines[line].strip() if line < len(lines) else ""

    def _make_data(self) -> None:
        # Under another name until it is whole: initdb may be killed.
        fresh = self.place.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        self._run(
            "initdb",
            f"--pgdata={fresh}",
            f"--username={SUPERUSER}",
            # The socket's directory lets nobody else in.
            "--auth=trust",
            "--encoding=UTF8",
            *(locale if self.major >= 17 else ["--no-locale"]),
        )
        fresh.rename(self.data)

    def _run(self, program: str, *arguments: str) -> None:
        uid, gid = self.place.run_as or (None, None)
        # The server that pg_ctl starts inherits its output; a pipe would stay open as long as it runs.
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(
                [self.place.bin / program, *arguments],
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

    def _clear_after_crash(self) -> None:
        """Remove the lock files of a killed server, whose number PostgreSQL may take for a live one.

        A killed process that nobody has reaped, as in a container without init, still has it.
        """
        pid = self.pid()
        if pid is None:
            return
        # Comes with the extra `embedded`, as the programs do; production has neither.
        import psutil

        try:
            process = psutil.Process(pid)
            # A postmaster works in its data directory; another one may have the number by now.
            if process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(self.data):
                return
        except psutil.Error:
            # Gone, or somebody else's.
            pass
        lock = self.place.socket(self.port())
        lock.with_name(f"{lock.name}.lock").unlink(missing_ok=True)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
