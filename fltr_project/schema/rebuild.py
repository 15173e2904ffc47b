"""Empty, migrate, verify and prove, one transaction a database, all databases or none.

Readers see the old schema or the new one and never a hole: everything up to the commit happens in
transactions that nobody else sees. Both are proven before either commits; when the second commit
fails, the first is undone by renaming back.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import psycopg
from django.core.management import call_command
from django.db import connections, transaction
from django.db.migrations.loader import MigrationLoader

from fltr_project.errors import Blocked, CannotRun, RolledBack, explain
from fltr_project.postgres import locks
from fltr_project.postgres.target import Target
from fltr_project.routers import database_of

from . import aside, contract, nuke
from .catalog import read
from .compare import Finding, Severity, compare
from .facts import Catalog
from .plan import Plan


@dataclass(frozen=True)
class Step:
    """One thing that was done to one database, and how it went."""

    name: str
    target: Target
    milliseconds: int
    ok: bool
    detail: str


@dataclass(frozen=True)
class Rebuilt:
    target: Target
    # What the old schema is called now; None when there was none.
    aside: str | None
    catalog: Catalog
    findings: tuple[Finding, ...]


class Proof(Protocol):
    """What a proof of a rebuilt database says; it leaves no trace."""

    @property
    def ok(self) -> bool: ...
    @property
    def detail(self) -> str: ...


@dataclass
class Steps:
    """Collects the steps and tells a listener when one begins and when it has ended."""

    began: Callable[[str, Target], None] = lambda name, target: None
    ended: Callable[[Step], None] = lambda step: None
    done: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, target: Target) -> Iterator[list[str]]:
        """Time the block; what it appends to the list is the step's detail."""
        self.began(name, target)
        detail: list[str] = []
        start, ok = time.perf_counter(), False
        try:
            yield detail
            ok = True
        except Exception as error:
            detail.append(_sentence(error))
            raise
        finally:
            elapsed = round((time.perf_counter() - start) * 1000)
            step = Step(name, target, elapsed, ok, ", ".join(detail))
            self.done.append(step)
            self.ended(step)


def rebuild(
    plans: Sequence[Plan],
    steps: Steps,
    *,
    proofs: Mapping[str, Callable[[str], Proof]],
    lock_timeout: int = locks.LOCK_TIMEOUT,
) -> list[Rebuilt]:
    """Rebuild the planned databases from their migrations, all of them or none.

    ``proofs`` are run inside the transaction of the alias they are given for. Milliseconds for
    ``lock_timeout``. The old schemas are set aside, not purged. Raises Blocked when another session
    holds a lock too long or another operation is at work, CannotRun when a migration cannot run in
    a transaction, and RolledBack for every other failure; then nothing has changed.
    """
    targets = {plan.target.alias: plan.target for plan in plans}
    for target in targets.values():
        _require_atomic_migrations(target)
    rebuilt: list[Rebuilt] = []
    everything = tuple(targets.values())
    with (
        nuke.naming_blockers(everything, aside.SCHEMA, lock_timeout),
        _together(targets, steps, rebuilt),
    ):
        for alias, target in targets.items():
            rebuilt.append(_rebuild_one(alias, target, steps, proofs.get(alias), lock_timeout))
    return rebuilt


