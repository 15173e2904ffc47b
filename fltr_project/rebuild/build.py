"""Build one database anew in its open transaction: set aside, migrate, verify, prove."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from fltr_project.catalog import contract
from fltr_project.catalog.aside import OperationRecord
from fltr_project.catalog.facts import TRACKING_TABLES, Catalog, ForeignKey
from fltr_project.catalog.read import read
from fltr_project.drift.compare import Finding, Severity, compare
from fltr_project.errors import RolledBack
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.postgres.target import Target
from fltr_project.registry import Registry
from fltr_project.words import counted, listed

from . import event_triggers, inventory, losses, migrations, schema_properties, set_aside
from .errors import ContractNotMet
from .losses import PUBLICATIONS, Judged
from .plan import Plan
from .purge import LastLook, Left
from .put_back import put_back
from .schema_properties import SCHEMA
from .steps import Steps


class Proof(Protocol):
    """What a proof of a rebuilt database says; it leaves no trace."""

    @property
    def ok(self) -> bool: ...
    @property
    def detail(self) -> str: ...


@dataclass(frozen=True)
class Options:
    """How a rebuild goes about it."""

    record: OperationRecord
    # Functions that prove a rebuilt database, run inside its transaction.
    proofs: Registry
    # Functions that take over from the old schema what the migrations cannot know.
    carried: Registry = field(default_factory=Registry)
    # Whether the old schemas stay, for an undo.
    keep: bool = False
    # Kinds of what will not come back that the operator has said may go (losses.KINDS).
    accepted: Collection[str] = ()
    # Whether a backup was made after the plan.
    backed_up: bool = False
    # Milliseconds.
    lock_timeout: int = locks.LOCK_TIMEOUT
    # Whether sessions in the way are ended.
    terminate: bool = False


@dataclass(frozen=True)
class Rebuilt:
    """A database with its new schema, committed."""

    target: Target
    # What the old schema is called now; None when there was none.
    aside: str | None
    last_look: LastLook
    # The fingerprint of the new schema, before anybody else could write to it.
    built: str
    catalog: Catalog
    findings: tuple[Finding, ...]
    # Whether a proof was run.
    proven: bool
    # What could not be dropped of the old schema, where that was asked for.
    left: Left | None = None


def build(plan: Plan, steps: Steps, options: Options) -> Rebuilt:
    """Make the new schema of a planned database; nobody else sees it before the caller commits.

    Raises Blocked, CannotRun or Refused when something is in the way, ContractNotMet and RolledBack
    when what was built is not right; then the caller has to roll back.
    """
    target, connection = plan.target, connections[plan.target.alias]
    with steps.step("set aside", target) as detail:
        last = set_aside.begin(
            plan, options.lock_timeout, options.terminate, backed_up=options.backed_up
        )
        hung = losses.judge(connection, target.alias)
        before = _findings(connection, target.alias) if plan.firing else ()
        old = set_aside.set_aside(connection, options.record)
        detail.append(f"schema public is now {old}" if old else "there was no schema public")
    with steps.step("migrate", target) as detail:
        detail.append(f"{_first_and_last(migrations.apply(connection))} applied")
        if old and plan.published.tables:
            detail.append(_republish(plan, old))
        if old:
            done = [carry(connection, old) for carry in options.carried.of(target.alias)]
            detail.extend(filter(None, done))
        tables = {*contract.tables(target.alias), *TRACKING_TABLES}
        detail.extend(
            filter(None, [event_triggers.take_back_row_security(connection, plan.firing, tables)])
        )
    with steps.step("verify", target) as detail:
        catalog = read(connection, contract.tables(target.alias))
        findings = compare(contract.load(target.alias), catalog)
        _require_contract(target, findings)
        detail.extend(filter(None, [event_triggers.made(plan.firing, before, findings)]))
        number = counted(len(catalog.tables), "tables")
        keys = counted(len(catalog.of(ForeignKey)), "foreign keys")
        tracking = [table for table in catalog.tables if table in TRACKING_TABLES]
        detail.append(f"{number} and {keys} as the contract says")
        detail.append(f"tracked by {' and '.join(_with_rows(connection, tracking))}")
    proofs: Sequence[Callable[[str], Proof]] = options.proofs.of(target.alias)
    for proof in proofs:
        with steps.step("prove", target) as detail:
            result = proof(target.alias)
            if not result.ok:
                raise RolledBack(f"The proof of {target.database} failed: {result.detail}.")
            detail.append(result.detail)
    if losses.to_remember(hung, target.role) or plan.firing:
        # Compared and proven was what the migrations have built; this is as it was before.
        with steps.step("put back", target) as detail:
            detail.append(_put_back(target, hung))
            catalog = read(connection, contract.tables(target.alias))
            findings = compare(contract.load(target.alias), catalog)
    with pinned(connection) as cursor:
        built = inventory.content(cursor).fingerprint
    return Rebuilt(target, old, last, built, catalog, tuple(findings), proven=bool(proofs))


def _findings(connection: BaseDatabaseWrapper, alias: str) -> Sequence[Finding]:
    return compare(contract.load(alias), read(connection, contract.tables(alias)))


def _with_rows(connection: BaseDatabaseWrapper, tables: Sequence[str]) -> list[str]:
    """The tables, and which of them have nothing recorded: a program would build everything again."""
    named = []
    with pinned(connection) as cursor:
        for table in tables:
            name = sql.Identifier("public", table)
            cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(name))
            named.append(table if cursor.fetchone() == (True,) else f"{table} (empty)")
    return named


def _put_back(target: Target, hung: Judged) -> str:
    """Put back what hung on the objects; raises RolledBack for what the plan has promised and cannot be."""
    result = put_back(connections[target.alias], hung.returns, hung.names, hung.passed_over)
    if result.left:
        named = "; ".join(
            f"{each.kind} of {each.object} ({reason.rstrip('.')})"
            for each, reason in result.left[:5]
        )
        raise RolledBack(
            f"What hung on the schema of {target.database} could not be put back: {named}."
        )
    return result.sentence or "all of it is there"


def _republish(plan: Plan, old: str) -> str:
    """Put the new tables into the publications of the old ones; raises RolledBack when one is missing
    of which the plan has not said so."""
    gone = {loss.object for loss in plan.losses if loss.kind == PUBLICATIONS}
    with pinned(connections[plan.target.alias]) as cursor:
        left = schema_properties.republish(cursor, old, SCHEMA, gone)
    if left:
        raise RolledBack(
            f"Publications of {plan.target.database} carry tables that the migrations do not "
            f"make: {', '.join(map(str, left))}. Drop them from the publications first."
        )
    return f"{counted(len(plan.published.tables), 'members')} of publications put back"


def _require_contract(target: Target, findings: Sequence[Finding]) -> None:
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        named = listed([f"{error.title} ({error.found or 'nothing'})" for error in errors])
        raise ContractNotMet(
            f"The migrations built something else than the contract of {target.database} in "
            f"{counted(len(errors), 'places')}: {named}."
        )


def _first_and_last(names: Sequence[str]) -> str:
    """Migrations run in one order, and the names of many would be a line that nobody reads."""
    if len(names) < 3:
        return " and ".join(names)
    return f"{names[0]} to {names[-1]} ({len(names)})"
