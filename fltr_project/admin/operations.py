from __future__ import annotations

from django.contrib import admin

from fltr_project.models import SchemaOperation

from .inspection import InspectionAdmin


@admin.register(SchemaOperation)
class SchemaOperationAdmin(InspectionAdmin):
    list_display = ("at", "command", "databases", "event", "exit_code", "person", "operation")
    list_filter = ("event", "command")
    search_fields = ("databases", "person", "operation", "detail")
    date_hierarchy = "at"
