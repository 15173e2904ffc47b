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
from django.db import Error as DatabaseError
from django.db import connections, transaction

from fltr_project.errors import Blocked, CannotRun, Refused, RolledBack, explain
from fltr_project.postgres import locks
from fltr_project.postgres.target import Target
from fltr_project.routers import database_of
from fltr_project.words import counted

from . import aside, belongings, contract, guards, nuke
from .aside import Journal
from .belongings import SCHEMA
from .catalog import read
from .compare import Finding, Severity, compare
from .facts import TRACKING_TABLES, Catalog, ForeignKey
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
    why: Journal,
    proofs: Mapping[str, Callable[[str], Proof]],
    lock_timeout: int = locks.LOCK_TIMEOUT,
    terminate: bool = False,
) -> list[Rebuilt]:
    """Rebuild the planned databases from their migrations, all of them or none.

    ``proofs`` are run inside the transaction of the alias they are given for. Milliseconds for
    ``lock_timeout``. The old schemas are set aside, not purged, with ``why`` in their journal; with
    ``terminate`` the sessions in the way are ended. Raises Blocked when another session holds a
    lock too long or another operation is at work, CannotRun when a migration cannot run in a
    transaction, Refused when a protected database has changed since its plan, and RolledBack for
    every other failure; then nothing has changed.
    """
    for plan in plans:
        guards.require_rebuildable(plan)
    rebuilt: list[Rebuilt] = []
    targets = {plan.target.alias: plan.target for plan in plans}
    with (
        locks.naming_blockers([connections[alias] for alias in targets], SCHEMA, lock_timeout),
        _together(targets, steps, rebuilt, why),
    ):
        for plan in plans:
            proof = proofs.get(plan.target.alias)
            rebuilt.append(_rebuild_one(plan, steps, why, proof, lock_timeout, terminate))
    _mark_complete(rebuilt, why)
    return rebuilt


def _rebuild_one(
    plan: Plan,
    steps: Steps,
    why: Journal,
    proof: Callable[[str], Proof] | None,
    lock_timeout: int,
    terminate: bool,
) -> Rebuilt:
    target, alias = plan.target, plan.target.alias
    connection = connections[alias]
    with steps.step("set aside", target) as detail:
        nuke.begin(plan, lock_timeout, terminate)
        name = aside.set_aside(connection, why)
        detail.append(f"schema public is now {name}" if name else "there was no schema public")
    with steps.step("migrate", target) as detail:
        output = io.StringIO()
        call_command("migrate", database=alias, interactive=False, skip_checks=True, stdout=output)
        # Django applies every app's migrations everywhere; the other apps' make nothing here.
        applied = re.findall(r"Applying (\w+)\.(\w+)\.\.\. OK", output.getvalue())
        own = [f"{label}.{name}" for label, name in applied if database_of(label) == alias]
        detail.append(f"{_first_and_last(own)} applied")
        if name and plan.published.tables:
            with connection.cursor() as cursor:
                left = belongings.republish(cursor, name, SCHEMA)
            if left:
                raise RolledBack(
                    f"Publications of {target.database} carry tables that the migrations do not "
                    f"make: {', '.join(map(str, left))}. Drop them from the publications first."
                )
            detail.append(
                f"{counted(len(plan.published.tables), 'members')} of publications put back"
            )
    with steps.step("verify", target) as detail:
        catalog = read(connection, contract.tables(alias))
        findings = compare(contract.load(alias), catalog)
        errors = [finding for finding in findings if finding.severity is Severity.ERROR]
        if errors:
            named = ", ".join(error.object for error in errors[:5])
            raise RolledBack(
                f"The migrations built something else than the contract of {target.database} in "
                f"{counted(len(errors), 'places')}: {named}. Run `nuke_schema`, `migrate` and `verify_schema` "
                "on a development database to see each."
            )
        tables = counted(len(catalog.tables), "tables")
        keys = counted(len(catalog.of(ForeignKey)), "foreign keys")
        tracking = [table for table in catalog.tables if table in TRACKING_TABLES]
        detail.append(f"{tables} and {keys} as the contract says")
        detail.append(f"tracked by {' and '.join(tracking)}")
    if proof is not None:
        with steps.step("prove", target) as detail:
            result = proof(alias)
            if not result.ok:
                raise RolledBack(f"The proof of {target.database} failed: {result.detail}.")
            detail.append(result.detail)
    return Rebuilt(target, name, catalog, tuple(findings))


