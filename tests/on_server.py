"""Run a command against a throw-away PostgreSQL server of another version, through URLs.

    python -m tests.on_server 16 -- python -m pytest

The server comes from the wheel (18 or 16) or, for the others, from the distribution's packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from fltr_project.postgres.embedded.postmaster import SUPERUSER
from fltr_project.postgres.embedded.server import EmbeddedServer

from . import memory

# What a test writes need not outlive the machine, and nothing may happen behind its back.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
}


def main(major: str, dashes: str, *command: str) -> int:
    if dashes != "--" or not command:
        sys.exit("usage: python -m tests.on_server MAJOR -- COMMAND ...")
    with tempfile.TemporaryDirectory(prefix="cs", dir=memory.directory()) as directory:
        # Root's server runs as another user, who has to get in.
        Path(directory).chmod(0o755)
        server = EmbeddedServer(Path(directory), int(major))
        server.join()
        address = f"host={server.socket_directory}"
        with psycopg.connect(f"{address} user={SUPERUSER} dbname=postgres", autocommit=True) as db:
            for name, value in SETTINGS.items():
                db.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value))
            db.execute("SELECT pg_reload_conf()")
            for name in ("fltr_auth", "fltr"):
                db.execute(f'CREATE DATABASE "{name}"')
        urls = {
            f"{alias}_DATABASE_URL": f"postgresql://{SUPERUSER}@/{name}?{address}"
            for alias, name in (("AUTH", "fltr_auth"), ("FLTR", "fltr"))
        }
        try:
            return subprocess.run(command, env={**os.environ, **urls}, check=False).returncode
        finally:
            server.leave()
            server.remove()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
