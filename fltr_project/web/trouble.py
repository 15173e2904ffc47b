"""A database that is down, slow or not built: a page that says which, and what still works."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from fltr_project.errors import CleanSlateError, explain
from fltr_project.routers import APP_DATABASES

from . import health

log = logging.getLogger("fltr_project.web")
# What a person knows the databases by.
NAMES = {
    "default": "Django's own database (default)",
    "auth": "fltr_auth, with people and credits",
    "fltr": "fltr, with datasets and jobs",
}


@dataclass(frozen=True)
class Trouble:
    """What is the matter with a database; ``detail`` is for staff."""

    alias: str | None
    name: str
    detail: str


class DatabaseTrouble:
    """Middleware: an error of a database that a person can understand is a page with status 503."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        trouble = of(exception)
        if trouble is None:
            return None
        log.warning("%s: %s: %s", request.path, trouble.name, trouble.detail)
        staff = trouble.alias != "default" and request.user.is_staff
        return HttpResponse(
            render_to_string(
                "admin/trouble.html",
                {
                    "trouble": trouble,
                    "staff": staff,
                    "others": [
                        (apps.get_app_config(label).verbose_name, label)
                        for label, alias in APP_DATABASES.items()
                        if staff and alias != trouble.alias
                    ],
                },
            ),
            status=503,
        )


def of(exception: Exception) -> Trouble | None:
    """What an exception says of a database, or None where it is no trouble of a database but a fault of ours."""
    if not isinstance(exception, DatabaseError | ImproperlyConfigured | CleanSlateError):
        return None
    detail = explain(exception)
    if detail is None:
        return None
    aliases = [
        each.alias for each in connections.all(initialized_only=True) if each.errors_occurred
    ]
    if not aliases:
        answers = health.ask(list(connections))
        aliases = [alias for alias, answers_ in answers.items() if not answers_]
    alias = aliases[0] if aliases else None
    return Trouble(alias, NAMES.get(alias or "", "A database"), detail)
