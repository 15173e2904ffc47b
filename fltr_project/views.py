"""Whether the databases answer, for a load balancer."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .errors import CleanSlateError


@require_safe
@never_cache
def health(request: HttpRequest) -> JsonResponse:
    """Answer 200 when every database answers, else 503. Read-only; tells no detail of errors."""
    databases = {alias: _answers(alias) for alias in connections}
    status = 200 if all(databases.values()) else 503
    return JsonResponse(
        {"databases": {alias: "ok" if ok else "down" for alias, ok in databases.items()}},
        status=status,
    )


def _answers(alias: str) -> bool:
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone() == (1,))
    except (DatabaseError, ImproperlyConfigured, CleanSlateError):
        return False
