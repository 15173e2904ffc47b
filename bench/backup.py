"""A backup, proven and not, beside pg_dump, createdb and pg_restore by hand.

    python -m bench.backup [--megabytes 1024] [--tables 100] [--rounds 5] [--into DIR]

Both work in turn on one throw-away server whose settings are those of a server for work, and the medians
of their ratios are printed. "read" is `backup_database --no-proof` beside `pg_dump --format=custom` and
`pg_restore --file=/dev/null`, which reads the archive to its end; "proven" is `backup_database --proof`
beside pg_dump, createdb and pg_restore into it, after which nobody has compared anything yet.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from bench.server import ROOT, environment, migrated
from fltr_project.postgres import programs

TARGETS = {"read": 1.1, "proven": 1.15}
# What a row of the tables takes in an archive before it is compressed, in bytes.
ROW = 256
# Text of few words, numbers, times and what does not compress: about as much of each as a product has.
FILL = sql.SQL("""
    INSERT INTO {} (name, body, amount, made_at, token)
    SELECT 'customer ' || n, repeat(substr(md5((n / 7)::text), 1, 9) || ' documents of ', 4),
           n %% 10007 / 7.0, timestamptz '2026-01-01' + n * interval '1 second', sha256(n::text::bytea)::text
    FROM generate_series(1, %s) n
""")
TABLE = sql.SQL("""
    CREATE TABLE {} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, body text NOT NULL,
                     amount numeric NOT NULL, made_at timestamptz NOT NULL, token text NOT NULL);
    CREATE INDEX ON {} (made_at)
""")


def fill(url: str, tables: int, megabytes: int) -> None:
    """Make the tables, with as many megabytes of COPY's text in all."""
    with psycopg.connect(url, autocommit=True) as session:
        for number in range(tables):
            table = sql.Identifier(f"t{number}")
            session.execute(TABLE.format(table, table))
            session.execute(FILL.format(table), [megabytes * 1_000_000 // ROW // tables])
        session.execute("VACUUM ANALYZE")
        size = session.execute(
            "SELECT pg_size_pretty(pg_database_size(current_database()))"
        ).fetchone()
        print(f"{tables} tables, {size[0] if size else '?'}", flush=True)


def run(arguments: Sequence[str], url: str) -> None:
    subprocess.run(arguments, cwd=ROOT, env=environment(url), check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--into", type=Path, help="a directory on the file system to be measured")
    options = parser.parse_args()
    with (
        migrated(where=options.into) as (server, url),
        tempfile.TemporaryDirectory(prefix="cs", dir=options.into) as directory,
    ):
        fill(url, options.tables, options.megabytes)
        at = {name: str(found.path) for name in PROGRAMS if (found := programs.find(name, 18))}
        host = f"--host={server.socket_directory}"
        dump = f"{directory}/by_hand.dump"

        def ours(proof: str) -> None:
            where = ("--database", "auth", "--backup-dir", directory, "--rotate", "1")
            run([sys.executable, "manage.py", "backup_database", *where, proof], url)

        def pg_dump() -> None:
            run([at["pg_dump"], "--format=custom", f"--file={dump}", url], url)

        def read_by_hand() -> None:
            pg_dump()
            run([at["pg_restore"], "--file=/dev/null", dump], url)

        def restored_by_hand() -> None:
            pg_dump()
            execute(url, "CREATE DATABASE by_hand TEMPLATE template0")
            into = [host, "--username=postgres", "--dbname=by_hand"]
            run([at["pg_restore"], "--exit-on-error", *into, dump], url)

        pairs: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "read": (lambda: ours("--no-proof"), read_by_hand),
            "proven": (lambda: ours("--proof"), restored_by_hand),
        }
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
        for number in range(options.rounds):
            for name, (mine, by_hand) in pairs.items():
                # Whoever goes second finds the tables in memory: it is each one's turn.
                first, second = (mine, by_hand) if number % 2 else (by_hand, mine)
                taken = {work: timed_alone(work, url) for work in (first, second)}
                seconds[name].append((taken[mine], taken[by_hand]))
                print(f"  {name}: {taken[mine]:.1f} s, by hand {taken[by_hand]:.1f} s", flush=True)
        archives = ("fltr_auth-*.dump", "by_hand.dump")
        size, by_hand_size = (next(Path(directory).glob(name)).stat().st_size for name in archives)
        print(f"archive {size / by_hand_size:.2f} of by hand's size, {size / 1e6:.0f} MB")
        for name, pairs_of_seconds in seconds.items():
            ratio = statistics.median(ours_ / theirs for ours_, theirs in pairs_of_seconds)
            print(f"{name:<8}{ratio:.2f} of by hand (target: at most {TARGETS[name]})")


PROGRAMS = ("pg_dump", "pg_restore")


def timed_alone(work: Callable[[], None], url: str) -> float:
    """Seconds of the work, on a server that has nothing left to write of what was before it."""
    execute(url, "DROP DATABASE IF EXISTS by_hand")
    execute(url, "CHECKPOINT")
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(sql.SQL(statement))


if __name__ == "__main__":
    main()
