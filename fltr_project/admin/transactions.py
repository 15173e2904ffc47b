"""The ledger's rows: a list by keyset with its filters, and the same as a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from auth_app.ledger.types import LARGEST
from auth_app.models import CreditTransaction
from fltr_project.postgres.search_path import pinned
from fltr_project.web import timeouts

from . import acts, pages
from .inspection import InspectionAdmin, may_see_balances
from .rows import Row, named

PLACES = ("before", "after", "oldest")
EXPORTED = (
    *(
        "id",
        "created_at",
        "email",
        "user_id",
        "type",
        "amount",
        "operation",
        "resource_id",
        "payer",
    ),
    *("team_id", "masked_key", "balance_after", "idempotency_key", "refund_of", "reversal_of"),
    "held_until",
)
# Spreadsheets take a text that begins with one of these for a formula.
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


class FilterForm(forms.Form):
    """What the list is filtered by."""

    type = forms.ChoiceField(
        choices=[("", "any type"), *CreditTransaction.Type.choices], required=False
    )
    operation = forms.CharField(required=False, max_length=200)
    payer = forms.ChoiceField(
        choices=[("", "any payer"), *CreditTransaction.Payer.choices], required=False
    )
    since = forms.DateField(
        required=False, label="From (UTC)", widget=forms.DateInput(attrs={"type": "date"})
    )
    until = forms.DateField(
        required=False, label="To (UTC)", widget=forms.DateInput(attrs={"type": "date"})
    )
    least = forms.IntegerField(
        required=False, min_value=0, max_value=LARGEST, label="At least, credits"
    )
    most = forms.IntegerField(
        required=False, min_value=0, max_value=LARGEST, label="At most, credits"
    )
    user = forms.CharField(required=False, label="User id", max_length=200)


@admin.register(CreditTransaction)
class CreditTransactionAdmin(InspectionAdmin):
    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """A row with all that hangs on it: 2 queries of this database, one of the other for a name."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        with pinned(connections["auth"]) as cursor:
            row = pages.one(cursor, unquote(object_id))
        if row is None:
            raise Http404("There is no such transaction.")
        (row,) = named([row])
        return render(
            request,
            "admin/transaction.html",
            {
                **self.admin_site.each_context(request),
                "title": f"{row.kind.capitalize()} of {row.created_at:%Y-%m-%d %H:%M:%S} UTC",
                "row": row,
                "metadata": _metadata(row.id),
                "see_balances": may_see_balances(request),
                "act": acts.possible(row, request.user.has_perm),
            },
        )

    def act(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Refund a usage, reverse a purchase, or release a hold."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        with pinned(connections["auth"]) as cursor:
            row = pages.one(cursor, unquote(object_id))
            balance = pages.payers_balance(cursor, unquote(object_id))
        if row is None:
            raise Http404("There is no such transaction.")
        return acts.act_page(request, acts.ACTS[name](row, balance))

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export)
        act = self.admin_site.admin_view(self.act)
        return [
            *(
                path(
                    f"<path:object_id>/{name}/",
                    act,
                    {"name": name},
                    name=f"auth_app_credittransaction_{name}",
                )
                for name in acts.ACTS
            ),
            path("export/", export, name="auth_app_credittransaction_export"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A page of the rows: 2 queries of this database, one more for a filter without an index, one for names."""
        form, filter_ = self._asked(request)
        page = None
        if filter_ is not None:
            with pinned(connections["auth"]) as cursor:
                page = pages.page(
                    cursor,
                    filter_,
                    before=_key(request.GET, "before"),
                    after=_key(request.GET, "after"),
                    oldest="oldest" in request.GET,
                )
        chosen = QueryDict(mutable=True)
        chosen.update({k: str(v) for k, v in request.GET.items() if v and k not in PLACES})
        return render(
            request,
            "admin/transactions.html",
            {
                **self.admin_site.each_context(request),
                "title": "Credit transactions",
                "opts": self.opts,
                "form": form,
                "page": page,
                "rows": named(page.rows) if page else (),
                "see_balances": may_see_balances(request),
                "chosen": chosen.urlencode(),
                "export": reverse("admin:auth_app_credittransaction_export"),
            },
        )

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """All rows of the filter as CSV, in batches: exactly what the list would show on all of its pages."""
        form, filter_ = self._asked(request)
        if filter_ is None:
            raise BadRequest(form.errors.as_text())
        response = StreamingHttpResponse(
            _csv(filter_, may_see_balances(request)), content_type="text/csv; charset=utf-8"
        )
        name = f"credit_transactions-{timezone.now():%Y%m%dT%H%M%SZ}.csv"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def _asked(self, request: HttpRequest) -> tuple[FilterForm, pages.Filter | None]:
        """The form, and the filter where it is valid; raises for who may not look and for names of no filter."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if unknown := request.GET.keys() - FilterForm.base_fields.keys() - {*PLACES}:
            raise BadRequest(f"The list is not filtered by {min(unknown)!r}.")
        form = FilterForm(request.GET)
        return form, pages.Filter(**form.cleaned_data) if form.is_valid() else None


def _metadata(id_: str) -> str | None:
    rows = CreditTransaction.objects.using("auth").filter(pk=id_)
    found = rows.values_list("transaction_metadata", flat=True).first()
    return None if found is None else json.dumps(found, indent=2, ensure_ascii=False)


def _key(asked: QueryDict, name: str) -> pages.Key | None:
    text = asked.get(name)
    return pages.key(str(text)) if text else None


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def _csv(filter_: pages.Filter, see_balances: bool) -> Iterator[str]:
    columns = [name for name in EXPORTED if see_balances or name != "balance_after"]
    writer: Any = csv.writer(_Echo())
    yield writer.writerow(columns)
    # The response is sent after the middleware has ended.
    with connections["auth"].execute_wrapper(timeouts.bounded):
        for row in pages.everything(filter_):
            yield writer.writerow([_cell(row, name) for name in columns])


def _cell(row: Row, name: str) -> Any:
    value = getattr(row, name)
    if isinstance(value, str) and value.startswith(FORMULAS):
        return f"'{value}"
    return value.isoformat() if hasattr(value, "isoformat") else value
