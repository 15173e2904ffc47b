"""An admin that shows rows and changes none: other programs own them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest


class InspectionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Lists and shows; no adding, changing or deleting.

    Credits change through the ledger only, and a delete here would write its log entry, in another
    database, before PostgreSQL had agreed to it.
    """

    # Counting a large table twice for each page is what makes Django's list slow.
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
