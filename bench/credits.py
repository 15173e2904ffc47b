"""How fast the credit ledger is, against what PostgreSQL can do on the same server.

    python -m bench.credits [--rounds 5] [--seconds 1] [--where DIR] [--flush MS] [--processes N]

The floor is pgbench with a prepared statement that does the same work in one CTE. "function alone" is
pgbench too, calling the ledger's function: what the checks in it cost the server, and the number that
counts. "consume" is Python's call of it. All ways of a cell run one after the other in each round,
each of them first in turn; a ratio is the median of the rounds' ratios.

Client and server share this machine's processors. The Python clients are threads of one process for
each processor, as a web server runs them; ``--processes 8`` gives each of eight its own. How long the
disk takes to flush the log decides how much of a consume is waiting: it is printed, and ``--flush``
adds to it (commit_delay), to measure on a fast disk or in memory as on a slower one. A virtual disk
may take processor time as well, which the clients and the server then lack; memory with ``--flush``
does not.

Compare ratios of one run only. A Python that was compiled without profile-guided optimization, as pyenv
does by default, takes twice as long for the same lines as a distribution's.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from fltr_project.postgres import programs
from fltr_project.postgres.embedded.server import EmbeddedServer

from .server import ROOT, environment, migrated

PGBENCH = programs.find("pgbench", at_least=0)
USERS, CREDITS, CLIENTS = 10_000, 100_000_000, 8
FLOOR = r"""
\set n random(1, :users)
WITH account AS (
    UPDATE public.user_credits SET credits = credits - 1, updated_at = timezone('utc', now())
    WHERE user_id = 'u' || :n AND credits >= 1 RETURNING user_id, credits
)
INSERT INTO public.credit_transactions (user_id, amount, type, operation, balance_after)
SELECT user_id, -1, 'usage', 'bench', credits FROM account RETURNING id, balance_after;
"""
FUNCTION = r"""
\set n random(1, :users)
SELECT verdict, balance, id, team_id, resource_id, metadata, created_at
FROM public.try_consume_credits('u' || :n, 1, 'bench');
"""
HOLD = r"""
\set n random(1, :users)
SELECT verdict, balance, id AS hold, team_id, resource_id, metadata, created_at, held_until, state, refund_id
FROM public.try_hold_credits('u' || :n, 2, 'bench') \gset
SELECT verdict, balance, id, held, charged, uncharged, created_at
FROM public.try_settle_credits(:hold, 1);
"""
# What HOLD does, without a check, a lock that decides who ends the hold, or a look at the next one to expire.
HOLD_FLOOR = r"""
\set n random(1, :users)
WITH account AS (
    UPDATE public.user_credits SET credits = credits - 2, updated_at = timezone('utc', now())
    WHERE user_id = 'u' || :n AND credits >= 2 RETURNING user_id, credits
)
INSERT INTO public.credit_transactions (user_id, amount, type, operation, balance_after, held_until)
SELECT user_id, -2, 'usage', 'bench', credits, timezone('utc', now()) + interval '15 minutes' FROM account
RETURNING id AS hold, user_id AS account, held_until AS until \gset
WITH account AS (
    UPDATE public.user_credits SET credits = credits + 1, updated_at = timezone('utc', now())
    WHERE user_id = :account RETURNING user_id, credits
)
INSERT INTO public.credit_transactions
    (user_id, amount, type, operation, balance_after, refund_of, held_until)
