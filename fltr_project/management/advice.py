"""What to do next, in commands to copy: here the engine's findings meet the names of commands.

The engine raises errors and returns values that carry facts; each is told by its own sentence, which
names the subject and what was found. What a person can type about it is added here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import singledispatch
from typing import TYPE_CHECKING

import psycopg

from fltr_project.backup.errors import DirectoryUnusable, OtherDatabasesBackup, Unproven
from fltr_project.catalog.contract import NotBuilt
from fltr_project.errors import cause_of, explain
from fltr_project.postgres.errors import (
    LockTimedOut,
    PortTaken,
    RunsOnAnotherPort,
    SessionsInTheWay,
    UnknownAlias,
)
from fltr_project.rebuild import errors
from fltr_project.rebuild.endings import Standing, State
from fltr_project.words import counted

if TYPE_CHECKING:
    from fltr_project.drift.report import Verified
    from fltr_project.rebuild.purge import Left
    from fltr_project.rebuild.set_aside import HalfDone

# The command that prints the token of a plan, for a command that has the option itself.
ITS_OWN_PLAN = "this command with --plan"


def sentence(error: BaseException, plan_command: str = ITS_OWN_PLAN) -> str:
    """The error's own sentence and what to do next; ``plan_command`` prints the token of a plan."""
    return f"{error} {next_step(error, plan_command)}".rstrip()


def explained(error: BaseException) -> str | None:
    """As ``sentence``, for an error of Django or the server; None for one of this program's own."""
    told = explain(error)
    return None if told is None else f"{told} {next_step(error)}".rstrip()


@singledispatch
def next_step(error: BaseException, plan_command: str = ITS_OWN_PLAN) -> str:
    """What to do about an error; empty for one whose own sentence says it already."""
    cause = cause_of(error)
    if isinstance(cause, sqlite3.OperationalError) and "no such table" in str(cause):
        return "Run `manage.py migrate`."
    if isinstance(cause, psycopg.errors.InvalidSchemaName):
        return "Run `manage.py nuke_schema --database ALIAS`, which makes an empty one."
    if isinstance(cause, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedFunction):
        return "Run `manage.py verify_schema`."
    return ""


def way_out(alias: str) -> str:
    """What a person can do with the schemas of the database ``alias`` that were set aside."""
    nuke = f"manage.py nuke_schema --database {alias}"
    return f"`{nuke} --undo` brings it back, `{nuke} --purge` drops it for good"


def set_aside_is_there(alias: str) -> str:
    """For a person who finds the database ``alias`` empty, although its schema was only set aside."""
    return f"A schema that was set aside is there: {way_out(alias)}."


def left(alias: str, what: Left) -> str:
    """What a person can do with an old schema that could not be dropped."""
    if what.whole:
        return way_out(alias)
    return f"{_nuke(alias, '--purge')} drops what is left of it"


def half_done(half: HalfDone) -> str:
    """What a killed run has left half done, and what to do about it."""
    record = half.record
    uncertain = (
        f" {' and '.join(half.unknown)} could not be asked, so look there first."
        if half.unknown
        else ""
    )
    return (
        f"A {record.command} of {' and '.join(record.aliases)} that began at {record.at} was killed "
        f"between its commits: {half.alias} was rebuilt, {' and '.join(half.missing)} was not."
        f"{uncertain} The old schema of {half.alias} is {half.name}; "
        f"`nuke_schema --database {half.alias} --undo` brings it back."
    )


def migrate_first(verified: Verified) -> str | None:
    """What comes before any repair, which would make by hand what migrations make."""
    if not verified.pending:
        return None
    verb = "is" if len(verified.pending) == 1 else "are"
    number = counted(len(verified.pending), "migrations")
    return f"{number} {verb} not applied: manage.py migrate --database {verified.target.alias}"


@next_step.register
def _(error: UnknownAlias, plan_command: str = ITS_OWN_PLAN) -> str:
    return " ".join(f"Database {error.alias} is --database {alias}." for alias in error.meant)


@next_step.register
def _(error: SessionsInTheWay, plan_command: str = ITS_OWN_PLAN) -> str:
    return "End them, wait for them, or run the command again with --terminate."


@next_step.register
def _(error: LockTimedOut, plan_command: str = ITS_OWN_PLAN) -> str:
    return (
        "End it or wait for it, then run the command again; where it has --terminate, that ends it."
    )


@next_step.register
def _(error: PortTaken, plan_command: str = ITS_OWN_PLAN) -> str:
    if not error.when_it_started:
        return "Name another one with --port."
    return (
        "Stop that program, then run `manage.py postgres stop`, and the next start tries again; `manage.py "
        "postgres start --port N` takes another port for good."
    )


@next_step.register
def _(error: RunsOnAnotherPort, plan_command: str = ITS_OWN_PLAN) -> str:
    return f"Run `manage.py postgres stop`, then `manage.py postgres start --port {error.port}`."


@next_step.register
def _(error: DirectoryUnusable, plan_command: str = ITS_OWN_PLAN) -> str:
    return "Name another directory with --backup-dir."


@next_step.register
def _(error: Unproven, plan_command: str = ITS_OWN_PLAN) -> str:
    return (
        "Give the role CREATEDB, install a PostgreSQL server of that version here, set "
        "PROOF_DATABASE_URL, or say --accept-unproven."
    )


@next_step.register
def _(error: OtherDatabasesBackup, plan_command: str = ITS_OWN_PLAN) -> str:
    return f"Name a backup of {error.target_alias}, or restore it with --database {error.alias}."


@next_step.register
def _(error: NotBuilt, plan_command: str = ITS_OWN_PLAN) -> str:
    command = "migrate" if error.has_schema else "clean_slate"
    step = f"Build it with `manage.py {command} --database {error.alias}`."
    return f"{step} {set_aside_is_there(error.alias)}" if error.has_aside else step


