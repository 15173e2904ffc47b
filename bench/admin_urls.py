"""The project's addresses, and beside them Django's admin as it is without a line of ours, for bench.admin."""

from __future__ import annotations

from django.contrib.admin import AdminSite, ModelAdmin
from django.urls import URLPattern, URLResolver, path

from auth_app.models import CreditTransaction, User
from data_app.models import Dataset
from fltr_project.urls import urlpatterns as of_the_project


class PlainUsers(ModelAdmin):  # type: ignore[type-arg]
    list_display = ("email", "name", "created_at")
    search_fields = ("email", "id")


class PlainTransactions(ModelAdmin):  # type: ignore[type-arg]
    list_display = ("created_at", "user", "type", "operation", "amount")
    list_filter = ("type", "operation")
    search_fields = ("user__email", "id", "idempotency_key")


class PlainDatasets(ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "slug", "owner_id", "status")


class PlainSite(AdminSite):
    def get_urls(self) -> list[URLPattern | URLResolver]:
        # The header that all pages share has our search box in it.
        return [path("search/", self.index, name="search"), *super().get_urls()]


plain = PlainSite(name="plain")
plain.register(User, PlainUsers)
plain.register(CreditTransaction, PlainTransactions)
plain.register(Dataset, PlainDatasets)

urlpatterns = [path("plain/", plain.urls), *of_the_project]
