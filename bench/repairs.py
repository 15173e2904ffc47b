"""Every drift of the tests, found and repaired by verify_schema and by Supabase's pg-delta, on clones of one database.

    npm install --prefix var/rivals @supabase/pg-delta@1.0.0-alpha.34
    export $(python manage.py postgres url --format env)     # a server with a port: pg-delta takes no socket
    python -m bench.repairs [CASE ...]       all cases by default, about half an hour; Ctrl-C ends it with what was tried

Each tool gets a clone with rows in it on which the drift has been made, and is run as a process, as a person runs it:
`verify_schema --apply` with every hazard allowed but those of rows; `pgdelta plan` against a clean database and
`pgdelta apply`, which refuses to lose rows without --allow-data-loss. Both judges look at each result: the contract's
comparison, and pgdelta's own. Lost is a value of a column that the contract knows and that was there before.
False alarms are databases that say the same as the contract in other words. Without node or the package only ours runs.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django  # noqa: E402

django.setup()

import psycopg  # noqa: E402
from django.core.management import call_command  # noqa: E402
from psycopg import sql  # noqa: E402

from fltr_project.catalog import contract  # noqa: E402
from fltr_project.catalog.facts import Column  # noqa: E402
from fltr_project.catalog.read import read_from  # noqa: E402
from fltr_project.drift.compare import Severity, compare  # noqa: E402
from tests.conftest import ALIASES, Databases, _clone, _reaching, _server  # noqa: E402
from tests.drift.drift import DRIFT, DRIFT_ROLE, SAME, Case  # noqa: E402

RIVAL = (
    ROOT / "var" / "rivals" / "node_modules" / "@supabase" / "pg-delta" / "dist" / "cli" / "main.js"
)
ALLOWED = ("change-values", "drop-others", "take-rights", "rewrite-tables", "block-writers")
ROWS = {
    "auth": (
        "INSERT INTO users (id, name, email) VALUES ('ada', 'Ada', 'ada@example.org'), ('bob', 'Bob', 'bob@example.org')",
        "INSERT INTO sessions (user_id, token, expires_at) VALUES ('ada', 't', now())",
        "INSERT INTO accounts (user_id, account_id, provider_id) VALUES ('ada', 'a', 'credential')",
        "INSERT INTO verifications (identifier, value, expires_at) VALUES ('i', 'v', now())",
        "INSERT INTO subscriptions (plan, reference_id) VALUES ('p', 'r')",
        "INSERT INTO teams (id, name, owner_id) VALUES ('birds', 'Birds', 'ada')",
        "INSERT INTO api_key_credits (api_key, user_id, daily_limit) VALUES ('k', 'ada', 9)",
        "SELECT consume_credits('ada', 5, 'query')",
    ),
    "fltr": (
        "INSERT INTO datasets (owner_id, name, slug) VALUES ('ada', 'Birds', 'birds')",
        "INSERT INTO documents (dataset_id, filename, object_key) SELECT id, 'f', 'o' FROM datasets",
        "INSERT INTO processing_jobs (dataset_id) SELECT id FROM datasets",
    ),
}


@dataclass
class Tool:
    name: str
    found: int = 0
    alarms: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    # Judged by the contract, and by pgdelta.
    repaired: Counter[str] = field(default_factory=Counter)
    unrepaired: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    chosen = set(sys.argv[1:])
    cases = [case for case in DRIFT if not chosen or case.name in chosen]
    with templates() as names:
        clean = {alias: url_of(alias, names[alias]) for alias in ALIASES}
        ours, rival = Tool("verify_schema"), Tool("pg-delta")
        has_rival = RIVAL.exists() and shutil.which("node") is not None
        tools = [(ours, verify_schema)]
        if has_rival:
            tools.append((rival, lambda url, alias, apply: pg_delta(url, clean[alias], apply)))
        try:
            for alias, name, statements in [] if chosen else SAME:
                for tool, run in tools:
                    with drifted(alias, statements, names) as (database, _):
                        if database and run(database, alias, False)[0]:
                            tool.alarms.append(name)
            for number, case in enumerate(cases, start=1):
                # In turn, so that neither always finds the caches warm.
                for tool, run in tools if number % 2 else reversed(tools):
                    one(tool, run, case, names, clean if has_rival else {})
                print(f"\r{number} of {len(cases)}", end="", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print("\nstopped: the table is of those that were tried", file=sys.stderr)
    report([tool for tool, _ in tools], len(ours.seconds), 0 if chosen else len(SAME))


def one(
    tool: Tool,
    run: Callable[[str, str, bool], tuple[bool, float]],
    case: Case,
    names: dict[str, str],
    clean: dict[str, str],
) -> None:
    with drifted(case.alias, case.sql, names) as (url, connection):
        if url is None or connection is None:
            return
        before = values(connection, case.alias)
        found, seconds = run(url, case.alias, True)
        tool.seconds.append(seconds)
        tool.found += found
        if not found:
            tool.missed.append(case.name)
        catalog = read_from(connection, contract.tables(case.alias))
        left = [
            each
            for each in compare(contract.load(case.alias), catalog)
            if each.severity is not Severity.NOTE
        ]
        tool.repaired["contract"] += not left
        if clean:
            tool.repaired["pg-delta"] += not pg_delta(url, clean[case.alias], False)[0]
        if left:
            tool.unrepaired.append(case.name)
        after = values(connection, case.alias)
        if any(before[column] - after.get(column, Counter()) for column in before):
            tool.lost.append(case.name)


def verify_schema(url: str, alias: str, apply: bool) -> tuple[bool, float]:
    """Whether it finds a difference, and the seconds; with ``apply`` it repairs too."""
    command = [sys.executable, str(ROOT / "manage.py"), "verify_schema", "--database", alias]
    environment = {**os.environ, variable(alias): url, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    environment.setdefault("FLTR_DATABASE_URL", "embedded")
    environment.setdefault("AUTH_DATABASE_URL", "embedded")
    start = time.perf_counter()
    # Warnings count, as every difference does with pgdelta.
    strict = [*command, "--strict"]
    look = subprocess.run(strict, env=environment, capture_output=True, check=False)
    if apply and look.returncode:
        allowed = [part for hazard in ALLOWED for part in ("--allow", hazard)]
        name = urlsplit(url).path.strip("/")
        mend = [*command, "--apply", "--no-input", "--confirm", name, *allowed]
        done = subprocess.run(mend, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in {0, 1}:
            print(f"\nverify_schema: {done.stderr}", file=sys.stderr)
    return look.returncode == 1, time.perf_counter() - start


def pg_delta(url: str, clean: str, apply: bool) -> tuple[bool, float]:
    plan = ROOT / "var" / "rivals" / f"plan-{os.getpid()}.json"
    start = time.perf_counter()
    command = ["node", str(RIVAL), "plan", "--source", url, "--desired", clean, "--out", str(plan)]
    planned = subprocess.run(command, capture_output=True, text=True, check=False)
    if planned.returncode:
        raise SystemExit(planned.stdout + planned.stderr)
    found = bool(json.loads(plan.read_text(encoding="utf-8"))["actions"])
    if apply and found:
        command = ["node", str(RIVAL), "apply", "--plan", str(plan), "--target", url]
        subprocess.run(command, capture_output=True, check=False)
    return found, time.perf_counter() - start


@contextmanager
def templates() -> Iterator[dict[str, str]]:
    run_id = uuid.uuid4().hex[:8]
    names = {alias: f"bench_repairs_{alias}_{run_id}" for alias in ALIASES}
    try:
        for alias, name in names.items():
            _server(alias, "CREATE DATABASE {} TEMPLATE template0", name)
            with _reaching({alias: name}):
                call_command("migrate", database=alias, verbosity=0)
            with Databases(names).connect(alias) as connection:
                for statement in ROWS[alias]:
                    connection.execute(statement)
        yield names
    finally:
        for alias, name in names.items():
            _server(alias, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@contextmanager
def drifted(
    alias: str, statements: str, names: dict[str, str]
) -> Iterator[tuple[str | None, psycopg.Connection | None]]:
    """The URL of a clone in which the statements were run, and a connection; None where rows forbid them."""
    name = f"bench_repairs_clone_{uuid.uuid4().hex[:8]}"
    _clone(alias, names[alias], name)
    clone = Databases({**names, alias: name})
    try:
        with clone.connect(alias) as connection:
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(DRIFT_ROLE)))
            try:
                with connection.transaction():
                    connection.execute(statements)
            except psycopg.Error as error:
                print(f"\nleft out: {error}".splitlines()[1], file=sys.stderr)
                yield None, None
            else:
                yield url_of(alias, name), connection
    finally:
        _server(alias, "DROP DATABASE {} WITH (FORCE)", name)
        _server(alias, "DROP ROLE IF EXISTS {}", DRIFT_ROLE)


def values(connection: psycopg.Connection, alias: str) -> dict[str, Counter[str]]:
    """The values that are not NULL of each column that the contract knows, where it is a text of the same type."""
    found = {}
    types = {(each.table, each.name): each.type for each in contract.load(alias).of(Column)}
    for table, name, type_ in connection.execute(
        "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'public'::regnamespace"
        " AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
    ).fetchall():
        if types.get((table, name)) != type_ or table == "django_migrations":
            continue
        query = sql.SQL("SELECT {}::text FROM public.{}").format(
            sql.Identifier(name), sql.Identifier(table)
        )
        rows = connection.execute(query).fetchall()
        found[f"{table}.{name}"] = Counter(value for (value,) in rows if value is not None)
    return found


def url_of(alias: str, name: str) -> str:
    return urlsplit(os.environ[variable(alias)])._replace(path=f"/{name}").geturl()


def variable(alias: str) -> str:
    return f"{alias.upper()}_DATABASE_URL"


def report(tools: list[Tool], cases: int, same: int) -> None:
    print(f"\n\n{cases} drifts, {same} databases that say the same in other words\n")
    print(
        "| tool | found | repaired (contract) | repaired (pg-delta) | lost values | false alarms | seconds |"
    )
    print("|---|---|---|---|---|---|---|")
    for tool in tools:
        print(
            f"| {tool.name} | {tool.found} | {tool.repaired['contract']} | {tool.repaired['pg-delta']} "
            f"| {len(tool.lost)} | {len(tool.alarms)} | {statistics.median(tool.seconds):.2f} |"
        )
    for tool in tools:
        for what in ("missed", "unrepaired", "lost", "alarms"):
            print(f"{tool.name}, {what}: {', '.join(getattr(tool, what)) or 'none'}")


if __name__ == "__main__":
    main()
