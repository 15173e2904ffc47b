"""Clients that write to every table all the time, and the account of what they were told; the benchmark uses it too.

What a client was told to be committed is afterwards in ``public``, in a schema that was kept, or in a backup; and the last
line of a command says which of the first two.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

type Connect = Callable[[str], psycopg.Connection[Any]]

# Seconds between two writes of a client, which leave room for the commands on a small machine.
PAUSE = 0.003
# Seconds.
PATIENCE = 60
# What every row of theirs has in it, and in which table by which statement.
TAG = re.compile(r"storm-\d+-\d+")
WRITES = {
    "auth": (
        "INSERT INTO public.users (id, name, email) VALUES (%(tag)s, 'S', %(tag)s || '@example.invalid')",
        "SELECT * FROM public.grant_credits(%(user)s, 10, 'purchase', 'storm', p_idempotency_key => %(tag)s)",
        "SELECT * FROM public.consume_credits(%(user)s, 1, 'storm', p_idempotency_key => %(tag)s)",
        "INSERT INTO public.sessions (user_id, token, expires_at) VALUES (%(user)s, %(tag)s, now())",
        "INSERT INTO public.accounts (user_id, account_id, provider_id) VALUES (%(user)s, %(tag)s, 'S')",
        "INSERT INTO public.verifications (identifier, value, expires_at) VALUES ('S', %(tag)s, now())",
        "INSERT INTO public.teams (id, name, owner_id) VALUES (%(tag)s, 'S', %(user)s)",
        "INSERT INTO public.api_key_credits (api_key, user_id) VALUES (%(tag)s, %(user)s)",
        "INSERT INTO public.subscriptions (plan, reference_id) VALUES ('S', %(tag)s)",
    ),
    "fltr": (
        "INSERT INTO public.datasets (owner_id, name, slug) VALUES ('S', 'S', %(tag)s) RETURNING id",
        "INSERT INTO public.documents (dataset_id, filename, object_key)"
        " VALUES (%(dataset)s, 'S', %(tag)s)",
        "INSERT INTO public.processing_jobs (dataset_id, error) VALUES (%(dataset)s, %(tag)s)",
    ),
}
# A table by which a schema is known: another one has another.
KNOWN_BY = {"auth": "public.users", "fltr": "public.datasets"}


@dataclass
class Storm:
    """What the clients were told, by alias, and the errors that they met."""

    told: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    errors: Counter[str] = field(default_factory=Counter)
    # How often each client was told something.
    turns: Counter[int] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)
    # Nobody writes while it is set.
    calm: threading.Event = field(default_factory=threading.Event)

    def wait(self, turns: int = 3) -> None:
        """Return when each client has been told so many things more."""
        before, deadline = Counter(self.turns), time.monotonic() + PATIENCE
        while any(self.turns[client] - before[client] < turns for client in before):
            assert time.monotonic() < deadline, self.errors
            time.sleep(0.01)


@contextmanager
def storm(connects: Sequence[Connect], clients: int) -> Iterator[Storm]:
    """So many clients that write until the block ends; they connect in these ways by turns."""
    it = Storm()
    threads = [
        threading.Thread(target=_write, args=(it, number, connect), name=f"client {number}")
        for number, connect in zip(range(clients), cycle(connects), strict=False)
    ]
    it.turns.update(dict.fromkeys(range(clients), 0))
    for thread in threads:
        thread.start()
    try:
        yield it
    finally:
        it.over.set()
        for thread in threads:
            thread.join()


def _write(it: Storm, client: int, connect: Connect) -> None:
    """One client: each write by itself, and now and then several in one transaction."""
    sessions: dict[str, psycopg.Connection[Any]] = {}
    known: dict[str, Any] = {"user": "", "dataset": None}
    number = count(1)
    try:
        for turn in cycle(range(4)):
            for alias, writes in WRITES.items():
                for statements in [writes] if turn == 0 else [[each] for each in writes]:
                    while not it.over.wait(PAUSE) and it.calm.is_set():
                        continue
                    if it.over.is_set():
                        return
                    tags = [f"storm-{client}-{next(number)}" for _ in statements]
                    try:
                        if alias not in sessions:
                            sessions[alias] = connect(alias)
                        _commit(sessions[alias], zip(statements, tags, strict=True), known)
                    except psycopg.Error as error:
                        it.errors[error.sqlstate or type(error).__name__] += 1
                        if alias in sessions and sessions[alias].closed:
                            del sessions[alias]
                        continue
                    it.told[alias].update(tags)
                    it.turns[client] += 1
    finally:
        for session in sessions.values():
            session.close()


def _commit(
    session: psycopg.Connection[Any], writes: Iterable[tuple[str, str]], known: dict[str, Any]
) -> None:
    with session.transaction():
        for statement, tag in writes:
            cursor = session.execute(statement.encode(), {**known, "tag": tag})
            if "public.users" in statement:
                known["user"] = tag
            elif statement.endswith("RETURNING id"):
                known["dataset"] = cursor.fetchall()[0][0]


def there(session: psycopg.Connection[Any], like: str = "public%") -> set[str]:
    """The tags of all rows in the schemas of such names."""
    found: set[str] = set()
    tables = session.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'r' AND n.nspname LIKE %s",
        [like],
    ).fetchall()
    for name in tables:
        rows = session.execute(
            sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(*name))
        ).fetchall()
        found.update(*(TAG.findall(row) for (row,) in rows))
    return found


def backed_up(pg_restore: Path, backup: Path) -> set[str]:
    """The tags of all rows in a backup."""
    data = subprocess.run(
        [str(pg_restore), "--data-only", "--file=-", str(backup)], capture_output=True, check=True
    ).stdout
    return set(TAG.findall(data.decode()))


def schemas(connect: Connect) -> dict[str, int | None]:
    """By which schema ``public`` of each database is known; None where it has no tables."""
    found = {}
    for alias, table in KNOWN_BY.items():
        with connect(alias) as session:
            (row,) = session.execute("SELECT to_regclass(%s)::oid", [table]).fetchall()
            found[alias] = row[0]
    return found


@dataclass(frozen=True)
class Ran:
    """A command that was run to its end, and the schemas before and after."""

    words: Sequence[str]
    code: int
    output: str
    before: Mapping[str, int | None]
    after: Mapping[str, int | None]
    # The databases that it acts on where it succeeds, by alias with their names.
    acts_on: Mapping[str, str]

    @property
    def lies(self) -> list[str]:
        """What its exit code and its last line say that is not so."""
        *_, last = self.output.strip().splitlines() or [""]
        found = []
        for alias, before in self.before.items():
            if before is None and self.after[alias] is None:
                # Two empty schemas look the same.
                continue
            changed, name = before != self.after[alias], self.acts_on.get(alias, "")
            says_new = name and re.search(
                rf"{re.escape(name)} has its new schema|is schema public of {re.escape(name)} again",
                last,
            )
            if self.code == 0:
                if changed != bool(name):
                    found.append(f"{alias}: succeeded, and changed is {changed}")
            elif changed != bool(says_new) and "has not said whether" not in last:
                found.append(f"{alias}: changed is {changed}")
        return [f"{' '.join(self.words)} ended with {self.code}: {each}: {last}" for each in found]
