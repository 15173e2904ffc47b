from __future__ import annotations

from django.apps import AppConfig

from fltr_project import registry
from fltr_project.routers import database_of


class DataAppConfig(AppConfig):
    name = "data_app"
    verbose_name = "Datasets (fltr)"

    def ready(self) -> None:
        registry.access.register(database_of(self.label), "data_app.access.kinds")
        registry.data_checks.register(database_of(self.label), "data_app.data_checks.check")
        registry.belongings.register(database_of(self.label), "data_app.belongings.remove")
