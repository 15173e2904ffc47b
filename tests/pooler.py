"""A real PgBouncer before the tests' server."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections

from fltr_project.postgres import addresses
from tests.conftest import Databases

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
CONFIGURATION = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
query_wait_timeout = 10
# What a client leaves in a session is what the next one finds, and tests want to see it.
server_reset_query =
max_client_conn = 100
"""


@dataclass(frozen=True)
class Pooler:
    port: int
    databases: Databases

    def url(self, alias: str, query: str = "") -> str:
        user = connections[alias].settings_dict["USER"]
        name = self.databases.names[alias]
        return f"postgresql://{user}@127.0.0.1:{self.port}/{name}{query}"

    def connect(self, alias: str, **options: Any) -> psycopg.Connection[Any]:
        """Another client of the pooler, in autocommit."""
        return psycopg.connect(self.url(alias), autocommit=True, prepare_threshold=None, **options)

    @contextmanager
    def between(self, *aliases: str, **extras: Any) -> Iterator[None]:
        """Have these aliases go through the pooler in this process; ``extras`` are settings of theirs."""
        usual = {alias: connections[alias] for alias in aliases}
        with pytest.MonkeyPatch.context() as patch:
            for alias, connection in usual.items():
                connection.close()
                address = addresses.parse("X", self.url(alias))
                patch.setitem(
                    connections.settings, alias, {**connection.settings_dict, **address, **extras}
                )
                connections[alias] = connections.create_connection(alias)
            try:
                yield
            finally:
                for alias, connection in usual.items():
                    connections[alias].close()
                    connections[alias] = connection


@contextmanager
def pgbouncer(
    databases: Databases, folder: Path, mode: str = "transaction", size: int = 20
) -> Iterator[Pooler]:
    """PgBouncer in front of the server of ``databases``; skips the test where it is not installed."""
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed")
    settings = connections["auth"].settings_dict
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        own_port = free.getsockname()[1]
    file = folder / "pgbouncer.ini"
    file.write_text(
        CONFIGURATION.format(
            host=settings["HOST"],
            port=settings["PORT"] or 5432,
            user=settings["USER"],
            own_port=own_port,
            mode=mode,
            size=size,
        )
    )
    # It does not run as root, and reads its file before it becomes who may enter the socket's directory.
    owner = Path(settings["HOST"]).stat().st_uid if os.geteuid() == 0 else None
    as_user = [] if owner is None else ["-u", pwd.getpwuid(owner).pw_name]
    with subprocess.Popen(
        [PROGRAM, "-q", *as_user, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            _wait(own_port, process)
            yield Pooler(own_port, databases)
        finally:
            process.terminate()
            process.communicate()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
