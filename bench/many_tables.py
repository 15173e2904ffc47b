"""How a nuke does with many tables on default settings: time, locks, and who else is hurt.

    python -m bench.many_tables 20000

Of its own throw-away server: it makes the tables (the slow part), then plans, sets aside, undoes,
sets aside again and purges, while one thread counts the locks of the session and another runs
transactions over 40 tables of another database, as an innocent neighbour does.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from fltr_project.postgres.embedded.postmaster import SUPERUSER
from fltr_project.postgres.embedded.server import EmbeddedServer

TABLE = "CREATE TABLE t{0} (id serial PRIMARY KEY, v text, r int REFERENCES t{1})"


@dataclass
class Watch:
    """What was seen while the operations ran."""

    most_locks: int = 0
    neighbour_transactions: int = 0
    neighbour_errors: list[str] = field(default_factory=list)


def main(tables: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="cs") as directory:
        server = EmbeddedServer(Path(directory))
        server.join()
        address = f"postgresql://{SUPERUSER}@/{{}}?host={server.socket_directory}"
        try:
            for name in ("fltr_auth", "fltr"):
                server.create_database(name)
            for alias, name in (("AUTH", "fltr_auth"), ("FLTR", "fltr"), ("CONTROL", "postgres")):
                os.environ[f"{alias}_DATABASE_URL"] = address.format(name)
            make_tables(address.format("fltr_auth"), tables)
            make_tables(address.format("fltr"), 40)
            return measure(address, tables)
        finally:
            server.leave()
            server.remove()


def make_tables(address: str, tables: int) -> None:
    with psycopg.connect(address) as session:
        for number in range(tables):
            session.execute(TABLE.format(number, max(number - 1, 0)))
            if number % 200 == 199:
                session.commit()


def measure(address: str, tables: int) -> dict[str, object]:
    os.environ["DJANGO_SETTINGS_MODULE"] = "fltr_project.settings"
    import django

    django.setup()
    from django.db import connections

    from fltr_project.catalog import aside
    from fltr_project.postgres.target import connect, identify
    from fltr_project.rebuild import set_aside
    from fltr_project.rebuild.plan import plan
    from fltr_project.rebuild.purge import purge

    seconds: dict[str, float] = {}

    @contextmanager
    def timed(what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[what] = round(time.perf_counter() - start, 3)

    connection = connect("auth")
    target = identify(connection)
    record = aside.OperationRecord.begin("bench", "bench", ("auth",))
    watch, done = Watch(), threading.Event()
    pid = connections["auth"].connection.info.backend_pid
    threads = [
        threading.Thread(target=count_locks, args=(address, pid, watch, done)),
        threading.Thread(target=be_a_neighbour, args=(address, watch, done)),
    ]
    for thread in threads:
        thread.start()
    try:
        with timed("plan"):
            planned = plan(connection, target)
        with timed("set aside"):
            name = set_aside.nuke(planned, record).aside
        with timed("undo"):
            discarded = set_aside.undo(planned, str(name), record).replaced
        purge(target, str(discarded))
        name = set_aside.nuke(planned, record).aside
        with timed("purge"):
            purge(target, str(name))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    return {
        "tables": tables,
        "planned_tables": len(planned.rows),
        "locks_predicted_for_drop_schema": planned.locks.drop,
        "locks_guaranteed": planned.locks.guaranteed,
        "most_locks_held": watch.most_locks,
        "seconds": seconds,
        "neighbour_transactions": watch.neighbour_transactions,
        "neighbour_errors": watch.neighbour_errors,
        "left": [each.name for each in aside.find(connection)],
    }


def count_locks(address: str, pid: int, watch: Watch, done: threading.Event) -> None:
    with psycopg.connect(address.format("postgres"), autocommit=True) as session:
        while not done.is_set():
            row = session.execute("SELECT count(*) FROM pg_locks WHERE pid = %s", [pid]).fetchone()
            watch.most_locks = max(watch.most_locks, row[0] if row else 0)
            time.sleep(0.002)


def be_a_neighbour(address: str, watch: Watch, done: threading.Event) -> None:
    with psycopg.connect(address.format("fltr")) as session:
        while not done.is_set():
            try:
                for number in range(40):
                    session.execute(f"INSERT INTO t{number} (v) VALUES ('x')")  # noqa: S608
                session.rollback()
            except psycopg.Error as error:
                watch.neighbour_errors.append(f"{error.sqlstate} {error}")
                session.rollback()
            watch.neighbour_transactions += 1


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1])), indent=2))
