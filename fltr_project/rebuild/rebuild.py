"""Empty, migrate, verify and prove: all databases or none.

1. Prepare: one transaction a database, in which the old schema is set aside and the new one is built,
   verified and proven. Nobody else sees any of it.
2. Commit: one database after the other, when all are prepared. Here the rebuild becomes true.
3. Compensate, only where one cannot commit: the old schemas of those that have are brought back.
4. Finish: the operation is recorded as complete, and the old schemas are dropped.

Readers see the old schema or the new one and never a hole. ``endings`` has the ways in which this can end.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from django.db import Error as DatabaseError
from django.db import connections, transaction

from fltr_project.catalog import aside
from fltr_project.errors import Blocked, CannotRun, CleanSlateError, Refused
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.postgres.target import Target

from . import event_triggers, inventory, last_look, preflight, records, set_aside
from .build import Options, Rebuilt, build
from .endings import Ending, Standings, State, ending
from .errors import CommitUnknown, HalfRebuilt, NothingRebuilt, RebuildInterrupted
from .plan import Plan
from .purge import LastLook, Left, purge_at_the_end
from .schema_properties import SCHEMA
from .steps import Steps, sentence
from .transactions import Outcome, Transaction, certain

# Endings after which no database shows that anything was tried.
BEFORE = frozenset({Ending.ROLLED_BACK, Ending.BROUGHT_BACK})


@dataclass(frozen=True)
class Prepared:
    """A database with its new schema in an open transaction, which nobody else sees."""

    transaction: Transaction
    rebuilt: Rebuilt

    @property
    def target(self) -> Target:
        return self.rebuilt.target


def rebuild(plans: Sequence[Plan], steps: Steps, options: Options) -> list[Rebuilt]:
    """Rebuild the planned databases from their migrations, all of them or none.

    Raises Blocked when another session holds a lock too long or another operation is at work, CannotRun
    or Refused when something stands in the way, and NothingRebuilt for every other failure; then
    nothing has changed. Raises HalfRebuilt when a database could not be brought back after another
    failed to commit, and RebuildInterrupted, PurgeInterrupted when the person interrupts late.
    """
    for plan in plans:
        preflight.require_rebuildable(plan, options.accepted)
    steps.standings.begin(plan.target for plan in plans)
    prepared = _prepare(plans, steps, options)
    try:
        _commit(prepared, steps)
    except BaseException as error:
        raise _compensate(prepared, steps, options, error) from error
    return _finish([each.rebuilt for each in prepared], steps, options)


# --- 1. prepare


def _prepare(plans: Sequence[Plan], steps: Steps, options: Options) -> list[Prepared]:
    """Build and prove every new schema in an open transaction; on an error all are rolled back."""
    prepared: list[Prepared] = []
    opened: list[Transaction] = []
    reached = [connections[plan.target.alias] for plan in plans]
    try:
        with locks.naming_blockers(reached, SCHEMA, options.lock_timeout):
            try:
                for plan in plans:
                    opened.append(Transaction(plan.target.alias))
                    steps.standings.move(plan.target.alias, State.OPEN)
                    prepared.append(Prepared(opened[-1], build(plan, steps, options)))
                for plan in plans:
                    last_look.require_same_mark(plan)
            except BaseException as error:
                # Before the blockers are asked for, which wants connections that can be used.
                for each in reversed(opened):
                    each.roll_back(error)
                    steps.standings.move(each.alias, State.AS_IT_WAS)
                raise
    except (CannotRun, Blocked, Refused):
        raise
    except Exception as error:
        triggers = [each for plan in plans for each in plan.firing]
        reason = f"{sentence(error)}{event_triggers.named(triggers)}"
        raise NothingRebuilt(reason, steps.standings.all) from error
    return prepared


# --- 2. commit


def _commit(prepared: Sequence[Prepared], steps: Steps) -> None:
    """Commit one database after the other; with the first of these commits a nuke has happened."""
    for each in prepared:
        with steps.step("commit", each.target) as detail:
            steps.standings.move(each.target.alias, State.COMMITTING)
            try:
                each.transaction.commit()
            except DatabaseError as error:
                if each.transaction.outcome(error) is not Outcome.COMMITTED:
                    raise
                detail.append("the server's answer was lost; asked again, it says committed")
            steps.standings.move(each.target.alias, State.COMMITTED, old=each.rebuilt.aside)


# --- 3. compensate


def _compensate(
    prepared: Sequence[Prepared], steps: Steps, options: Options, error: BaseException
) -> BaseException:
    """After a commit that failed: make every database what it was; the error to raise."""
    standings = steps.standings
    outcomes = []
    for each in prepared:
        outcomes.append((each, each.transaction.outcome(error)))
        _settle(each, outcomes[-1][1], standings)
    committed = [each for each, outcome in outcomes if outcome is Outcome.COMMITTED]
    if len(committed) == len(prepared):
        # Interrupted when there was nothing left to commit: all of it, then, rather than none.
        for each in committed:
            _recorded(each.rebuilt, options)
        return RebuildInterrupted(standings.all)
    reason = _why(outcomes, error)
    for done in reversed([each.rebuilt for each in committed]):
        try:
            _bring_back(done, steps, options)
        except (CleanSlateError, DatabaseError, KeyboardInterrupt) as second:
            reason += f" Bringing {done.target.alias} back failed too: {sentence(second)}"
    cause = NothingRebuilt if ending(standings.all) in BEFORE else HalfRebuilt
    return cause(reason, standings.all)


def _settle(each: Prepared, outcome: Outcome, standings: Standings) -> None:
    """Write down what became of a database's transaction."""
    alias = each.target.alias
    now = next(standing.state for standing in standings.all if standing.alias == alias)
    if outcome is Outcome.ROLLED_BACK:
        standings.move(alias, State.AS_IT_WAS)
    elif outcome is Outcome.COMMITTED and now is State.COMMITTING:
        standings.move(alias, State.COMMITTED, old=each.rebuilt.aside)


