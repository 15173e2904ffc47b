"""Whether the databases answer, for a load balancer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import DatabaseError, connections
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse

from fltr_project.backup import directory
from fltr_project.errors import CleanSlateError
from fltr_project.postgres.target import ALIASES

PATH = "/health"
PERMISSION = "fltr_project.view_schemaoperation"
# Seconds for all databases together; a load balancer wants an answer in two.
PATIENCE = 1.5

# One question a database at a time: whatever hangs holds one thread, however often somebody asks.
_questions: dict[str, Future[bool]] = {}
_lock = threading.Lock()


class Health:
    """Middleware, the first: ``/health`` answers under any host name, without HTTPS and without a session.

    200 when every database answers within ``PATIENCE``, else 503. Tells no detail of errors.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info != PATH:
            return self.get_response(request)
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        answers = ask(list(connections))
        response = JsonResponse(
            {"databases": {alias: "ok" if ok else "down" for alias, ok in answers.items()}},
            status=200 if all(answers.values()) else 503,
        )
        response.headers["Cache-Control"] = "no-store"
        return response


def details(request: HttpRequest) -> HttpResponse:
    """As ``/health``, with when a backup of each database last came back; for whoever may see operations.

    As any page it needs a session, so it is no address for a load balancer.
    """
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    answers = ask(list(connections))
    found: dict[str, dict[str, str | None]] = {}
    for alias, ok in answers.items():
        found[alias] = {"status": "ok" if ok else "down"}
        if alias in ALIASES:
            found[alias]["last_proven_at"] = _last_proven(alias)
    response = JsonResponse({"databases": found}, status=200 if all(answers.values()) else 503)
    response.headers["Cache-Control"] = "no-store"
    return response


def _last_proven(alias: str) -> str | None:
    try:
        return directory.last_proven(settings.BACKUP_DIR, alias)
    except CleanSlateError:
        return None


def ask(aliases: list[str], patience: float = PATIENCE) -> dict[str, bool]:
    """Whether each database answers within so many seconds, all asked at once. Read-only; never raises."""
    questions = {alias: _question(alias) for alias in aliases}
    done, _ = wait(questions.values(), timeout=patience)
    return {alias: question in done and question.result() for alias, question in questions.items()}


def _question(alias: str) -> Future[bool]:
    """The question to this database that is open, or else a new one."""
    with _lock:
        question = _questions.get(alias)
        if question is None or question.done():
            question = _questions[alias] = Future()
            # A daemon: a server that hangs must not keep this process from ending.
            threading.Thread(
                target=_answer, args=(alias, question), name=f"health of {alias}", daemon=True
            ).start()
        return question


def _answer(alias: str, question: Future[bool]) -> None:
    try:
        # This thread's own connection, which no request uses.
        connection = connections[alias]
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                question.set_result(cursor.fetchone() == (1,))
        finally:
            connection.close()
    except (DatabaseError, ImproperlyConfigured, CleanSlateError):
        question.set_result(False)
    except Exception as error:
        question.set_exception(error)
