"""A repair that is proven before it is printed or run: tried on this server, and rolled back.

All statements run in one transaction, those that build an index while others work in their plain form. The
catalog is then read inside of it and compared again. What the trial shows is that what is left out: a
repair at which the server stops, one that does not mend, and one that this role may not run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from time import monotonic

import psycopg
from django.db import Error as DatabaseError
from django.db import connections, transaction
from psycopg import errors

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Catalog, Grants
from fltr_project.catalog.read import read
from fltr_project.errors import Blocked
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pin

from .compare import Difference, Severity, differences
from .live import elsewhere
from .repair.executor import prepare
from .repair.names import PUBLIC, name
from .repair.renaming import repairs
from .repair.repair import Repair, together
from .repair.statement import Hazard, Statement, needed
from .report import FindingWithRepair, Verified

# Milliseconds that a trial may hold its locks, unless told otherwise.
LIMIT = 10_000


@dataclass(frozen=True)
class Limits:
    """Milliseconds: how long a statement may wait for others, and how long all of them may take."""

    lock: int = locks.LOCK_TIMEOUT
    all: int = LIMIT


@dataclass(frozen=True)
class Tried:
    """A verification with only those repairs that may be offered, and what of them was not tried."""

    verified: Verified
    # Why nothing could be tried; empty where it was.
    untried: str = ""
    # The error behind it, where other sessions are in the way.
    blocked: Blocked | None = None
    # Of repairs that this role may not run, by their finding's object: why.
    forbidden: tuple[tuple[str, str], ...] = ()


class Cause(Enum):
    """What the server's refusal of a statement means for its repair."""

    FORBIDDEN = "forbidden"
    IN_THE_WAY = "in the way"
    TOO_LONG = "too long"
    NOT_HERE = "not here"


@dataclass(frozen=True)
class _Stop:
    """Where an attempt stopped."""

    statement: Statement
    cause: Cause
    reason: str


def tried(verified: Verified, allowed: frozenset[Hazard], limits: Limits) -> Tried:
    """Try the repairs that are ``allowed``, and leave out those that fail or do not mend.

    Everything is rolled back. Others wait while it lasts, as for the repair itself, but no longer than
    ``limits`` says. Raises Blocked when another operation is at work, and django.db.Error when the
    server goes away.
    """
    if verified.target.read_only:
        return Tried(verified, "it is read-only here")
    deadline = monotonic() + limits.all / 1000
    forbidden: dict[str, str] = {}
    aside: list[FindingWithRepair] = []
    while True:
        wrong = [each for each in verified.wrong if each not in aside]
        chosen = needed(together(each.repair for each in wrong), allowed)
        statements = [each for each in chosen if not each.is_held(allowed)]
        if not statements:
            return Tried(verified, forbidden=tuple(forbidden.items()))
        try:
            stop, after = _attempt(verified, statements, limits, deadline)
        except Blocked as error:
            return Tried(verified, str(error), error)
        if stop is None and after is not None:
            failing = _not_mended(verified, wrong, after, allowed)
        elif stop and stop.cause in {Cause.TOO_LONG, Cause.NOT_HERE}:
            return Tried(verified, stop.reason)
        elif stop:
            failing = {
                each: stop.reason
                for each in wrong
                if any(one.sql == stop.statement.sql for one in each.repair.statements)
            }
        if not failing:
            return Tried(verified, forbidden=tuple(forbidden.items()))
        if stop and stop.cause is Cause.FORBIDDEN:
            forbidden |= {each.finding.object: reason for each, reason in failing.items()}
            aside += failing
        else:
            verified = _without(verified, failing)


def _without(verified: Verified, failing: Mapping[FindingWithRepair, str]) -> Verified:
    entries = tuple(
        replace(each, repair=Repair((), failing[each])) if each in failing else each
        for each in verified.entries
    )
    return replace(verified, entries=entries)


