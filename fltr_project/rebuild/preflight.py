"""What must be so before a database is emptied or rebuilt, each with its evidence; changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.conf import settings

from fltr_project.errors import CannotRun, Refused
from fltr_project.postgres import addresses
from fltr_project.routers import database_of
from fltr_project.words import counted, listed

from . import migrations
from .errors import ChangesWithoutMigration, NotAtomic, PublishedTables
from .losses import PUBLICATIONS
from .plan import Plan


def require_possible(
    plan: Plan,
    *,
    rebuilds: bool = True,
    accepted: Collection[str] = (),
    moves_members: bool = False,
) -> None:
    """Raise CannotRun or Refused when the nuke could not be done, or not without collateral loss.

    ``rebuilds`` says that migrations make the tables again in the same transaction, so that they
    can go back into the publications that they were in; ``accepted`` are the losses that may be, and
    ``moves_members`` that what is in a schema which cannot be renamed may be moved out of it.
    """
    target = plan.target
    if target.read_only:
        raise CannotRun(f"The connection to {target} is read-only. Connect to the primary server.")
    if not plan.permitted:
        raise CannotRun(
            f"Role {target.role!r} may not replace schema public of {target}. "
            f"Connect as the owner of database {target.database!r}."
        )
    if plan.held_by and not moves_members:
        raise CannotRun(_held(plan, plan.held_by))
    if plan.held_by and plan.locks.set_aside > plan.locks.guaranteed - plan.locks.taken:
        room = max(plan.locks.guaranteed - plan.locks.taken, 0)
        raise CannotRun(
            f"Schema public of {target} cannot be renamed because of {listed(plan.held_by)}. Moving what is in "
            f"it takes {counted(plan.locks.set_aside, 'locks')}, and the server has room for {room:,}. Raise "
            "max_locks_per_transaction and restart it, or connect as a superuser."
        )
    require_movable(plan)
    if plan.published.tables and not rebuilds and PUBLICATIONS not in accepted:
        members = [str(member) for member in plan.published.tables]
        raise PublishedTables(
            f"Guard 'publications': publications of {target} carry tables that would be gone, so "
            f"replication would stop in silence: {listed(members)}."
        )


def require_movable(plan: Plan) -> None:
    """Raise CannotRun or Refused for what would be lost or broken when the schema is set aside."""
    target = plan.target
    if plan.immovable:
        raise CannotRun(_held(plan, plan.immovable))
    if plan.dependants:
        raise Refused(
            f"Guard 'dependants': what is outside schema public of {target} hangs on it and would be "
            f"lost: {listed(plan.dependants)}. Drop it, or move what it uses to another schema, "
            "then run this again."
        )


def require_rebuildable(plan: Plan, accepted: Collection[str] = ()) -> None:
    """Raise NotAtomic for a migration of this database that runs outside a transaction, and PublishedTables
    for tables of publications that the migrations do not make, unless that loss is among those ``accepted``."""
    gone = [loss for loss in plan.losses if loss.kind == PUBLICATIONS]
    if gone and PUBLICATIONS not in accepted:
        raise PublishedTables(
            f"Guard 'publications': publications of {plan.target} carry tables that the migrations do not "
            f"make, so replication would stop in silence: {listed([loss.object for loss in gone])}."
        )
    if plan.unatomic:
        raise NotAtomic(
            f"These migrations have atomic = False, so {plan.target.database} cannot be rebuilt in "
            f"one transaction: {', '.join(plan.unatomic)}."
        )


def variables(alias: str) -> str:
    """Where the database's address and the rebuild's settings come from; no value that is secret."""
    name = f"{alias.upper()}_DATABASE_URL"
    embedded = addresses.is_embedded(settings.DATABASES[alias])
    where = f"{name} is unset: the embedded server" if embedded else f"{name} is set"
    if alias == database_of("auth_app"):
        bonus = settings.SIGNUP_BONUS_CREDITS
        kept = "unset: what the database says stays" if bonus is None else bonus
        return f"{where}, SIGNUP_BONUS_CREDITS is {kept}"
    return where


def models_are_migrated(alias: str, unmade: Collection[str]) -> str:
    """That the models of the database have no change without a migration; touches no database.

    ``unmade`` are the apps that have (migrations.unmade). Raises ChangesWithoutMigration naming them.
    """
    labels = sorted(label for label in unmade if database_of(label) == alias)
    if labels:
        raise ChangesWithoutMigration(
            f"The models of {' and '.join(labels)} have changes without a migration."
        )
    count = len(migrations.of(alias))
    return (
        f"the {'migration makes' if count == 1 else f'{count} migrations make'} what the models say"
    )


def people(plan: Plan) -> str:
    """How many users and other rows would be lost."""
    users = next((rows.count for rows in plan.rows if rows.table == "users"), None)
    if users is None:
        return plan.summary
    return f"{counted(users, 'users') if users else 'no users'}, {plan.summary}"


def _held(plan: Plan, by: Sequence[str]) -> str:
    return (
        f"Role {plan.target.role!r} cannot carry over what hangs on schema public of {plan.target}: "
        f"{listed(by)}. Connect as that role or as a superuser, or have it moved to another schema once."
    )