@next_step.register
def _(error: errors.BuiltByOthers, plan_command: str = ITS_OWN_PLAN) -> str:
    return (
        f"Run `manage.py adopt --database {error.alias}`, which shows the repair, asks, and records the migrations; "
        "no row is lost."
    )


@next_step.register
def _(error: errors.BuiltMeanwhile, plan_command: str = ITS_OWN_PLAN) -> str:
    return "Run the command again: it looks at what is there by then."


@next_step.register
def _(error: errors.WrongName, plan_command: str = ITS_OWN_PLAN) -> str:
    return "Check which server the database URLs reach."


@next_step.register
def _(error: errors.DeadToken, plan_command: str = ITS_OWN_PLAN) -> str:
    return f"Run {plan_command} and use the token that it prints."


@next_step.register
def _(error: errors.NoTerminal, plan_command: str = ITS_OWN_PLAN) -> str:
    return f"Add --no-input{_confirmed(error, plan_command)}."


@next_step.register
def _(error: errors.NameMissing, plan_command: str = ITS_OWN_PLAN) -> str:
    step = f"--no-input alone is not enough. Add{_confirmed(error, plan_command)}."
    # Whoever is taking a protection away is marking the database at this moment.
    if error.unmarked and plan_command == ITS_OWN_PLAN:
        step += (
            " If this is no production database, `manage.py mark_environment development` says so "
            "once and for all."
        )
    return step


@next_step.register
def _(error: errors.TokenMissing, plan_command: str = ITS_OWN_PLAN) -> str:
    return f"Add --token T, where T is the token that {plan_command} prints."


@next_step.register
def _(error: errors.BackupRequired, plan_command: str = ITS_OWN_PLAN) -> str:
    return "Leave out --no-backup; --backup-dir names another place for the backup."


@next_step.register
def _(error: errors.LossNotAccepted, plan_command: str = ITS_OWN_PLAN) -> str:
    options = " ".join(f"--accept-loss {kind.replace(' ', '-')}" for kind in error.kinds)
    return f"{plan_command.capitalize()} shows all of it. If it may go, add {options}."


@next_step.register
def _(error: errors.ContentChanged, plan_command: str = ITS_OWN_PLAN) -> str:
    return "Stop what writes to it, then begin again with --plan."


@next_step.register
def _(error: errors.NotAtomic, plan_command: str = ITS_OWN_PLAN) -> str:
    return "Use `nuke_schema` and then `migrate`."


@next_step.register
def _(error: errors.ChangesWithoutMigration, plan_command: str = ITS_OWN_PLAN) -> str:
    return "Run `manage.py makemigrations`, commit what it makes, then run this again."


@next_step.register
def _(error: errors.PublishedTables, plan_command: str = ITS_OWN_PLAN) -> str:
    return (
        "Use `clean_slate`, which puts the new tables in their place, or drop the tables from the "
        "publications; --accept-loss publications lets them go."
    )


@next_step.register
def _(error: errors.PurgeBegun, plan_command: str = ITS_OWN_PLAN) -> str:
    return "Finish that with --purge, and restore the backup with `restore_database`."


@next_step.register
def _(error: errors.CommitUnknown, plan_command: str = ITS_OWN_PLAN) -> str:
    return (
        f"When the server answers, `manage.py verify_schema --database {error.alias}` shows what is "
        f"there, and {_nuke(error.alias, '--plan')} which old schemas are kept."
    )


@next_step.register
def _(error: errors.NothingRebuilt, plan_command: str = ITS_OWN_PLAN) -> str:
    if isinstance(error.__cause__, errors.ContractNotMet):
        return "Run `nuke_schema`, `migrate` and `verify_schema` on a development database to see each."
    if not any(each.state is State.BROUGHT_BACK for each in error.standings):
        return ""
    return " ".join((*_drops_kept(error.standings), "Run the command again."))


@next_step.register
def _(error: errors.HalfRebuilt, plan_command: str = ITS_OWN_PLAN) -> str:
    undo = [
        f"When the server answers, run {_nuke(each.alias, '--undo')}."
        for each in error.standings
        if each.is_new and each.old
    ]
    undo += [
        f"If `manage.py verify_schema --database {each.alias}` finds {each.alias} rebuilt, run "
        f"{_nuke(each.alias, '--undo')}."
        for each in error.standings
        if each.state in {State.COMMITTING, State.BRINGING_BACK}
    ]
    return " ".join((*undo, *_drops_kept(error.standings)))


@next_step.register
def _(error: errors.RebuildInterrupted, plan_command: str = ITS_OWN_PLAN) -> str:
    kept = [f"That of {each.alias}: {way_out(each.alias)}." for each in error.standings if each.old]
    return " ".join(("The old ones are kept.", *kept))


def _drops_kept(standings: Sequence[Standing]) -> list[str]:
    return [
        f"{_nuke(each.alias, '--purge')} drops what is kept." for each in standings if each.kept
    ]


@next_step.register
def _(error: errors.PurgeInterrupted, plan_command: str = ITS_OWN_PLAN) -> str:
    return f"{_nuke(error.alias, '--purge')} goes on with it."


def _nuke(alias: str, option: str) -> str:
    return f"`manage.py nuke_schema --database {alias} {option}`"


def _confirmed(error: errors.Unconfirmed, plan_command: str) -> str:
    """The options that a protected database needs, each with a space before it."""
    names = "".join(f" --confirm {name}" for name in error.databases)
    if not error.lacks_token:
        return names
    return f"{names} --token T, where T is the token that {plan_command} prints"