def _why(outcomes: Sequence[tuple[Prepared, Outcome]], error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted between the commits."
    failed = next(each for each, outcome in outcomes if outcome is not Outcome.COMMITTED)
    return f"{failed.target} could not commit: {sentence(error)}"


def _bring_back(rebuilt: Rebuilt, steps: Steps, options: Options) -> None:
    """Bring the old schema back, and keep the new one where clients have written into it.

    What they have committed between the commits is in no backup and in nobody's plan.
    """
    target, connection = rebuilt.target, connections[rebuilt.target.alias]
    record = replace(options.record, aliases=(target.alias,), state=aside.State.KEPT)
    with steps.step("bring back", target) as detail:
        steps.standings.move(target.alias, State.BRINGING_BACK)
        try:
            with (
                locks.naming_blockers([connection], SCHEMA, options.lock_timeout),
                certain(target.alias),
                pinned(connection) as cursor,
            ):
                locks.limit_waiting(cursor, options.lock_timeout, locks.STATEMENT_TIMEOUT)
                locks.take_operation_lock(cursor, target.database)
                last = _look_again(rebuilt, options.lock_timeout)
                if rebuilt.aside is None:
                    discarded: str | None = set_aside.discard(connection, record)
                    detail.append("there is no schema public, as before")
                else:
                    discarded = set_aside.bring_back(connection, rebuilt.aside, record)
                    detail.append(f"{rebuilt.aside} is public again")
        except CommitUnknown:
            raise
        except BaseException:
            steps.standings.move(target.alias, State.COMMITTED)
            raise
        kept = discarded if last.changed else None
        steps.standings.move(target.alias, State.BROUGHT_BACK, kept=kept)
        if discarded and not kept:
            left = purge_at_the_end(target, discarded, options.lock_timeout, last=last)
            if left:
                detail.append(left.reason)
                detail.append(f"the new schema is kept in {discarded}")
        elif kept:
            detail.append(f"the new schema is kept in {kept}")


def _look_again(rebuilt: Rebuilt, lock_timeout: int) -> LastLook:
    """Whether somebody has changed the new schema since its commit, or is about to.

    In the caller's transaction, which keeps writers out from here on.
    """
    connection = connections[rebuilt.target.alias]
    try:
        locks.clear_the_way(connection, SCHEMA, lock_timeout)
    except Blocked:
        # Bringing back does not wait for anybody's transaction: what that commits goes along.
        return LastLook(changed=True)
    with pinned(connection) as cursor:
        now = inventory.content(cursor)
    return LastLook(now.digests, now.fingerprint != rebuilt.built)


# --- 4. finish


def _finish(databases: list[Rebuilt], steps: Steps, options: Options) -> list[Rebuilt]:
    """Record that all databases have committed, and drop their old schemas unless they are kept.

    The rebuild stands by now: what fails here is told, and fails nothing.
    """
    try:
        recorded = [_recorded(database, options) for database in databases]
    except KeyboardInterrupt as interrupt:
        for database in databases:
            _recorded(database, options)
        raise RebuildInterrupted(steps.standings.all) from interrupt
    if not all(recorded):
        reason = "The server did not answer when the operation was to be recorded as complete."
        # One old schema alone with a record that is not complete would look half done.
        return [
            replace(each, left=Left(each.aside, reason, whole=True)) if each.aside else each
            for each in databases
        ]
    if options.keep:
        return databases
    return [_purged(database, steps, options) for database in databases]


def _recorded(database: Rebuilt, options: Options) -> bool:
    """Whether the record of the old schema says that all databases have committed."""
    # A single database's record says so from the beginning.
    if len(options.record.aliases) == 1 or database.aside is None:
        return True
    connection = connections[database.target.alias]
    # Twice: the first error may be the news of a lost connection, which the second does without.
    for _ in range(2):
        with (
            suppress(DatabaseError),
            transaction.atomic(using=connection.alias),
            pinned(connection) as cursor,
        ):
            locks.limit_waiting(cursor, options.lock_timeout, locks.STATEMENT_TIMEOUT)
            records.change_state(cursor, database.aside, aside.State.KEPT)
            return True
    return False


def _purged(database: Rebuilt, steps: Steps, options: Options) -> Rebuilt:
    if database.aside is None:
        return database
    alias = database.target.alias
    with steps.step("purge", database.target) as detail:
        steps.standings.move(alias, State.PURGING)
        left = purge_at_the_end(
            database.target, database.aside, options.lock_timeout, last=database.last_look
        )
        detail.ok = left is None
        detail.append(left.reason if left else f"{database.aside} is gone")
        if left is None or left.whole:
            steps.standings.move(alias, State.COMMITTED if left else State.PURGED)
    return replace(database, left=left)
