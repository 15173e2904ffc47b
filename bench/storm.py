"""Everything at once: clients write, directly and through PgBouncer, while schemas are emptied, restored and killed for.

    python -m bench.storm [--seconds 60] [--clients 8] [--major 18] [--owner] [--seed N]

Commands follow each other at random, a third of them killed with SIGKILL at a random moment; the databases are marked as this and
that meanwhile, also as production. Exits 1 when a write that was acknowledged is neither in ``public`` nor in a schema that was
kept nor in a backup, when a mark is lost, and when the last line of a command says what is not so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
import psycopg

from fltr_project.postgres import environment_mark, programs
from fltr_project.postgres.embedded.postmaster import SUPERUSER
from fltr_project.postgres.embedded.server import EmbeddedServer
from tests.rebuild import storm
from tests.rebuild.storm import Ran, Storm

from .server import ROOT, migrated

NAMES = {"auth": "fltr_auth", "fltr": "fltr"}
BOTH, AUTH, FLTR = ("auth", "fltr"), ("auth",), ("fltr",)
# What is run, on which databases it acts, and whether it makes a backup.
COMMANDS: tuple[tuple[tuple[str, ...], tuple[str, ...], bool], ...] = (
    (("clean_slate",), BOTH, True),
    (("clean_slate", "--keep"), BOTH, True),
    (("clean_slate", "--database", "fltr"), FLTR, True),
    (("nuke_schema", "--database", "auth"), AUTH, True),
    (("nuke_schema", "--database", "fltr", "--keep"), FLTR, True),
    (("nuke_schema", "--database", "auth", "--undo"), AUTH, False),
    (("nuke_schema", "--database", "fltr", "--undo"), FLTR, False),
    (("nuke_schema", "--database", "auth", "--purge"), (), False),
    (("nuke_schema", "--database", "fltr", "--purge"), (), False),
    (("restore_database", "--database", "auth", "--from", "latest"), AUTH, True),
    (("restore_database", "--database", "fltr", "--from", "latest", "--keep"), FLTR, True),
    (("verify_schema", "--apply"), (), False),
)
MARKS = ("test", "test", "development", "production")
KILLED = 0.3
# Seconds within which a command is killed, the clients go on after a plan, and a database is marked.
MOMENT = 4.0
TIMEOUT = 120


class Weather:
    """One storm: its databases, and the account of what must not be lost."""

    def __init__(self, server: EmbeddedServer, user: str, folder: Path, chance: random.Random):
        self.server, self.user, self.folder, self.chance = server, user, folder, chance
        self.backups = folder / "backups"
        # Tags that are in a backup, or were in a schema that somebody has had dropped by name.
        self.saved: set[str] = set()
        self.marks: dict[str, str] = {}
        self.ended: Counter[str] = Counter()
        self.wrong: list[str] = []

    def url(self, alias: str) -> str:
        return f"postgresql://{self.user}@/{NAMES[alias]}?host={self.server.socket_directory}"

    def connect(self, alias: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url(alias), autocommit=True)

    def variables(self) -> dict[str, str]:
        urls = {f"{alias.upper()}_DATABASE_URL": self.url(alias) for alias in NAMES}
        return {
            **os.environ,
            **urls,
            "CONTROL_DATABASE_URL": f"sqlite:///{self.folder / 'control.sqlite3'}",
            "DJANGO_SETTINGS_MODULE": "bench.settings",
            "BENCH_SCRATCH": str(self.folder),
            "PGAPPNAME": "a command of the storm",
        }

    def manage(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def mark(self, alias: str, environment: str) -> None:
        with self.connect(alias) as session:
            (row,) = session.execute(environment_mark.READ).fetchall()
            name, oid, comment = row
            session.execute(environment_mark.statement(comment, environment, name, oid))
        self.marks[alias] = environment

    def consent(self, words: tuple[str, ...], clients: Storm) -> tuple[str, ...]:
        """What a protected database wants; nobody writes any more, so that there is something to consent to."""
        aliases = [words[2]] if "--database" in words else list(NAMES)
        if all(self.marks[alias] != "production" for alias in aliases):
            return ()
        names = [word for alias in aliases for word in ("--confirm", NAMES[alias])]
        if {"--undo", "--purge"} & set(words) or words[0] == "verify_schema":
            return tuple(names) if words[0] != "verify_schema" else ()
        clients.calm.set()
        time.sleep(0.3)
        plan = "clean_slate" if words[0] == "clean_slate" else "nuke_schema"
        databases = [word for alias in aliases for word in ("--database", alias)]
        out, err = self.manage(plan, *databases, "--plan", "--format", "json").communicate()
        try:
            return (*names, "--token", json.loads(out)["token"])
        except (ValueError, KeyError):
            # Nobody has to have a plan where there is no schema.
            self.ended[f"plan: {err.strip()[:80] or out.strip()[:80]}"] += 1
            return ()

    def save(self, alias: str | None = None) -> None:
        """Take over what is in the backups, and, of one database, in the schemas that are about to be dropped."""
        if alias:
            with self.connect(alias) as session:
                self.saved |= storm.there(session, "public_aside_%")
        pg_restore = programs.find("pg_restore", self.server.major)
        assert pg_restore
        for prefix in NAMES.values():
            dumps = sorted(self.backups.glob(f"{prefix}-*.dump"))
            for dump in dumps:
                if dump.with_suffix(".json").exists():
                    self.saved |= storm.backed_up(pg_restore.path, dump)
            for dump in dumps[:-1]:
                dump.unlink()
                dump.with_suffix(".json").unlink(missing_ok=True)

    def settle(self) -> None:
        """Return when the server has noticed that a command is gone."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            with self.connect("auth") as session:
                left = session.execute(
                    "SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (application_name"
                    " LIKE 'clean_slate %' OR application_name IN ('a command of the storm', 'pg_dump'))"
                ).fetchall()
            if not left:
                return
            time.sleep(0.05)
        self.wrong.append("a command that was killed is still at work")

    def command(self, words: tuple[str, ...], acts_on: tuple[str, ...], clients: Storm) -> None:
        """Run one command to its end, or until it is killed, and judge what it says."""
        options = ["--no-input", *self.consent(words, clients)]
        if "--undo" not in words and words[0] != "verify_schema":
            options += ["--backup-dir", str(self.backups)]
        before = storm.schemas(self.connect)
        process, start = self.manage(*words, *options), time.monotonic()

        def moment() -> float:
            return start + self.chance.uniform(0, MOMENT)

        kills = self.chance.random() < KILLED
        what: list[tuple[float, Callable[[], None]]] = [(moment(), clients.calm.clear)]
        if self.chance.random() < 0.2:
            alias, environment = self.chance.choice(BOTH), self.chance.choice(MARKS)
            what.append((moment(), lambda: self.mark(alias, environment)))
        if kills:
            what.append((moment(), lambda: process.send_signal(signal.SIGKILL)))
        for at, act in sorted(what, key=lambda each: each[0]):
            while time.monotonic() < at and process.poll() is None:
                time.sleep(0.01)
            act()
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            self.wrong.append(f"{' '.join(words)} had not ended after {TIMEOUT} s")
        shown = " ".join(word for word in words if word not in {"--database", "--from", "latest"})
        self.ended[f"{shown}: {process.returncode}"] += 1
        if "Traceback" in err:
            self.wrong.append(f"{shown}: {err}")
        if process.returncode == -signal.SIGKILL:
            self.settle()
            return
        names = {alias: NAMES[alias] for alias in acts_on}
        after = storm.schemas(self.connect)
        self.wrong += Ran(words, process.returncode, err or out, before, after, names).lies


