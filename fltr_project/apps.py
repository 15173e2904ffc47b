from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models.signals import post_migrate

from .routers import APP_DATABASES, parts


class FltrProjectConfig(AppConfig):
    name = "fltr_project"
    verbose_name = "Schema operations"

    def ready(self) -> None:
        # Importing them registers them.
        from . import checks as checks

        known = {part.name for alias in APP_DATABASES.values() for part in parts(alias)}
        for name in settings.CONTRACT_EXTRAS:
            if name not in known:
                raise ImproperlyConfigured(
                    f"FLTR_CONTRACT_EXTRAS names {name!r}, whose app configuration is no ContractPart (docs/plugins.md)."
                )
        for label in APP_DATABASES:
            post_migrate.connect(keep_time_in_utc, sender=apps.get_app_config(label))
            post_migrate.connect(renew_access, sender=apps.get_app_config(label))
            post_migrate.connect(put_back, sender=apps.get_app_config(label))


def keep_time_in_utc(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """Make UTC the TimeZone of a migrated database, for clients that do not set their own."""
    from .postgres import database_settings

    if using == APP_DATABASES[sender.label]:
        database_settings.ensure(connections[using], "TimeZone", "UTC")


def renew_access(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """Give each role of ``grant_access`` its rights on what has been made anew."""
    from .catalog import granting

    if using == APP_DATABASES[sender.label]:
        granting.renew(connections[using], using)


def put_back(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """Hang on the new objects what hung on those that ``nuke_schema`` has taken."""
    from .rebuild import remember

    if using == APP_DATABASES[sender.label]:
        remember.put_back_written(connections[using], using)