def _rebuild_one(
    alias: str,
    target: Target,
    steps: Steps,
    proof: Callable[[str], Proof] | None,
    lock_timeout: int,
) -> Rebuilt:
    connection = connections[alias]
    with steps.step("set aside", target) as detail:
        nuke.begin(target, lock_timeout)
        with connection.cursor() as cursor:
            # Pending trigger events would refuse a migration's ALTER TABLE (measured).
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        name = aside.set_aside(connection)
        detail.append(f"schema public is now {name}" if name else "there was no schema public")
    with steps.step("migrate", target) as detail:
        output = io.StringIO()
        call_command("migrate", database=alias, interactive=False, skip_checks=True, stdout=output)
        # Django applies every app's migrations everywhere; the other apps' make nothing here.
        applied = re.findall(r"Applying (\w+)\.(\w+)\.\.\. OK", output.getvalue())
        own = [f"{label}.{name}" for label, name in applied if database_of(label) == alias]
        detail.append(f"{', '.join(own)} applied")
    with steps.step("verify", target) as detail:
        catalog = read(connection, contract.tables(alias))
        findings = compare(contract.load(alias), catalog)
        errors = [finding for finding in findings if finding.severity is Severity.ERROR]
        if errors:
            named = ", ".join(f"{error.kind} {error.object}" for error in errors[:5])
            raise RolledBack(
                f"The migrations built something else than the contract of {target.database} in "
                f"{len(errors)} places: {named}. Run `nuke_schema`, `migrate` and `verify_schema` "
                "on a development database to see each."
            )
        detail.append(f"{len(catalog.tables)} tables as the contract says")
    if proof is not None:
        with steps.step("prove", target) as detail:
            result = proof(alias)
            if not result.ok:
                raise RolledBack(f"The proof of {target.database} failed: {result.detail}.")
            detail.append(result.detail)
    return Rebuilt(target, name, catalog, tuple(findings))


@contextmanager
def _together(
    targets: Mapping[str, Target], steps: Steps, rebuilt: Sequence[Rebuilt]
) -> Iterator[None]:
    """Transactions on all targets: all commit, or all are as they were."""
    opened: list[transaction.Atomic] = []
    try:
        for alias in targets:
            atomic = transaction.atomic(using=alias)
            atomic.__enter__()
            opened.append(atomic)
        yield
    except BaseException as error:
        _roll_back(opened, error)
        if not isinstance(error, Exception) or _keeps_its_name(error):
            raise
        raise RolledBack(
            f"{_sentence(error)} Everything was rolled back; every database is as it was."
        ) from error
    committed: list[Rebuilt] = []
    for place, result in enumerate(rebuilt):
        try:
            with steps.step("commit", result.target):
                opened[place].__exit__(None, None, None)
        except Exception as error:
            _roll_back(opened[place + 1 :], error)
            for other in reversed(committed):
                _compensate(other, steps)
            raise RolledBack(
                f"{result.target} could not commit: {_sentence(error)}. "
                "Every database is as it was. Run the command again."
            ) from error
        committed.append(result)


def _roll_back(opened: Sequence[transaction.Atomic], error: BaseException) -> None:
    for atomic in reversed(opened):
        # A broken connection has rolled back by itself.
        atomic.__exit__(type(error), error, error.__traceback__)


def _compensate(result: Rebuilt, steps: Steps) -> None:
    """Bring the old schema of a database back that had committed before another one failed."""
    with steps.step("bring back", result.target) as detail:
        if result.aside is None:
            detail.append("there was no schema to bring back")
            return
        connection = connections[result.target.alias]
        with transaction.atomic(using=result.target.alias):
            discarded = aside.bring_back(connection, result.aside)
        detail.append(f"{result.aside} is public again")
        if discarded:
            nuke.purge(result.target, discarded)


def _keeps_its_name(error: Exception) -> bool:
    return isinstance(error, CannotRun | Blocked) or isinstance(
        error.__cause__, psycopg.errors.LockNotAvailable
    )


def _sentence(error: Exception) -> str:
    text = explain(error) or f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if text.endswith(".") else f"{text}."


def _require_atomic_migrations(target: Target) -> None:
    """Raise CannotRun for a migration of this database that runs outside a transaction."""
    outside = [
        str(migration)
        for (app_label, _), migration in MigrationLoader(None).disk_migrations.items()
        if not migration.atomic and database_of(app_label) == target.alias
    ]
    if outside:
        raise CannotRun(
            f"These migrations have atomic = False, so {target.database} cannot be rebuilt in one "
            f"transaction: {', '.join(sorted(outside))}. Use nuke_schema and then migrate."
        )
