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

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        # Django leaves out what no form can edit: ids and times.
        fixed = [field.name for field in self.opts.concrete_fields if not field.editable]
        hidden = self.exclude or ()
        return [*super().get_readonly_fields(request, obj), *(n for n in fixed if n not in hidden)]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only what the filters offer.

        Django lets an address filter by any column of the model, which would tell a secret that no
        page shows, one character after the other.
        """
        names = [*self.list_filter, *filter(None, [self.date_hierarchy])]
        return any(f"{lookup}__".startswith(f"{name}__") for name in names)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
