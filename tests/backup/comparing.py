"""What a database is, for comparing it with itself after a restore: by pg_dump and by digests."""

from __future__ import annotations

import os
import subprocess

from django.db import connections, transaction

from fltr_project.backup import digests
from fltr_project.backup.wording import reduced
from fltr_project.postgres import programs


def dumped(database: str) -> list[str]:
    """The database on the server of ``auth`` as pg_dump reads it, without its rows: lines whose order says nothing."""
    found = programs.find("pg_dump", at_least=18)
    assert found is not None
    info = connections["auth"].settings_dict
    parts = {"host": info["HOST"], "port": info["PORT"], "username": info["USER"]}
    command = [str(found.path), *(f"--{key}={value}" for key, value in parts.items() if value)]
    done = subprocess.run(
        [*command, "--schema-only", "--create", database],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PGPASSWORD": str(info["PASSWORD"])},
    )
    text = done.stdout.replace(database, "THIS")
    # The mark names the database by its number; expressions are printed anew once they were read again.
    left_out = ("\\", "--", "COMMENT ON DATABASE")
    return sorted(reduced(line) for line in text.split("\n") if not line.startswith(left_out))


def data() -> digests.Data:
    """The rows, sequences and large objects of ``auth``."""
    with transaction.atomic(using="auth"):
        connections["auth"].connection.execute("SET LOCAL statement_timeout = 0")
        return digests.read(connections["auth"], seed=7)
