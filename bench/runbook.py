"""The runbook by its own tools, beside `clean_slate`: wall and processor time of both.

    python -m bench.runbook [ROUNDS]        7 by default; needs Node.js 20 or newer

The runbook, for both databases: a dump of each, DROP SCHEMA and CREATE SCHEMA, `drizzle-kit migrate`
for fltr_auth, SQLModel's `create_all` for fltr, and a look at tables and foreign keys. `clean_slate`
does the same and also looks for sessions in its way, restores and compares each dump, compares the
schemas with the contract, proves the credits, and can take everything back.

Both run in turn on one embedded server, each on a pair of databases of its own, and the medians are
printed. "processor" is what a program and its children use; "server" is PostgreSQL's part of it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

import psutil  # noqa: E402
import psycopg  # noqa: E402
from psycopg import sql  # noqa: E402

from bench.server import ROOT, migrated  # noqa: E402
from fltr_project.postgres import programs  # noqa: E402
from fltr_project.postgres.embedded.postmaster import SUPERUSER  # noqa: E402
from fltr_project.postgres.embedded.server import EmbeddedServer  # noqa: E402
from tests.clients import drizzle_folder  # noqa: E402
from tests.clients.conftest import install  # noqa: E402

NUKE = (
    "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
    " GRANT ALL ON SCHEMA public TO postgres; GRANT ALL ON SCHEMA public TO public"
)
FOREIGN_KEYS = (
    "SELECT tc.table_name, kcu.column_name, ccu.table_name, ccu.column_name"
    " FROM information_schema.table_constraints tc"
    " JOIN information_schema.key_column_usage kcu USING (constraint_schema, constraint_name)"
    " JOIN information_schema.constraint_column_usage ccu USING (constraint_schema, constraint_name)"
    " WHERE tc.constraint_type = 'FOREIGN KEY' AND tc.table_schema = 'public' ORDER BY 1, 2"
)
TARGET = 0.8


class Cost(NamedTuple):
    """Seconds."""

    wall: float
    processor: float
    server: float


class Step(NamedTuple):
    name: str
    command: list[str]
    folder: Path
    variables: dict[str, str]


def main(rounds: int) -> None:
    clients = install()
    with migrated() as (server, _), tempfile.TemporaryDirectory(prefix="cs") as directory:
        scratch = Path(directory)
        for name in ("runbook_auth", "runbook_fltr"):
            _create(server, name)
        server.create_database("fltr")
        by_hand = runbook(server, clients, scratch)
        ours = clean_slate(server, scratch)
        ways = {"runbook": by_hand, "clean_slate": [ours]}
        _run_all(server, [*by_hand, ours])  # everybody's caches
        measured: dict[str, list[list[Cost]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, steps in ways.items():
                measured[name].append(_run_all(server, steps))
    print(
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; medians of {rounds}, in s"
    )
    print(f"{'':<34}{'wall':>8}{'processor':>11}{'server':>8}")
    totals = {}
    for name, steps in ways.items():
        totals[name] = _median([_total(costs) for costs in measured[name]])
        _print(name, totals[name])
        for place, step in enumerate(steps):
            if len(steps) > 1:
                _print(f"  {step.name}", _median([costs[place] for costs in measured[name]]))
    ratios = [ours / theirs for ours, theirs in zip(*reversed(totals.values()), strict=True)]
    whole = [each.processor + each.server for each in totals.values()]
    print(f"{'clean_slate / runbook':<34}{ratios[0]:>8.2f}{ratios[1]:>11.2f}{ratios[2]:>8.2f}")
    print(f"processor and server together {whole[1] / whole[0]:.2f}; at most {TARGET} is wanted")


def runbook(server: EmbeddedServer, clients: Path, scratch: Path) -> list[Step]:
    """What a person types, one program a step."""
    bin_ = programs.wheel_bin(server.major)
    if bin_ is None:
        raise RuntimeError("the wheel with PostgreSQL's programs is not installed")
    psql = [str(bin_ / "psql"), "--no-psqlrc", "--set=ON_ERROR_STOP=1"]
    folder = scratch / "drizzle"
    auth, fltr = (_url(server, name) for name in ("runbook_auth", "runbook_fltr"))
    kit = ["node", drizzle_folder.KIT]
    variables = drizzle_folder.variables("auth", clients, folder, auth)

    def generate(*arguments: str) -> None:
        subprocess.run(
            [*kit, *arguments],
            cwd=clients,
            env={**os.environ, **variables, "CI": "1"},
            check=True,
            capture_output=True,
        )

    drizzle_folder.generate("auth", clients, folder, generate, everything=False)
    pairs = {"fltr_auth": auth, "fltr": fltr}

    def each(name: str, command: list[str]) -> list[Step]:
        return [Step(f"{name} {of}", [*command, url], ROOT, {}) for of, url in pairs.items()]

    return [
        *(
            Step(
                f"pg_dump {of}",
                [str(bin_ / "pg_dump"), f"--file={scratch / of}.sql", url],
                ROOT,
                {},
            )
            for of, url in pairs.items()
        ),
        *each("psql DROP, CREATE SCHEMA", [*psql, "-c", NUKE]),
        Step("drizzle-kit migrate", [*kit, "migrate", drizzle_folder.CONFIG], clients, variables),
        Step(
            "SQLModel create_all",
            [
                sys.executable,
                "-m",
                "bench.fltr_app",
                fltr.replace("postgresql://", "postgresql+psycopg://"),
            ],
            ROOT,
            {},
        ),
        *each("psql tables, foreign keys", [*psql, "-c", "\\dt", "-c", FOREIGN_KEYS]),
    ]


def clean_slate(server: EmbeddedServer, scratch: Path) -> Step:
    variables = {
        "DJANGO_SETTINGS_MODULE": "bench.settings",
        "BENCH_SCRATCH": str(scratch),
        "AUTH_DATABASE_URL": _url(server, "fltr_auth"),
        "FLTR_DATABASE_URL": _url(server, "fltr"),
        "SECRET_KEY": "for a benchmark only: " + "0123456789" * 5,
    }
    command = [sys.executable, "manage.py", "clean_slate", "--no-input"]
    return Step("clean_slate", command, ROOT, variables)


def _run_all(server: EmbeddedServer, steps: list[Step]) -> list[Cost]:
    return [_run(server, step) for step in steps]


def _run(server: EmbeddedServer, step: Step) -> Cost:
    with tempfile.TemporaryFile("w+") as output:
        before, start = _server_seconds(server), time.perf_counter()
        process = subprocess.Popen(
            step.command,
            cwd=step.folder,
            env={**os.environ, **step.variables, "CI": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{step.name} ended with {process.returncode}: {output.read()}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, _server_seconds(server) - before)


def _server_seconds(server: EmbeddedServer) -> float:
    """Processor time of the server's processes, ended ones included."""
    postmaster = psutil.Process(server.status().pid)
    own = postmaster.cpu_times()
    seconds: float = own.user + own.system + own.children_user + own.children_system
    for child in postmaster.children():
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            seconds += times.user + times.system
    return seconds


def _create(server: EmbeddedServer, name: str) -> None:
    with psycopg.connect(_url(server, "postgres"), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
        )


def _url(server: EmbeddedServer, name: str) -> str:
    return f"postgresql://{SUPERUSER}@/{name}?host={server.socket_directory}"


def _total(costs: list[Cost]) -> Cost:
    return Cost(*(sum(part) for part in zip(*costs, strict=True)))


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(part) for part in zip(*costs, strict=True)))


def _print(name: str, cost: Cost) -> None:
    print(f"{name:<34}{cost.wall:>8.2f}{cost.processor:>11.2f}{cost.server:>8.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
