from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.db import connections
from django.db.models.signals import post_migrate

from .routers import APP_DATABASES


class FltrProjectConfig(AppConfig):
    name = "fltr_project"
    verbose_name = "Schema operations"

    def ready(self) -> None:
        from . import checks as checks

        for label in APP_DATABASES:
            post_migrate.connect(keep_time_in_utc, sender=apps.get_app_config(label))


def keep_time_in_utc(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """Make UTC the TimeZone of a migrated database, for clients that do not set their own."""
    from .postgres import settings_of_database

    if using == APP_DATABASES[sender.label]:
        settings_of_database.ensure(connections[using], "TimeZone", "UTC")
