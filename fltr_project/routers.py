"""Which app lives in which database."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models import Model

from fltr_project.parts import ContractPart

APP_DATABASES = {"auth_app": "auth", "data_app": "fltr"}


def database_of(app_label: str) -> str:
    """The one alias that holds the app's tables; every app but ours and the parts lives in ``default``."""
    if app_label in APP_DATABASES:
        return APP_DATABASES[app_label]
    part = apps.app_configs.get(app_label)
    return part.database if isinstance(part, ContractPart) else "default"


def parts(alias: str) -> tuple[ContractPart, ...]:
    """The parts that this project's contract of the database has, in the order of INSTALLED_APPS."""
    return tuple(
        each
        for each in apps.get_app_configs()
        if isinstance(each, ContractPart) and each.database == alias
    )


def labels(alias: str) -> tuple[str, ...]:
    """The apps whose tables are in the database."""
    return tuple(label for label in apps.app_configs if database_of(label) == alias)


class AppRouter:
    """Send each app to its own database and nowhere else.

    It answers for every app: a router that answers None for an unknown one lets Django make
    ``auth_user`` and ``django_session`` in whatever database is being migrated.
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return database_of(model._meta.app_label)

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return database_of(model._meta.app_label)

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool:
        return database_of(obj1._meta.app_label) == database_of(obj2._meta.app_label)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == database_of(app_label)
