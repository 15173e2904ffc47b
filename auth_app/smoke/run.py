"""Prove on a live database that sign-up, spending and refusing work, and leave no trace.

Everything happens inside one transaction that is rolled back, each check in a savepoint, so that a
check that fails says so and the others still run. ``guards`` has a check for each guard of
the schema, ``rights`` one of what everybody may, ``checks``, ``grants`` and ``holds`` those of the functions; ``race``
commits, and is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import connections, transaction

from auth_app.ledger import CreditError
from fltr_project.catalog import contract, read
from fltr_project.catalog.facts import Function
from fltr_project.errors import PREPARED_ELSEWHERE, CannotRun, cause_of
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.postgres.target import Target
from fltr_project.words import counted

from . import checks as functions
from . import grants, holds, rights
from .context import Live, NotChecked, Wrong
from .guards import OWNED, guards

# Consumes whose time is taken by default: few, because clean_slate waits for them.
CONSUMES = 20


LACKING = """
    SELECT format('%%s on %%s', p.privilege, c.relname)
    FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p (privilege)
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'public')
      AND c.relname = ANY(%s) AND NOT has_table_privilege(c.oid, p.privilege)
    UNION ALL
    SELECT format('EXECUTE on %%s', f.proname) FROM pg_proc f
    WHERE f.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'public')
      AND f.proname = ANY(%s) AND NOT has_function_privilege(f.oid, 'EXECUTE')
    LIMIT 1
"""


@dataclass(frozen=True)
class CheckResult:
    name: str
    ok: bool
    # What was seen, or what is wrong.
    detail: str
    milliseconds: int


@dataclass(frozen=True)
class Smoke:
    checks: tuple[CheckResult, ...]
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


def require_writable(target: Target) -> None:
    """Raise CannotRun where no row can be written, or not by this role. Read-only.

    On a standby or for a reader every check would fail, which says nothing about the database.
    """
    if target.read_only:
        raise CannotRun(
            f"{target} is read-only (a standby, or by its settings), and these checks write rows that are "
            "rolled back. Run them on the primary."
        )
    functions = contract.load(target.alias).of(Function)
    with pinned(connections[target.alias]) as cursor:
        cursor.execute(LACKING, [[*OWNED, "users"], [each.name for each in functions]])
        row = cursor.fetchone()
    if row:
        raise CannotRun(
            f"{target} is read-only for role {target.role!r} in parts ({row[0]} is not granted), and these "
            "checks write rows that are rolled back. Connect as the owner of the tables."
        )


def run(using: str = "auth", consumes: int = CONSUMES) -> Smoke:
    """Run every check on database ``using``; one transaction, rolled back whatever happens.

    ``consumes`` is how many are timed. Inside an open transaction it is a savepoint of that. Raises
    django.db.Error only when the connection breaks.
    """
    with transaction.atomic(using=using), pinned(connections[using]) as cursor:
        locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        live = Live(using, read.read(connections[using]), consumes)
        if strange := live.overloads:
            transaction.set_rollback(True, using=using)
            return Smoke((CheckResult("functions", False, _beside(strange), 0),))
        # What the checks share stands outside their savepoints. Where it cannot be made, each of
        # them fails on it and says why.
        with suppress(DatabaseError, CreditError), transaction.atomic(using=using):
            live.prepare()
        unchecked = list(functions.UNCHECKED)
        checks = []
        for name, function in _all_checks().items():
            try:
                checks.append(_check(name, function, live))
            except NotChecked as reason:
                unchecked.append(f"{name}: {reason}")
        transaction.set_rollback(True, using=using)
    return Smoke(tuple(checks), tuple(unchecked))


def _beside(strange: Sequence[Function]) -> str:
    first, *more = (f"{each.name}({each.arguments})" for each in strange)
    others = f" and {counted(len(more), 'more')}" if more else ""
    return (
        f"{first}{others} stands beside the ledger's own, which a call might reach instead: nothing was "
        "called; `manage.py verify_schema` says how to mend it"
    )


def _all_checks() -> dict[str, Callable[[Live], str]]:
    return {
        **guards(),
        **rights.CHECKS,
        **functions.CHECKS,
        **grants.CHECKS,
        **holds.CHECKS,
    }


def _check(name: str, function: Callable[[Live], str], live: Live) -> CheckResult:
    start, ok = time.perf_counter(), False
    connection = connections[live.using]
    try:
        with transaction.atomic(using=live.using):
            detail = function(live)
            ok = True
            transaction.set_rollback(True, using=live.using)
    except Wrong as wrong:
        detail = str(wrong)
    except (DatabaseError, CreditError) as error:
        if connection.connection is None or connection.connection.closed:
            raise
        if isinstance(cause_of(error), PREPARED_ELSEWHERE):
            # Says nothing of the database, and every other check would fail on it too.
            raise
        detail = " ".join(str(error).split())
    return CheckResult(name, ok, detail, round((time.perf_counter() - start) * 1000))
