from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db import connections
from django.db.models.signals import post_migrate, post_save

from fltr_project.postgres import settings_of_database
from fltr_project.routers import database_of


class AuthAppConfig(AppConfig):
    name = "auth_app"
    verbose_name = "People and credits (fltr_auth)"

    def ready(self) -> None:
        from . import signals

        post_save.connect(signals.open_credit_account, sender=self.get_model("User"))
        post_migrate.connect(store_signup_bonus, sender=self)


def store_signup_bonus(using: str, **kwargs: Any) -> None:
    """Write SIGNUP_BONUS_CREDITS into the database's settings, where the sign-up trigger reads it."""
    bonus = settings.SIGNUP_BONUS_CREDITS
    if using == database_of("auth_app") and bonus is not None:
        settings_of_database.ensure(connections[using], "fltr.signup_bonus_credits", str(bonus))
