from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from .models import SchemaOperation


@admin.register(SchemaOperation)
class SchemaOperationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The history can be read and searched, not changed."""

    list_display = ("at", "command", "databases", "event", "exit_code", "person", "operation")
    list_filter = ("event", "command")
    search_fields = ("databases", "person", "operation", "detail")
    date_hierarchy = "at"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: SchemaOperation | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: SchemaOperation | None = None
    ) -> bool:
        return False
