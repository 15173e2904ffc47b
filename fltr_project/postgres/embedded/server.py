"""PostgreSQL from the wheel, for people who have no server: started on demand, shared, stopped.

The programs come from the wheel; this package runs them itself rather than through the wheel's own
``get_server``, which (0.6, read and measured) opens every parent directory of the data and of the
wheel to everybody when it runs as root, keeps its lock where a second user cannot write, and never
stops a server after one of its users was killed.
"""

from __future__ import annotations

import atexit
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from fltr_project.errors import CannotRun
from fltr_project.postgres import environment_mark
from fltr_project.postgres.errors import PortTaken, RunsOnAnotherPort

from . import placement, tcp
from .postmaster import SUPERUSER, Postmaster
from .users import Users

# Made on the first connection to them; any other missing database stays an error.
DATABASES = ("fltr_auth", "fltr")


@dataclass(frozen=True)
class Status:
    running: bool
    kept: bool
    pid: int | None
    version: str
    data: Path
    socket_directory: Path
    # On 127.0.0.1; None where the server does not run or listens on its socket only.
    port: int | None


@dataclass(frozen=True)
class EmbeddedServer:
    """One server of major version ``major``, whose data belong below ``root / major``."""

    root: Path
    major: int = 18
    # Whether it listens on 127.0.0.1 besides its socket, for programs that this process does not start.
    listens: bool = False
    # Does not say where its data had to go, which nobody needs to know of a server that soon goes.
    quiet: bool = False

    @cached_property
    def _place(self) -> placement.Place:
        return placement.choose(self.root.resolve(), self.major)

    @property
    def _users(self) -> Users:
        return Users(self.home)

    @property
    def postmaster(self) -> Postmaster:
        return Postmaster(self._place, self.major)

    @property
    def home(self) -> Path:
        """Where data and log are: below ``root``, or for root in a private place elsewhere."""
        return self._place.home

    @property
    def data(self) -> Path:
        return self.postmaster.data

    @property
    def log(self) -> Path:
        return self.postmaster.log

    @property
    def socket_directory(self) -> Path:
        return self._place.socket_directory

    @property
    def port(self) -> int:
        """The port that the socket of the running server has in its name."""
        return self.postmaster.port()

    def join(self) -> None:
        """Make sure that the server runs and stays up while this process lives.

        Raises CannotRun when it cannot be started. Costs a few file look-ups once joined.
        """
        if self._users.has_joined() and self.postmaster.is_running():
            return
        placement.prepare(self._place, self.root.resolve(), quiet=self.quiet)
        with self._users.exclusively():
            placement.provide_programs(self._place, self.major)
            # Another thread of this process may have been faster.
            if self._users.join():
                atexit.register(self.leave)
            if not self.postmaster.start(listens=self.listens) and self.listens:
                sys.stderr.write(f"Note: {self._port_taken()}\n")

    def leave(self) -> None:
        """Give up this process's use of the server; stop it when nobody else uses or keeps it."""
        if not self._users.has_joined():
            return
        with self._users.exclusively():
            self._users.leave()
            if not self._users.is_kept() and not self._users.are_any():
                self.postmaster.stop()

    def keep(self, port: int | None = None) -> None:
        """Start the server and keep it up after this process, until ``stop``.

        ``port`` is the one of 127.0.0.1 from now on. Raises PortTaken, and RunsOnAnotherPort.
        """
        if port is not None:
            self._move_to(port)
        self.join()
        self._users.keep(True)

    def _move_to(self, port: int) -> None:
        placement.prepare(self._place, self.root.resolve(), quiet=self.quiet)
        with self._users.exclusively():
            if self.postmaster.is_running():
                if self.postmaster.listens() and self.port == port:
                    return
                raise RunsOnAnotherPort(port)
            if not tcp.is_free(port):
                raise PortTaken(port, when_it_started=False)
            self.postmaster.tcp.choose(port)

    def address(self) -> tuple[str, int, str]:
        """Host, port and password for programs that come by TCP, of the server that runs.

        Raises PortTaken where it does not listen there.
        """
        if not self.postmaster.listens():
            raise self._port_taken()
        return tcp.HOST, self.port, self.postmaster.tcp.password()

    def _port_taken(self) -> PortTaken:
        return PortTaken(self.postmaster.tcp.port(), when_it_started=True)

    def stop(self) -> bool:
        """Stop the server and no longer keep it; whether it was running.

        Raises CannotRun when another process uses it, which stopping would cut off.
        """
        if not self.home.is_dir():
            return False
        with self._users.exclusively():
            kept, running = self._users.is_kept(), self.postmaster.is_running()
            self._users.keep(False)
            if self._users.are_any():
                raise CannotRun(
                    "The embedded server is in use by another process, so it was not stopped."
                    + (" It is no longer kept and stops when the last one ends." if kept else "")
                )
            self.postmaster.stop()
            return running

    def remove(self) -> None:
        """Delete the data of a server that has stopped, wherever it was kept."""
        if self.postmaster.is_running():
            raise CannotRun("The embedded server is running, so its data was not removed.")
        shutil.rmtree(self.home, ignore_errors=True)
        if self._place.elsewhere:
            self.home.parent.rmdir()
        if self.socket_directory != self.home:
            shutil.rmtree(self.socket_directory, ignore_errors=True)

    def status(self) -> Status:
        """What there is, starting nothing."""
        running = self.postmaster.is_running()
        return Status(
            running=running,
            kept=self._users.is_kept(),
            pid=self.postmaster.pid() if running else None,
            version=str(self.major),
            data=self.data,
            socket_directory=self.socket_directory,
            port=self.port if running and self.postmaster.listens() else None,
        )

    def create_database(self, name: str) -> bool:
        """Create one of ``DATABASES``, marked as development, in UTC; False for any other name."""
        if name not in DATABASES:
            return False
        # Under another name until it is marked: killed half-way, it must not stand there unmarked.
        fresh = f"{name}_new"
        with (
            self._users.exclusively(),
            psycopg.connect(
                host=str(self.socket_directory),
                port=self.port,
                user=SUPERUSER,
                dbname="postgres",
                autocommit=True,
                connect_timeout=10,
            ) as connection,
        ):
            known = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(known, [name]).fetchone():
                return True
            # A statement with one place leaves the second name out.
            names = [sql.Identifier(fresh), sql.Identifier(name)]
            for made in ("DROP DATABASE IF EXISTS {}", "CREATE DATABASE {} TEMPLATE template0"):
                connection.execute(sql.SQL(made).format(*names))
            ((oid,),) = connection.execute(
                "SELECT oid::bigint FROM pg_database WHERE datname = %s", [fresh]
            )
            connection.execute(environment_mark.statement(None, "development", fresh, oid, name))
            for made in (
                "ALTER DATABASE {} SET TimeZone = 'UTC'",
                "ALTER DATABASE {} RENAME TO {}",
            ):
                connection.execute(sql.SQL(made).format(*names))
        return True


def of(settings: Mapping[str, Any]) -> EmbeddedServer:
    """The server of an alias's settings."""
    return EmbeddedServer(settings["EMBEDDED_ROOT"], listens=settings["EMBEDDED_LISTENS"])


def is_missing_database(error: psycopg.OperationalError) -> bool:
    # libpq gives no SQLSTATE for a failed connection; the embedded server speaks English.
    return 'database "' in str(error) and "does not exist" in str(error)
