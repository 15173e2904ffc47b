"""Race clients for the ledger at full length, and kill things while they run.

    python -m bench.credits_race [--clients 32] [--attempts 10000] [--isolation "read committed"]

Every way of changing credits is mixed, half of everything on one account. In between a process of
clients and, several times, a backend are killed with SIGKILL; the server recovers and the clients
send their keys again. Exits 1 when anything is lost, drifts, or was charged twice.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from tests.auth_app.ledger import racing

from .server import environment, migrated

# Seconds between kills of a backend.
PAUSE = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--attempts", type=int, default=10_000)
    parser.add_argument("--isolation", default="read committed")
    parser.add_argument("--kills", type=int, default=3, help="of a backend")
    parser.add_argument("--major", type=int, default=18)
    parser.add_argument("--where", help="a directory on the file system of the server")
    options = parser.parse_args()
    with migrated(options.major, options.where) as (_, url), tempfile.TemporaryDirectory() as logs:
        with psycopg.connect(url, autocommit=True) as connection:
            racing.set_up(connection)

        def disturb(processes: list[subprocess.Popen[bytes]]) -> None:
            racing.kill_a_client(processes)
            for _ in range(options.kills):
                time.sleep(PAUSE)
                if all(process.poll() is not None for process in processes):
                    print("the clients were done before every kill")
                    return
                _kill_a_backend(url)

        race = racing.race(
            lambda: psycopg.connect(url, autocommit=True),
            environment(url),
            Path(logs),
            clients=options.clients,
            attempts=options.attempts,
            isolation=options.isolation,
            disturb=disturb,
        )
    print(
        f"{options.clients} clients x {options.attempts} attempts, {options.isolation}: "
        f"{race.acknowledged} changes acknowledged, {race.rows} rows, {race.seconds:.0f} s, "
        f"answers that were sent again for: {dict(race.errors)}"
    )
    print(f"wrong: {race.wrong or 'nothing'}")
    return 1 if race.wrong else 0


def _kill_a_backend(url: str) -> None:
    """SIGKILL: the server takes it for a crash, ends every session and recovers from its log."""
    with psycopg.connect(url, autocommit=True) as connection:
        row: Any = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid() AND query LIKE '%credit%' LIMIT 1"
        ).fetchone()
    if row:
        os.kill(row[0], signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
