"""Pages of Django's lists that take no longer the more rows there are."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

# Rows that are counted and can be leafed through. Who looks for one of more has the search and the filters,
# or turns the order round.
MOST = 10_000
NEWEST = ("-created_at", "-pk")


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """The first ``MOST`` rows, so that neither counting them nor the last page reads the whole table."""

    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        counted: int = self.object_list.order_by()[:MOST].count()
        return counted

    @property
    def has_more(self) -> bool:
        """Whether there may be rows beyond the last page."""
        return self.count == MOST


class FailedFirstPaginator(BoundedPaginator):
    """What failed, then everything else, each the newest first and each by its index: one order of both would be sorted."""

    def page(self, number: int | str) -> Page[Any]:
        number = self.validate_number(number)
        skipped = (number - 1) * self.per_page
        failed = self.object_list.filter(status="failed").order_by(*NEWEST)
        rows = list(failed[skipped : skipped + self.per_page])
        if left := self.per_page - len(rows):
            others = self.object_list.exclude(status="failed").order_by(*NEWEST)
            skipped = max(0, skipped - failed.order_by()[:MOST].count())
            rows += others[skipped : skipped + left]
        return Page(rows, number, self)
