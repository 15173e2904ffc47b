"""Django's admin with our site in it; settings.INSTALLED_APPS names it in place of Django's own.

Its pages are imported by the URLs and by `check`, not by every command: that is a quarter of a short
command's processor time.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from django.apps import AppConfig, apps
from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks
from django.db.models.signals import post_migrate


class CleanSlateAdminConfig(SimpleAdminConfig):
    default_site = "fltr_project.admin.site.Site"

    def ready(self) -> None:
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(check_pages, checks.Tags.admin)
        # The last of Django's own that has permissions to wait for: those of all our apps are there then.
        post_migrate.connect(write_roles, sender=apps.get_app_config("auth"))


def register_pages() -> None:
    """Import the pages of this project, of its parts and of Django's own apps."""
    # Ours first: the site is among them, and autodiscover() would import them while it makes the site,
    # with which they would then not be registered.
    import_module("fltr_project.admin")
    admin.autodiscover()


def check_pages(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Django's checks of the admin, on pages that are registered by now."""
    register_pages()
    found: list[checks.CheckMessage] = check_admin_app(app_configs, **kwargs)
    return found


def write_roles(using: str, **kwargs: Any) -> None:
    if using == "default":
        from .admin import roles

        roles.write(using)
