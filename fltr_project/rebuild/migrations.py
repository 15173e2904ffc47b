"""Migrations: those on disk, what they lack, and running them on a database that is empty."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.apps import apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.dispatch import Signal
from django.utils import translation

from fltr_project.routers import database_of


@cache
def on_disk() -> MigrationLoader:
    """Every app's migrations, read once a process; touches no database."""
    return MigrationLoader(None)


def of(alias: str) -> tuple[Migration, ...]:
    """The migrations of the apps whose tables are in the database ``alias``."""
    loaded = on_disk().disk_migrations or {}
    return tuple(each for (label, _), each in loaded.items() if database_of(label) == alias)


def unatomic(alias: str) -> tuple[str, ...]:
    """The migrations of a database that cannot run inside a transaction."""
    return tuple(sorted(str(migration) for migration in of(alias) if not migration.atomic))


def unmade() -> frozenset[str]:
    """The apps whose models have changes without a migration, as `makemigrations --check` sees it.

    Touches no database.
    """
    loader = on_disk()
    detector = MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps))
    return frozenset(detector.changes(graph=loader.graph))


def unapplied(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """The names of the database's own migrations that are not recorded, in their order. Read-only."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return tuple(
        str(step[0]) for step in plan if database_of(step[0].app_label) == connection.alias
    )


def apply(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """Do what `migrate` does on a database without any table; the names of its own migrations.

    Runs in the caller's transaction. The migrations of the apps whose tables are in this database are
    run. Those of the others would make nothing here, because the router keeps their tables elsewhere;
    they are only recorded, as `migrate` records them on every database, and so their models need
    not be rendered (three quarters of the time, measured).
    """
    alias = connection.alias
    # As in `migrate`: what is stored must not depend on a language.
    with translation.override(None):
        executor = MigrationExecutor(connection)
        loader = executor.loader
        targets = loader.graph.leaf_nodes()
        plan = executor.migration_plan(targets)
        own = [step for step in plan if database_of(step[0].app_label) == alias]
        others = [step for step in plan if step not in own]
        empty = ProjectState(real_apps=loader.unmigrated_apps)
        _send(models.signals.pre_migrate, alias, apps=empty.apps, plan=plan)
        executor.migrate(targets, plan=others, fake=True)
        executor.migrate(targets, plan=own, state=state_before(loader, [each for each, _ in own]))
        _send(models.signals.post_migrate, alias, apps=_rendered(), plan=plan)
    return tuple(str(migration) for migration, _ in own)


def record(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """Let every migration count as run, and do what follows on one; the names of the database's own.

    Runs in the caller's transaction.
    """
    alias = connection.alias
    with translation.override(None):
        executor = MigrationExecutor(connection)
        targets = executor.loader.graph.leaf_nodes()
        plan = executor.migration_plan(targets)
        executor.migrate(targets, plan=plan, fake=True)
        _send(models.signals.post_migrate, alias, apps=_rendered(), plan=plan)
    return tuple(str(step[0]) for step in plan if database_of(step[0].app_label) == alias)


def state_before(loader: MigrationLoader, own: Sequence[Migration]) -> ProjectState:
    """The models of other apps that these migrations build upon, mostly none."""
    keys = {(migration.app_label, migration.name) for migration in own}
    parents = {
        parent.key
        for key in keys
        for parent in loader.graph.node_map[key].parents
        if parent.key not in keys
    }
    return loader.project_state(nodes=sorted(parents))


@cache
def _rendered() -> Any:
    """The models as the last migrations leave them, for the receivers of a signal that want them."""
    return on_disk().project_state().apps


def _send(signal: Signal, alias: str, **state: Any) -> None:
    """Send a migration signal to every app with models, with the arguments that Django documents."""
    for config in apps.get_app_configs():
        if config.models_module is not None:
            signal.send(
                sender=config,
                app_config=config,
                verbosity=0,
                interactive=False,
                using=alias,
                **state,
            )