@contextmanager
def weather(major: int, owner: bool, chance: random.Random) -> Iterator[Weather]:
    with migrated(major) as (server, _), tempfile.TemporaryDirectory(prefix="cs") as directory:
        user = "owner" if owner else SUPERUSER
        address = f"host={server.socket_directory} user={SUPERUSER} dbname=postgres"
        with psycopg.connect(address, autocommit=True) as session:
            if owner:
                session.execute("CREATE ROLE owner LOGIN")
            for name in NAMES.values():
                session.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
                session.execute(f'CREATE DATABASE "{name}" OWNER "{user}"'.encode())
        it = Weather(server, user, Path(directory), chance)
        for alias in NAMES:
            _, err = it.manage("migrate", "--database", alias, "--verbosity", "0").communicate()
            assert not err, err
            it.mark(alias, "test")
        yield it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--major", type=int, default=18)
    parser.add_argument("--owner", action="store_true", help="as a role that is no superuser")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    chance = random.Random(options.seed)  # noqa: S311
    with weather(options.major, options.owner, chance) as it:
        os.environ.update(it.variables())
        # By which commands are told from clients.
        del os.environ["PGAPPNAME"]
        django.setup()
        from tests.conftest import Databases
        from tests.pooler import pgbouncer

        deadline = time.monotonic() + options.seconds
        with (
            pgbouncer(Databases(NAMES), it.folder) as pooler,
            storm.storm([it.connect, pooler.connect], options.clients) as clients,
        ):
            while time.monotonic() < deadline:
                for alias, schema in storm.schemas(it.connect).items():
                    if schema is None and chance.random() < 0.7:
                        it.manage("migrate", "--database", alias, "--verbosity", "0").communicate()
                words, acts_on, makes_backup = chance.choice(COMMANDS)
                if "--purge" in words:
                    it.save(words[-2])
                it.command(words, acts_on, clients)
                if makes_backup:
                    it.save()
        return report(it, clients)


def report(it: Weather, clients: Storm) -> int:
    it.save()
    for alias, told in clients.told.items():
        with it.connect(alias) as session:
            found = storm.there(session)
            (row,) = session.execute(environment_mark.READ).fetchall()
        lost = sorted(told - found - it.saved)
        print(
            f"{NAMES[alias]}: {len(told)} writes acknowledged, {len(told & found)} of them in public or a kept "
            f"schema, {len(told & it.saved)} in backups, lost: {lost[:5] or 'none'} ({len(lost)})"
        )
        marked = environment_mark.marked(row[2], row[0], row[1])
        if marked != it.marks[alias]:
            it.wrong.append(f"{NAMES[alias]} was marked {it.marks[alias]} and is {marked}")
        if lost:
            it.wrong.append(f"{NAMES[alias]}: {len(lost)} lost")
    for ended, times in sorted(it.ended.items()):
        print(f"{times:5} {ended}")
    print(f"errors of clients: {dict(clients.errors)}")
    print(f"wrong: {it.wrong or 'nothing'}")
    return 1 if it.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
