"""An admin that shows rows and changes none: other programs own them."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.contrib import admin
from django.db.models import CheckConstraint, Model, Q, QuerySet
from django.http import HttpRequest

from .lists import BoundedPaginator


def may_see_balances(request: HttpRequest) -> bool:
    """Whether the person may see what users, teams and API keys have."""
    return request.user.has_perm("auth_app.view_usercredits")


class CheckedValues(admin.ChoicesFieldListFilter):
    """The values that a check of the table lets the column have; Django would read all rows to find them."""

    def __init__(
        self,
        field: Any,
        request: HttpRequest,
        params: dict[str, Any],
        model: type[Model],
        model_admin: Any,
        field_path: str,
    ) -> None:
        offered = copy(field)
        offered.choices = [(value, value) for value in _checked_values(model, field.name)]
        super().__init__(offered, request, params, model, model_admin, field_path)


def _checked_values(model: type[Model], column: str) -> list[str]:
    for check in model._meta.constraints:
        if isinstance(check, CheckConstraint) and isinstance(check.condition, Q):
            # One condition, as the models have them.
            (condition,) = check.condition.children
            if isinstance(condition, tuple) and condition[0] == f"{column}__in":
                return list(condition[1])
    raise LookupError(f"No check says what {model.__name__}.{column} may be.")


class InspectionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Lists and shows; no adding, changing or deleting.

    Credits change through the ledger only, and a delete here would write its log entry, in another
    database, before PostgreSQL had agreed to it.
    """

    # Counting a large table twice for each page is what makes Django's list slow.
    show_full_result_count = False
    paginator = BoundedPaginator
    list_per_page = 50
    # Related rows that a page of the list shows: fetched for its rows alone; a join would come before the sort.
    list_prefetch: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related(*self.list_prefetch)

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
        listed = [each[0] if isinstance(each, tuple) else each for each in self.list_filter]
        names = [*listed, *filter(None, [self.date_hierarchy])]
        return any(f"{lookup}__".startswith(f"{name}__") for name in names)

    # Fields that say a balance; whoever may see them has a permission of their own.
    balance_fields: tuple[str, ...] = ()

    def get_list_display(self, request: HttpRequest) -> Any:
        return self._seen(request, super().get_list_display(request))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self._seen(request, super().get_fields(request, obj))

    def get_sortable_by(self, request: HttpRequest) -> Any:
        return self._seen(request, super().get_sortable_by(request))

    def _seen(self, request: HttpRequest, fields: Any) -> list[Any]:
        hidden = () if may_see_balances(request) else self.balance_fields
        return [field for field in fields if field not in hidden]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
