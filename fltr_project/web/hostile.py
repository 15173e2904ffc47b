"""Addresses that no page of ours links to and no database can take."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.core.exceptions import BadRequest
from django.db import DataError
from django.http import HttpRequest, HttpResponse


class HostileAddresses:
    """Middleware: a NUL anywhere in what the client names is 400, and so is a value that the database refuses.

    PostgreSQL's text has no NUL, and a number of twenty digits is none of its integers.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if any("\0" in text for text in _texts(request)):
            raise BadRequest("The address has a NUL character.")
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        # Django's filters by date pass a year on that is none.
        if isinstance(exception, DataError | OverflowError):
            raise BadRequest("The address has a value that the database does not take.")


def _texts(request: HttpRequest) -> Iterator[str]:
    yield request.path_info
    for name, values in request.GET.lists():
        yield from (name, *values)
    yield from request.COOKIES.values()