def _attempt(
    verified: Verified,
    statements: Sequence[Statement],
    limits: Limits,
    deadline: float,
) -> tuple[_Stop | None, Catalog | None]:
    """Run the statements and read the catalog, in a transaction that is rolled back."""
    target = verified.target
    connection = connections[target.alias]
    current = statements[0]
    try:
        with (
            locks.naming_blockers([connection], PUBLIC, limits.lock),
            transaction.atomic(using=target.alias),
            connection.cursor() as cursor,
        ):
            pin(cursor)
            locks.take_operation_lock(cursor, target.database)
            prepare(cursor)
            for current in statements:
                left = round((deadline - monotonic()) * 1000)
                if left <= 0:
                    transaction.set_rollback(True, using=target.alias)
                    return _Stop(current, *_too_long(limits)), None
                wait = min(current.lock_timeout, limits.lock, left)
                locks.limit_waiting(cursor, wait, left)
                if current.rolls_back:
                    cursor.execute(current.plain)
            after = read(connection, contract.tables(target.alias))
            transaction.set_rollback(True, using=target.alias)
    except DatabaseError as error:
        cause = error.__cause__
        if not isinstance(cause, psycopg.Error) or connection.connection.closed:
            raise
        return _Stop(current, *_judged(cause, limits)), None
    return None, after


def _judged(error: psycopg.Error, limits: Limits) -> tuple[Cause, str]:
    reason = error.diag.message_primary or str(error)
    if error.diag.message_detail and isinstance(error, errors.DependentObjectsStillExist):
        reason = f"{reason}: {error.diag.message_detail.splitlines()[0]}"
    if isinstance(error, errors.InsufficientPrivilege):
        return Cause.FORBIDDEN, reason
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return Cause.NOT_HERE, reason
    if isinstance(error, errors.ObjectInUse):
        # A change of rows and one of their table, which follow each other in the repair itself.
        return Cause.NOT_HERE, reason
    if isinstance(error, errors.QueryCanceled):
        return _too_long(limits)
    return Cause.IN_THE_WAY, reason


def _too_long(limits: Limits) -> tuple[Cause, str]:
    return Cause.TOO_LONG, f"it takes longer than {limits.all / 1000:g} s"


def _not_mended(
    verified: Verified,
    wrong: Sequence[FindingWithRepair],
    after: Catalog,
    allowed: frozenset[Hazard],
) -> dict[FindingWithRepair, str]:
    """The repairs that ran to their end and left their finding, or made another one, and so are none."""
    expected, others = verified.expected, elsewhere(verified.target.alias)
    left = [
        each
        for each in differences(expected, after, others)
        if each.finding.severity is not Severity.NOTE
    ]
    ids = {each.finding.id for each in left}
    ran = [
        each
        for each in wrong
        if each.repair.runs(allowed) and not each.repair.is_held_in_part(allowed)
    ]
    failing = {
        each: "it would be found as before after all of it has run"
        for each in ran
        # Findings about rows are no differences of the catalog, and are looked at after the repair.
        if not ids.isdisjoint(each.ids)
    }
    known = {id_ for each in verified.entries for id_ in each.ids}
    known |= {each.id for each in verified.ignored}
    held = {one.sql for each in wrong for one in each.repair.statements if one.is_held(allowed)}
    for difference, mended in zip(left, repairs(left, expected, after, others), strict=True):
        # What is left to a person may well be called something else now.
        is_held = mended.statements and {each.sql for each in mended.statements} <= held
        if difference.finding.id not in known and not is_held:
            reason = f"it would leave another difference: {difference.finding.object}"
            about = [each for each in ran if _is_about(each, difference)]
            failing |= dict.fromkeys(about or ran, reason)
    return failing


def _is_about(entry: FindingWithRepair, difference: Difference) -> bool:
    """Whether some statement of the repair names the thing, or the table, of the difference."""
    fact = difference.want or difference.have
    words = {fact.table, getattr(fact, "name", "")} if fact else set()
    if isinstance(fact, Grants):
        words |= set(re.findall(r"\w+", fact.on.partition("(")[0])) - {PUBLIC, "TABLE", "FUNCTION"}
    quoted = {name(word) for word in words if word}
    return any(word in each.sql for word in quoted for each in entry.repair.statements)
