"""Let a stranger, an auditor and an application attack a database for minutes.

    python -m bench.attack [--seconds 120] [--seed 1] [--major 18]

Random statements over our tables, functions and triggers (tests/auth_app/attack.py), each role over two connections at once.
Exits 1, with the statements before it, as soon as anything has changed that the role may not change.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import django
import psycopg

from .server import ROOT, environment, migrated

# Statements between two looks at the state.
BATCH = 500
CONNECTIONS = 2
KINDS: tuple[str | None, ...] = (None, "auditor", "app")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))  # noqa: S311
    parser.add_argument("--major", type=int, default=18)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fltr_project.settings")
    django.setup()
    print(f"seed {options.seed}")
    with migrated(options.major) as (_, url), psycopg.connect(url, autocommit=True) as owner:
        from tests.auth_app.attack import SCENE

        owner.execute(SCENE.encode())
        for number, kind in enumerate(KINDS):
            seconds = options.seconds / len(KINDS)
            found = _attack(owner, url, kind, seconds, options.seed + number * CONNECTIONS)
            if found:
                return 1
    return 0


def _attack(
    owner: psycopg.Connection[Any], url: str, kind: str | None, seconds: float, seed: int
) -> bool:
    from tests.auth_app.attack import Attack, State, changed, forged

    role = f"attacker_{kind or 'stranger'}"
    owner.execute(f"CREATE ROLE {role} LOGIN".encode())
    if kind:
        arguments = ["--database", "auth", "--role", role, "--as", kind, "--verbosity", "0"]
        subprocess.run(
            [sys.executable, "manage.py", "grant_access", *arguments],
            cwd=ROOT,
            env=environment(url),
            check=True,
        )
    connect = partial(
        psycopg.connect, url, user=role, autocommit=True, options="-c statement_timeout=5s"
    )
    name = owner.info.user
    attacks = [Attack(connect, name, seed + number) for number in range(CONNECTIONS)]
    before = State.of(owner)
    end = time.monotonic() + seconds
    found: list[str] = []
    while not found and time.monotonic() < end:
        threads = [threading.Thread(target=attack.run, args=(BATCH,)) for attack in attacks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        after = State.of(owner)
        look: Callable[[], Iterator[str]] = (
            partial(forged, before, after, owner)
            if kind == "app"
            else partial(changed, before, after)
        )
        found = list(look())
    for attack in attacks:
        attack.close()
    sent, accepted = (
        sum(getattr(attack, what) for attack in attacks) for what in ("sent", "accepted")
    )
    rows = sum(map(len, State.of(owner).rows.values()))
    print(
        f"{kind or 'no grants':>9}: {sent:>8,} statements, {accepted:,} accepted, {rows:,} rows in the end"
    )
    for each in found:
        print(f"CHANGED: {each}")
        for attack in attacks:
            print("\n".join(attack.recent))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
