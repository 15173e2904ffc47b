"""The embedded server's address on 127.0.0.1, for programs that cannot use a socket: a port that stays, and a
password in a file that only this user can read.

Whoever may use the socket needs no password, because nobody else may enter its directory. The port is open to
every user of the machine, so there the server asks for one.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from fltr_project.errors import CannotRun

from .placement import Place, file_errors_explained

HOST = "127.0.0.1"
# Below the ports that Linux and macOS give to outgoing connections.
FIRST_PORT, PORTS = 25_000, 5_000

# The server takes these rules in place of those that its data directory was made with.
RULES = f"""\
local all all trust
local replication all trust
host all all {HOST}/32 scram-sha-256
"""


@dataclass(frozen=True)
class Tcp:
    """The files in the server's home that say where it listens and who may come in."""

    place: Place

    @property
    def port_file(self) -> Path:
        return self.place.home / "port"

    @property
    def password_file(self) -> Path:
        return self.place.home / "password"

    @property
    def rules_file(self) -> Path:
        return self.place.home / "pg_hba.conf"

    def prepare(self) -> None:
        """Write what is not there yet, so that all of it is the same after every start."""
        with file_errors_explained(self.place.home):
            _write(self.place, self.rules_file, RULES)
            if not self.password_file.exists():
                _write(self.place, self.password_file, secrets.token_urlsafe(24))
            if not self.port_file.exists():
                self.choose(_free_port(self.place.home))

    def port(self) -> int:
        """The port of every start, once ``prepare`` has chosen one."""
        with file_errors_explained(self.place.home):
            text = self.port_file.read_text().strip()
        if not text.isdigit() or not 1024 <= int(text) <= 65535:
            raise CannotRun(
                f"{self.port_file} holds no port. Remove it, and another one is chosen."
            )
        return int(text)

    def choose(self, port: int) -> None:
        """Make it the port of every start from now on."""
        _write(self.place, self.port_file, f"{port}\n")

    def password(self) -> str:
        with file_errors_explained(self.place.home):
            return self.password_file.read_text().strip()

    def set_password(self, role: str, port: int) -> None:
        """Give the role the password of the file, over the socket; the server gets only its digest."""
        address = f"host={self.place.socket_directory} port={port} user={role} dbname=postgres"
        with psycopg.connect(address, autocommit=True, connect_timeout=10) as connection:
            digest = connection.pgconn.encrypt_password(
                self.password().encode(), role.encode(), b"scram-sha-256"
            )
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(role), sql.Literal(digest.decode())
                )
            )


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET) as candidate:
        # As PostgreSQL does: connections that have just ended are not in the way.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port(home: Path) -> int:
    """A free port; of several projects on a machine each begins to look at another one."""
    begin = int.from_bytes(hashlib.sha256(os.fsencode(home)).digest()[:4]) % PORTS
    for step in range(PORTS):
        port = FIRST_PORT + (begin + step) % PORTS
        if is_free(port):
            return port
    raise CannotRun(f"No port of {HOST} from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free.")


def _write(place: Place, file: Path, text: str) -> None:
    """Whole at every moment, and readable for this user and the server's only."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    if place.run_as is not None:
        os.chown(fresh, *place.run_as)
    fresh.replace(file)
