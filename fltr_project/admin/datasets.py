"""Datasets, documents and jobs, each with its owner, who is in the other database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.exceptions import ImproperlyConfigured
from django.core.paginator import Paginator
from django.db import DatabaseError
from django.db.models import Case, Value, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import Truncator

from auth_app.models import User
from data_app.models import Dataset, Document, ProcessingJob
from fltr_project.errors import CleanSlateError

from .inspection import CheckedValues, InspectionAdmin
from .lists import NEWEST, BoundedPaginator, FailedFirstPaginator


def name_owners(request: HttpRequest, rows: Iterable[Any]) -> None:
    """Write the owner's email beside each row, by one query of the people's database.

    Where that is down, or the person may not look at people, the rows stay without.
    """
    if not request.user.has_perm("auth_app.view_user"):
        return
    owned = {row: _owner_id(row) for row in rows}
    try:
        people = User.objects.using("auth").filter(pk__in=set(owned.values()))
        emails = dict(people.values_list("pk", "email"))
    except (DatabaseError, ImproperlyConfigured, CleanSlateError):
        return
    for row, owner_id in owned.items():
        row.owner_email = emails.get(owner_id, "")


def _owner_id(row: Any) -> str:
    dataset: Dataset = row if isinstance(row, Dataset) else row.dataset
    return dataset.owner_id


class OwnedChangeList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        name_owners(request, self.result_list)


class OwnedAdmin(InspectionAdmin):
    readonly_fields = ("owner",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return OwnedChangeList

    def get_ordering(self, request: HttpRequest) -> tuple[Any, ...]:
        """What failed wants a look, so it comes first; then the newest."""
        return (Case(When(status="failed", then=Value(0)), default=Value(1)), *NEWEST)

    def get_paginator(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Paginator[Any]:
        """The same order without sorting all rows, unless another one is asked for."""
        chosen = BoundedPaginator if ORDER_VAR in request.GET else FailedFirstPaginator
        return chosen(*args, **kwargs)

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            name_owners(request, [found])
        return found

    @admin.display(description="owner")
    def owner(self, row: Any) -> str:
        owner_id = _owner_id(row)
        email = getattr(row, "owner_email", None)
        if email is None:
            return owner_id
        if not email:
            return f"{owner_id} (no such user)"
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:auth_app_user_change", args=[owner_id]), email
        )


@admin.register(Dataset)
class DatasetAdmin(OwnedAdmin):
    list_display = ("name", "slug", "owner", "visibility", "status", "document_count", "created_at")
    list_filter = (
        *((name, CheckedValues) for name in ("status", "visibility", "pricing_model")),
        "featured",
        "verified",
    )
    search_fields = ("name", "slug", "owner_id")


@admin.register(Document)
class DocumentAdmin(OwnedAdmin):
    list_display = (
        "filename",
        "dataset",
        "owner",
        "status",
        "file_size",
        "chunk_count",
        "created_at",
    )
    list_filter = (("status", CheckedValues),)
    list_prefetch = ("dataset",)
    search_fields = ("filename", "object_key")


@admin.register(ProcessingJob)
class ProcessingJobAdmin(OwnedAdmin):
    list_display = (
        "id",
        "dataset",
        "owner",
        "processor",
        "status",
        "reason",
        "retries",
        "created_at",
    )
    list_filter = (("status", CheckedValues),)
    list_prefetch = ("dataset",)
    search_fields = ("task_id", "processor")

    @admin.display(description="error")
    def reason(self, job: ProcessingJob) -> str:
        return Truncator(job.error or "").chars(120)
