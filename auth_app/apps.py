from __future__ import annotations

from typing import Any, TextIO

from django.apps import AppConfig
from django.conf import settings
from django.db import connections
from django.db.models.signals import post_migrate, post_save

from fltr_project.postgres import settings_of_database
from fltr_project.routers import database_of
from fltr_project.words import counted


class AuthAppConfig(AppConfig):
    name = "auth_app"
    verbose_name = "People and credits (fltr_auth)"

    def ready(self) -> None:
        from . import signals

        post_save.connect(signals.open_credit_account, sender=self.get_model("User"))
        post_migrate.connect(store_signup_bonus, sender=self)


def store_signup_bonus(
    using: str, verbosity: int = 0, stdout: TextIO | None = None, **kwargs: Any
) -> None:
    """Write SIGNUP_BONUS_CREDITS into the database's settings, where the sign-up trigger reads it."""
    bonus = settings.SIGNUP_BONUS_CREDITS
    if using != database_of("auth_app") or bonus is None:
        return
    connection = connections[using]
    before = settings_of_database.get(connection, "fltr.signup_bonus_credits")
    stored = settings_of_database.ensure(connection, "fltr.signup_bonus_credits", str(bonus))
    if stored and before != str(bonus) and verbosity and stdout:
        stdout.write(
            f"  New users get {counted(bonus, 'credits')} from now on (SIGNUP_BONUS_CREDITS); "
            f"the database said {before or 'nothing'}.\n"
        )
