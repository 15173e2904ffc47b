"""What must be so before a database is rebuilt, each with its evidence; changes nothing."""

from __future__ import annotations

from django.apps import apps
from django.conf import settings
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from fltr_project.errors import CannotRun
from fltr_project.postgres import addresses
from fltr_project.routers import database_of
from fltr_project.words import counted

from .plan import Plan


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


def migrations(alias: str) -> str:
    """That the models have no change without a migration, as `makemigrations --check` sees it.

    Raises CannotRun naming the apps that have; touches no database.
    """
    loader = MigrationLoader(None)
    found = MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps)).changes(
        graph=loader.graph
    )
    labels = sorted(label for label in found if database_of(label) == alias)
    if labels:
        raise CannotRun(
            f"The models of {' and '.join(labels)} have changes without a migration. Run "
            "`manage.py makemigrations`, commit what it makes, then run this again."
        )
    count = sum(database_of(label) == alias for label, _ in loader.disk_migrations)
    return (
        f"the {'migration makes' if count == 1 else f'{count} migrations make'} what the models say"
    )


def people(plan: Plan) -> str:
    """How many users and other rows would be lost."""
    users = next((rows.count for rows in plan.rows if rows.table == "users"), None)
    if users is None:
        return plan.summary
    return f"{counted(users, 'users') if users else 'no users'}, {plan.summary}"
