"""Django's admin with our site in it; settings.INSTALLED_APPS names it in place of Django's own."""

from __future__ import annotations

from django.apps import apps
from django.contrib.admin.apps import AdminConfig
from django.db.models.signals import post_migrate


class CleanSlateAdminConfig(AdminConfig):
    default_site = "fltr_project.admin.site.Site"

    def ready(self) -> None:
        from .admin import roles

        super().ready()
        # The last of Django's own that has permissions to wait for: those of all our apps are there then.
        post_migrate.connect(roles.write, sender=apps.get_app_config("auth"))
