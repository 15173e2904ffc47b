"""A throw-away embedded server with migrated databases, durable as in production."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from fltr_project.postgres.embedded.postmaster import SUPERUSER
from fltr_project.postgres.embedded.server import EmbeddedServer

ROOT = Path(__file__).resolve().parent.parent


# As on a server for work: with initdb's own sizes the tables of a benchmark soon leave the memory,
# and every minute has a checkpoint.
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB"}


@contextmanager
def migrated(major: int = 18, where: str | None = None) -> Iterator[tuple[EmbeddedServer, str]]:
    """The server, and the URL of its migrated ``fltr_auth``; gone afterwards.

    ``where`` is a directory on the file system to be measured.
    """
    with tempfile.TemporaryDirectory(prefix="cs", dir=where) as directory:
        # Root's server runs as another user, who has to get in.
        Path(directory).chmod(0o755)
        server = EmbeddedServer(Path(directory), major)
        server.join()
        _configure(server)
        url = f"postgresql://{SUPERUSER}@/fltr_auth?host={server.socket_directory}"
        try:
            server.create_database("fltr_auth")
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "--database", "auth", "--verbosity", "0"],
                cwd=ROOT,
                env=environment(url),
                check=True,
            )
            yield server, url
        finally:
            server.leave()
            server.remove()


def environment(url: str) -> dict[str, str]:
    """What a program of ours needs to use the server; ``url`` is that of its ``fltr_auth``."""
    fltr = url.replace("/fltr_auth?", "/fltr?")
    return {**os.environ, "AUTH_DATABASE_URL": url, "FLTR_DATABASE_URL": fltr}


def _configure(server: EmbeddedServer) -> None:
    with psycopg.connect(
        host=str(server.socket_directory), user=SUPERUSER, dbname="postgres", autocommit=True
    ) as connection:
        for name, value in SETTINGS.items():
            connection.execute(
                sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value)
            )
    server.leave()
    server.join()
