from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate, post_save

from fltr_project import registry
from fltr_project.routers import database_of


class AuthAppConfig(AppConfig):
    name = "auth_app"
    verbose_name = "People and credits (fltr_auth)"

    def ready(self) -> None:
        from . import bonus, signals

        post_save.connect(signals.open_credit_account, sender=self.get_model("User"))
        post_migrate.connect(bonus.write_configured, sender=self)
        post_migrate.connect(adopt_drizzle, sender=self)
        registry.proofs.register(database_of(self.label), "auth_app.smoke.run.run")
        registry.access.register(database_of(self.label), "auth_app.access.kinds")
        registry.data_checks.register(database_of(self.label), "auth_app.ledger.data_checks.check")
        registry.carried.register(database_of(self.label), "auth_app.bonus.carry")
        registry.carried.register(database_of(self.label), "auth_app.drizzle.record.carry")
        registry.releases.register(
            database_of(self.label), "auth_app.drizzle.record.adopt_configured"
        )
        registry.walks.register(database_of(self.label), "auth_app.smoke.apps.walk")
        registry.chosen_numbers.add(bonus.FUNCTION)
        registry.trigger_losses["users", "users_open_credit_account"] = (
            "Users who sign up by another client than Django get no credits."
        )


def adopt_drizzle(using: str, **kwargs: Any) -> None:
    """After a migration: tell Drizzle that the migrations of DRIZZLE_FOLDER are applied."""
    from django.conf import settings

    if settings.DRIZZLE_FOLDER and using == database_of("auth_app"):
        from .drizzle import record

        record.after_migrate(using)