def _first_and_last(migrations: Sequence[str]) -> str:
    """They run in one order, and the names of many would be a line that nobody reads."""
    if len(migrations) < 3:
        return " and ".join(migrations)
    return f"{migrations[0]} to {migrations[-1]} ({len(migrations)})"


@contextmanager
def _together(
    targets: Mapping[str, Target], steps: Steps, rebuilt: Sequence[Rebuilt], why: Journal
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
            outcome = _has_committed(result)
            if not outcome:
                _roll_back(opened[place + 1 :], error)
                raise _compensated(committed, result, outcome, error, steps, why) from error
        committed.append(result)


def _has_committed(result: Rebuilt) -> bool | None:
    """Whether a commit whose answer was lost has happened; None when the server does not say."""
    connection = connections[result.target.alias]
    try:
        connection.close()
        return result.aside in {each.name for each in aside.find(connection)}
    except DatabaseError:
        return None


def _compensated(
    committed: Sequence[Rebuilt],
    failed: Rebuilt,
    outcome: bool | None,
    error: Exception,
    steps: Steps,
    why: Journal,
) -> Exception:
    """Bring back what had committed before ``failed`` did not; the error to raise."""
    sentence = f"{failed.target} could not commit: {_sentence(error)}"
    try:
        for other in reversed(committed):
            _compensate(other, steps, why)
    except DatabaseError as second:
        names = " and ".join(other.target.alias for other in committed)
        return CannotRun(
            f"{sentence} Bringing the old schema of {names} back failed too: {_sentence(second)} "
            f"It is kept: when the server answers, run `nuke_schema --database {names} --undo`."
        )
    unknown = (
        ""
        if outcome is False
        else f" The server did not say what became of {failed.target.database}: if `verify_schema` "
        f"finds it rebuilt, run `nuke_schema --database {failed.target.alias} --undo`."
    )
    return RolledBack(f"{sentence} Every database is as it was.{unknown} Run the command again.")


def _roll_back(opened: Sequence[transaction.Atomic], error: BaseException) -> None:
    for atomic in reversed(opened):
        # A broken connection has rolled back by itself.
        atomic.__exit__(type(error), error, error.__traceback__)


def _compensate(result: Rebuilt, steps: Steps, why: Journal) -> None:
    """Bring the old schema of a database back that had committed before another one failed."""
    alias = result.target.alias
    connection = connections[alias]
    with steps.step("bring back", result.target) as detail:
        with transaction.atomic(using=alias):
            if result.aside is None:
                discarded: str | None = aside.discard(connection, why)
                detail.append("there is no schema public, as before")
            else:
                discarded = aside.bring_back(connection, result.aside, why)
                detail.append(f"{result.aside} is public again")
        if discarded:
            nuke.purge(result.target, discarded)


def _mark_complete(rebuilt: Sequence[Rebuilt], why: Journal) -> None:
    """Write into the journals that every database has committed; until then they say otherwise."""
    for result in rebuilt:
        if result.aside is not None and why.state == aside.COMMITTED:
            alias = result.target.alias
            with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
                aside.change_state(cursor, result.aside, aside.KEPT)


def _keeps_its_name(error: Exception) -> bool:
    return isinstance(error, CannotRun | Blocked | Refused) or isinstance(
        error.__cause__, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected
    )


def _sentence(error: Exception) -> str:
    text = explain(error) or f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if text.endswith(".") else f"{text}."
