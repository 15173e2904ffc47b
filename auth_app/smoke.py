"""Prove on a live database that sign-up, spending and refusing work, and leave no trace.

Everything happens inside one transaction that is rolled back, each check in a savepoint, so that a
check that fails says so and the others still run. ``smoke_guards`` has a check for each guard of
the schema, ``smoke_checks`` those of the functions; ``smoke_race`` commits, and is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import connections, transaction

from fltr_project.postgres import locks
from fltr_project.schema import catalog
from fltr_project.words import counted

from .credits import CreditError
from .smoke_checks import CHECKS, UNCHECKED
from .smoke_guards import guards
from .smoke_live import Live, NotChecked, Wrong

# Consumes whose time is taken by default: few, because clean_slate waits for them.
CONSUMES = 20


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    # What was seen, or what is wrong.
    detail: str
    milliseconds: int


@dataclass(frozen=True)
class Smoke:
    checks: tuple[Check, ...]
    # What these checks cannot know, and why.
    unchecked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def detail(self) -> str:
        if self.ok:
            return f"{counted(len(self.checks), 'credit checks')} passed"
        return "; ".join(f"{check.name}: {check.detail}" for check in self.checks if not check.ok)


def run(using: str = "auth", consumes: int = CONSUMES) -> Smoke:
    """Run every check on database ``using``; one transaction, rolled back whatever happens.

    ``consumes`` is how many are timed. Inside an open transaction it is a savepoint of that. Raises
    django.db.Error only when the connection breaks.
    """
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        live = Live(using, catalog.read(connections[using]), consumes)
        # What the checks share stands outside their savepoints. Where it cannot be made, each of
        # them fails on it and says why.
        with suppress(DatabaseError, CreditError), transaction.atomic(using=using):
            live.prepare()
        unchecked = list(UNCHECKED)
        checks = []
        for name, function in {**guards(), **CHECKS}.items():
            try:
                checks.append(_check(name, function, live))
            except NotChecked as reason:
                unchecked.append(f"{name}: {reason}")
        transaction.set_rollback(True, using=using)
    return Smoke(tuple(checks), tuple(unchecked))


def _check(name: str, function: Callable[[Live], str], live: Live) -> Check:
    start, ok = time.perf_counter(), False
    connection = connections[live.using]
    try:
        with transaction.atomic(using=live.using):
            detail = function(live)
            # A foreign key of Django's is checked at the commit, which never comes here.
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            ok = True
            transaction.set_rollback(True, using=live.using)
    except Wrong as wrong:
        detail = str(wrong)
    except (DatabaseError, CreditError) as error:
        if connection.connection is None or connection.connection.closed:
            raise
        detail = " ".join(str(error).split())
    return Check(name, ok, detail, round((time.perf_counter() - start) * 1000))