SELECT user_id, 2, 'refund', 'bench', credits + 1, :hold, :until::timestamp FROM account UNION ALL
SELECT user_id, -1, 'usage', 'bench', credits, NULL, NULL FROM account
RETURNING id, balance_after;
"""
SIGN_UP = """
INSERT INTO public.users (name, email) VALUES ('Bench', gen_random_uuid()::text) RETURNING id;
"""
# The ways of a Python client: whose connections prepare (the ledger's setting for a server of one's
# own does not), and what it does.
WAYS = {
    "consume": (True, "consume"),
    "consume, not prepared": (False, "consume"),
    "hold and settle": (True, "hold_and_settle"),
    "consume with a key": (True, "consume_with_key"),
    "consume_many of 1,000": (True, "consume_many"),
    # With Django's own settings.
    "select for update": (False, "for_update"),
}
FUNCTION_ALONE, HOLD_ALONE, HELD_PLAINLY, BATCH, ONE_ACCOUNT = (
    "function alone",
    "hold and settle alone",
    "hold and settle, floor",
    "consume_many of 1,000",
    "floor on one account",
)
# The ways of pgbench: its script, and among how many accounts if not among those of the cell.
SCRIPTS: dict[str, tuple[str, int | None]] = {
    "floor": (FLOOR, None),
    FUNCTION_ALONE: (FUNCTION, None),
    HOLD_ALONE: (HOLD, None),
    HELD_PLAINLY: (HOLD_FLOOR, None),
    ONE_ACCOUNT: (FLOOR, 1),
}
# (accounts, clients, bars: a way is at least so many times as fast as another)
CELLS: list[tuple[int, int, list[tuple[str, str, float]]]] = [
    (
        USERS,
        1,
        [
            (FUNCTION_ALONE, "floor", 0.85),
            ("consume", "floor", 0.55),
            ("consume", "select for update", 4),
            # Two statements, two commits and three rows where a consume has one of each: the floors differ by
            # as much (0.44).
            (HOLD_ALONE, HELD_PLAINLY, 0.85),
            ("hold and settle", "consume", 0.37),
        ],
    ),
    (USERS, CLIENTS, [("consume", "select for update", 4)]),
    # A batch relieves a busy account, so that is what it is measured by.
    (1, 1, [("consume", "floor", 0.55), (BATCH, "floor", 8)]),
    (1, CLIENTS, [(BATCH, "floor", 8)]),
]


class Clients:
    """Python processes with clients that stay connected between the rounds."""

    def __init__(self, url: str, *, prepared: bool, processes: int) -> None:
        variables = {
            **environment(url),
            "DJANGO_SETTINGS_MODULE": "fltr_project.settings",
            "PREPARED_STATEMENTS": "on" if prepared else "off",
            # With DEBUG Django keeps every statement.
            "DEBUG": "off",
            "SECRET_KEY": "bench",
        }
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.credits_client"],
                cwd=ROOT,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(processes)
        ]
        # Starting takes both processors, and is not to be in anything that is timed.
        for process in self.processes:
            assert process.stdout is not None
            process.stdout.readline()

    def rate(self, way: str, users: int, clients: int, seconds: float) -> float:
        """Credits a second of so many clients together."""
        shares = [len(range(i, clients, len(self.processes))) for i in range(len(self.processes))]
        running = [each for each in zip(self.processes, shares, strict=True) if each[1]]
        for process, share in running:
            assert process.stdin is not None
            process.stdin.write(f"{way} {users} {seconds} {share}\n")
            process.stdin.flush()
        total = 0.0
        for process, _ in running:
            assert process.stdout is not None
            total += float(process.stdout.readline())
        return total

    def close(self) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)


def pgbench(server: EmbeddedServer, script: str, users: int, clients: int, seconds: float) -> float:
    """Transactions a second of so many prepared clients."""
    assert PGBENCH is not None, "there is no pgbench here"
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        Path(file.name).chmod(0o644)
        output = subprocess.run(
            [
                PGBENCH.path,
                "--no-vacuum",
                "--protocol=prepared",
                f"--file={file.name}",
                f"--define=users={users}",
                f"--client={clients}",
                "--jobs=1",
                f"--time={max(1, round(seconds))}",
                f"--host={server.socket_directory}",
                "--username=postgres",
                "fltr_auth",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    match = re.search(r"tps = ([\d.]+)", output)
    assert match is not None, output
    return float(match.group(1))


def consumes(server: EmbeddedServer, url: str, rounds: int, seconds: float, processes: int) -> None:
    pools = {
        prepared: Clients(url, prepared=prepared, processes=processes) for prepared in (True, False)
    }
    try:
        for users, number, bars in CELLS:
            names = [name for name in SCRIPTS if users > 1 or name != ONE_ACCOUNT] + [*WAYS]
            rates: dict[str, list[float]] = {name: [] for name in names}
            for round_ in range(rounds):
                first = round_ % len(names)
                for name in names[first:] + names[:first]:
                    if name in SCRIPTS:
                        script, among = SCRIPTS[name]
                        rate = pgbench(server, script, among or users, number, seconds)
                    else:
                        prepared, way = WAYS[name]
                        rate = pools[prepared].rate(way, users, number, seconds)
                    rates[name].append(rate)
            where = "one account" if users == 1 else f"{users:,} accounts"
            print(f"\n{where}, {number} client{'s' if number > 1 else ''}")
            _print(rates, "floor")
            for way, other, least in bars:
                ratio = _ratio(rates[way], rates[other])
                print(f"  {way} / {other}: {ratio:.2f}  at least {least}", flush=True)
    finally:
        for pool in pools.values():
            pool.close()


def sign_ups(
    server: EmbeddedServer, connection: psycopg.Connection[Any], rounds: int, seconds: float
) -> None:
    for number in (1, 8):
        rates: dict[str, list[float]] = {"plain insert": [], "with trigger": []}
        for _ in range(rounds):
            for name, state in (("plain insert", "DISABLE"), ("with trigger", "ENABLE")):
                connection.execute(
                    f"ALTER TABLE public.users {state} TRIGGER users_open_credit_account".encode()
                )
                rates[name].append(pgbench(server, SIGN_UP, 1, number, seconds))
        print(f"\nsign-up, {number} client{'s' if number > 1 else ''}")
        _print(rates, "plain insert")
        ratio = _ratio(rates["with trigger"], rates["plain insert"])
        # On a disk: the trigger writes two rows more, which in memory is nearly all that there is to do.
        print(f"  with trigger / plain insert: {ratio:.2f}  at least 0.5", flush=True)


def reconciliation(connection: psycopg.Connection[Any], url: str, rounds: int, rows: int) -> None:
    connection.execute("ALTER TABLE public.credit_transactions DISABLE TRIGGER ALL")
    have = _value(connection, "SELECT count(*) FROM public.credit_transactions")
    connection.execute(
        "INSERT INTO public.credit_transactions (user_id, amount, type, operation)"
        " SELECT 'u' || (1 + n %% %s), -1, 'usage', 'bench' FROM generate_series(1, %s) n",
        [USERS, max(0, rows - have)],
    )
    connection.execute("ALTER TABLE public.credit_transactions ENABLE TRIGGER ALL")
    connection.execute(
        "ALTER TABLE public.credit_transactions"
        " ENABLE ALWAYS TRIGGER credit_transactions_keep_history,"
        " ENABLE ALWAYS TRIGGER credit_transactions_keep_all"
    )
    connection.execute("VACUUM ANALYZE public.credit_transactions")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fltr_project.settings")
    os.environ.update(environment(url))
    import django

    django.setup()
    from auth_app.ledger import reconcile

    times: dict[str, list[float]] = {"bare sum": [], "sum per user": [], "reconcile": []}
    drifting = 0
    for _ in range(rounds):
        start = time.perf_counter()
        _value(connection, "SELECT sum(amount) FROM public.credit_transactions")
        times["bare sum"].append(time.perf_counter() - start)
        start = time.perf_counter()
        _value(
            connection,
            "SELECT count(*) FROM (SELECT user_id, sum(amount) AS total"
            " FROM public.credit_transactions GROUP BY user_id) s WHERE total = 0",
        )
        times["sum per user"].append(time.perf_counter() - start)
        start = time.perf_counter()
        drifting = sum(1 for _ in reconcile.drifts())
        times["reconcile"].append(time.perf_counter() - start)
    count = _value(connection, "SELECT count(*) FROM public.credit_transactions")
    print(f"\nreconcile, {count:,} rows, {drifting:,} accounts that drift on purpose")
    for name, each in times.items():
        print(f"  {name:<24} {statistics.median(each):>8.2f} s")


def flush_time(directory: str) -> float:
    """Milliseconds that a page takes to the disk (median)."""
    with tempfile.TemporaryFile(dir=directory) as file:
        times = []
        for _ in range(500):
            start = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * 8192, 0)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def _print(rates: dict[str, list[float]], base: str) -> None:
    for name, each in rates.items():
        ratio = _ratio(each, rates[base])
        print(f"  {name:<24} {statistics.median(each):>9,.0f}/s {ratio:>7.2f}", flush=True)


def _ratio(rates: list[float], base: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(rates, base, strict=True))


def _value(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each way in each round")
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the reconciled ledger")
    parser.add_argument("--where", help="a directory on the file system to be measured")
    parser.add_argument("--flush", type=float, default=0, help="milliseconds more for each flush")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="of Python clients")
    parser.add_argument("--only", choices=("consume", "sign-up", "reconcile"))
    options = parser.parse_args()
    with (
        migrated(where=options.where) as (server, url),
        psycopg.connect(url, autocommit=True) as connection,
    ):
        connection.execute(
            "INSERT INTO public.users (id, name, email)"
            " SELECT 'u' || n, 'Bench', 'u' || n FROM generate_series(1, %s) n",
            [USERS],
        )
        connection.execute(
            "SELECT public.grant_credits(id, %s, 'purchase', 'bench') FROM public.users", [CREDITS]
        )
        connection.execute("VACUUM ANALYZE")
        if options.flush:
            connection.execute(
                f"ALTER SYSTEM SET commit_delay = {options.flush * 1000:.0f}".encode()
            )
            connection.execute("ALTER SYSTEM SET commit_siblings = 0")
            connection.execute("SELECT pg_reload_conf()")
        print(
            f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; a flush takes"
            f" {flush_time(str(server.root)):.2f} ms, and {options.flush:g} ms more;"
            f" Python clients in {options.processes} processes"
        )
        if options.only in {None, "consume"}:
            consumes(server, url, options.rounds, options.seconds, options.processes)
        if options.only in {None, "sign-up"}:
            sign_ups(server, connection, options.rounds, options.seconds)
        if options.only in {None, "reconcile"}:
            reconciliation(connection, url, options.rounds, options.rows)
        print(f"\nload {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
