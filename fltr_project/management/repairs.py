"""What `verify_schema` does about differences: print the repair, or ask and run it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from psycopg import sql

from fltr_project.catalog import contract
from fltr_project.drift.repair.executor import apply
from fltr_project.drift.repair.repair import Repair
from fltr_project.drift.repair.script import comment, script
from fltr_project.drift.repair.statement import Hazard
from fltr_project.drift.report import Verified
from fltr_project.drift.trial import LIMIT, Limits, Tried, tried
from fltr_project.errors import CannotRun, CleanSlateError, explain
from fltr_project.history import Event, History, HistoryEntry
from fltr_project.postgres.locks import LOCK_TIMEOUT
from fltr_project.postgres.target import Target, connect
from fltr_project.rebuild.consent import Consent
from fltr_project.rebuild.plan import plan
from fltr_project.words import counted, visible

from .base import CHANGES, SchemaCommand

type Allowed = frozenset[Hazard]

RUN_WITH = "Run it with: manage.py postgres psql --database {} -- -v ON_ERROR_STOP=1 -f FILE"
PROVEN = (
    "Tried on this server in a transaction that was rolled back: it runs, and mends what it is for."
)
UNTRIED = "NOT TRIED on this server"
NO_TRIAL = "--no-trial was given"


@dataclass(frozen=True)
class Choices:
    """What the operator has said about the repairs."""

    allowed: Allowed
    # Of databases, given in place of an answer.
    names: Sequence[str]
    interactive: bool
    # Milliseconds; None for the usual ones.
    lock_timeout: int | None
    # None where nothing is to be tried first.
    trial: Limits | None


def choices(options: dict[str, Any]) -> Choices:
    """As the options of the command say it. Raises CannotRun for a time that is none."""
    milliseconds: dict[str, int | None] = {}
    for option in ("lock_timeout", "trial_timeout"):
        seconds = options[option]
        if seconds is not None and not seconds >= 0.001:
            words = option.replace("_", "-")
            raise CannotRun(f"--{words} must be more than 0 seconds, or it would wait for ever.")
        milliseconds[option] = None if seconds is None else round(seconds * 1000)
    lock, whole = milliseconds["lock_timeout"], milliseconds["trial_timeout"]
    return Choices(
        allowed=frozenset(map(Hazard, options["allow"])),
        names=options["confirm"],
        interactive=options["interactive"],
        lock_timeout=lock,
        trial=Limits(lock or LOCK_TIMEOUT, whole or LIMIT) if options["trial"] else None,
    )


def scripts(results: Sequence[Verified], chosen: Choices) -> str:
    """One script for psql that repairs every database, each through its own connection."""
    each = [(result.target.database, _script(_tried(result, chosen), chosen)) for result in results]
    each = [(database, text) for database, text in each if text]
    if not each:
        return "-- Nothing to repair."
    connects = len(each) > 1
    return "\n".join(
        f"\\connect {sql.Identifier(database).as_string()}\n{text}" if connects else text
        for database, text in each
    )


def require_migrated(results: Sequence[Verified]) -> None:
    """Raise CannotRun where migrations are about to make what the repair would make by hand."""
    for result in results:
        if result.pending:
            raise CannotRun(
                f"{result.target} lacks {counted(len(result.pending), 'migrations')}, and a repair "
                "would make by hand what they make: run "
                f"`manage.py migrate --database {result.target.alias}` first."
            )


def run(
    command: SchemaCommand,
    results: Sequence[Verified],
    chosen: Choices,
    look: Callable[[], Sequence[Verified]],
) -> list[Verified]:
    """Try the repairs, show them, ask for consent, run them, look again and record it all.

    What the last look has found, with what was not offered and why. Raises CannotRun where nothing could
    be tried or this role may not run any of it, and what ``apply`` raises.
    """
    concerned = [result for result in results if _runs(result, chosen)]
    if not concerned:
        return list(look())
    with _recorded(command, [result.target for result in concerned]) as record:
        for result in concerned:
            # What is not built yet is for `migrate`, which would stumble over tables it has no record of.
            contract.require_built(result.target)
        proven = [_required(_tried(result, chosen)) for result in concerned]
        concerned = [result for result in proven if _runs(result, chosen)]
        if not concerned:
            return _with_obstacles(look(), proven)
        plans = [plan(connect(result.target.alias), result.target) for result in concerned]
        for result in concerned:
            command.say(_script(Tried(result), chosen))
        # No token: what is about to run is shown, and what it may cost was allowed by name.
        consent = Consent(plans, chosen.names, needs_token=False)
        command.obtain_consent(consent, chosen.interactive, CHANGES)
        wrong = sum(len(result.wrong) for result in concerned)
        record(Event.BEGUN, f"repairing {counted(wrong, 'differences')}")
        ran = {
            result.target.alias: apply(
                result.target, _repairs(result), chosen.lock_timeout, chosen.allowed
            )
            for result in concerned
        }
        after = list(look())
        done = [_done(result, ran[result.target.alias], after) for result in concerned]
        for sentence in done:
            command.say(sentence)
        record(Event.DONE, " ".join(done), 0)
    return _with_obstacles(after, proven)


def _done(before: Verified, statements: int, after: Sequence[Verified]) -> str:
    """What the repair has mended, by what is there now."""
    (now,) = [each for each in after if each.target.alias == before.target.alias]
    ids, left = ({id_ for entry in each.wrong for id_ in entry.ids} for each in (before, now))
    mended = f"{len(ids - left)} of {counted(len(ids), 'differences')}"
    return (
        f"Repaired {mended} of {before.target.database} with {counted(statements, 'statements')}."
    )


def _runs(result: Verified, chosen: Choices) -> bool:
    return any(each.runs(chosen.allowed) for each in _repairs(result))


def _repairs(result: Verified) -> list[Repair]:
    """Of what is wrong; what has no effect needs no repair."""
    return [entry.repair for entry in result.wrong if entry.repair.statements]


def _tried(result: Verified, chosen: Choices) -> Tried:
    if chosen.trial is None:
        return Tried(result, NO_TRIAL)
    return tried(result, chosen.allowed, chosen.trial)


def _required(trial: Tried) -> Verified:
    """The verification with what may run now: what this role may not run is left out, and said."""
    verified, target = trial.verified, trial.verified.target
    if trial.blocked:
        raise trial.blocked
    if trial.untried and trial.untried != NO_TRIAL:
        way_out = "Give it more time with --trial-timeout, or run it untried with --no-trial."
        if target.read_only:
            way_out = "Connect to the primary server."
        raise CannotRun(
            f"The repair of {target} could not be tried: {trial.untried}. Nothing was changed. {way_out}"
        )
    reasons = dict(trial.forbidden)
    entries = [
        replace(entry, repair=Repair((), f"role {target.role} may not: {reason}"))
        if (reason := reasons.get(entry.finding.object)) is not None
        else entry
        for entry in verified.entries
    ]
    left = replace(verified, entries=tuple(entries))
    if reasons and not any(entry.repair.statements for entry in left.wrong):
        raise CannotRun(
            f"Role {target.role} may not repair {target}: {next(iter(reasons.values()))}. Nothing was "
            "changed. Connect as the role that owns the tables."
        )
    return left


def _with_obstacles(results: Sequence[Verified], proven: Sequence[Verified]) -> list[Verified]:
    """What was found at last, with the reasons for which some of it was not repaired."""
    reasons = {
        (result.target.alias, entry.ids): entry.repair
        for result in proven
        for entry in result.entries
        if entry.repair.obstacle
    }
    return [
        replace(
            result,
            entries=tuple(
                replace(entry, repair=reasons.get((result.target.alias, entry.ids), entry.repair))
                for entry in result.entries
            ),
        )
        for result in results
    ]


def _script(trial: Tried, chosen: Choices) -> str:
    """The script of a database; empty where there is nothing to repair and nothing to say of it."""
    result = trial.verified
    text = script(
        _repairs(result),
        f"Repairs {result.target}",
        RUN_WITH.format(result.target.alias),
        chosen.allowed,
        tuple(_said(trial)) if _runs(result, chosen) else (),
    )
    refused = [
        comment(
            visible(f"No repair is offered for {entry.finding.object}: {entry.repair.obstacle}")
        )
        for entry in result.wrong
        if entry.repair.obstacle
    ]
    return text + "".join(f"{line}\n" for line in refused)


def _said(trial: Tried) -> Iterator[str]:
    if trial.untried:
        yield f"{UNTRIED}: {trial.untried}"
    elif not trial.forbidden:
        yield PROVEN
    for name, reason in trial.forbidden:
        role = trial.verified.target.role
        yield f"{UNTRIED}, for role {role} may not run it: {name} ({reason})"


@contextmanager
def _recorded(command: SchemaCommand, targets: Sequence[Target]) -> Iterator[Callable[..., None]]:
    """Tell the history of one operation; how it fails is recorded here, everything else by the block."""
    log, operation = History(Path(settings.OPERATIONS_LOG)), uuid.uuid4().hex[:12]

    def record(event: Event, detail: str, exit_code: int | None = None) -> None:
        log.write(
            HistoryEntry(
                operation=operation,
                event=event,
                command=command.command,
                databases=tuple(target.as_json() for target in targets),
                exit_code=exit_code,
                detail=detail,
            )
        )

    try:
        yield record
    except CleanSlateError as error:
        event = Event.REFUSED if error.exit_code in {3, 4} else Event.FAILED
        record(event, str(error), error.exit_code)
        raise
    except KeyboardInterrupt as interrupt:
        sentence = "Interrupted. What was not committed has been rolled back."
        record(Event.FAILED, sentence, 130)
        raise CommandError(sentence, returncode=130) from interrupt
    except Exception as error:
        record(Event.FAILED, explain(error) or f"{type(error).__name__}: {error}", 2)
        raise
    finally:
        for problem in log.problems.values():
            verbosity = 2 if problem.startswith("The history") else 1
            command.say(f"Note: {problem}", verbosity=verbosity)
