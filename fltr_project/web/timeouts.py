"""How long the database may take for a page: no page of the admin keeps a server busy for longer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import connections
from django.http import HttpRequest, HttpResponse
from psycopg.pq import TransactionStatus

# Milliseconds.
STATEMENT_TIMEOUT = 5_000
# Seconds; what a server that hangs costs a page.
CONNECT_TIMEOUT = 5

_BOUND = """
    SELECT pg_catalog.set_config('statement_timeout', %s, a.other), a.other
    FROM (SELECT pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) %s::integer AS other) AS a
"""
_LOCAL = f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT}".encode()
# Of the connections that have been seen: whether a pooler hands their session on after each transaction.
_shared: WeakKeyDictionary[psycopg.Connection[Any], bool] = WeakKeyDictionary()


class StatementTimeouts:
    """Middleware: every statement of a request ends after ``STATEMENT_TIMEOUT``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with ExitStack() as stack:
            for connection in connections.all():
                if connection.vendor == "postgresql":
                    stack.enter_context(connection.execute_wrapper(bounded))
            return self.get_response(request)


def bounded(
    execute: Callable[..., Any], statement: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Run a statement under the timeout; a wrapper for ``connection.execute_wrapper``.

    A session of our own is set once, until it is closed. Behind a pooler the setting would be somebody else's a
    moment later, so there it is set in each transaction and ends with it.
    """
    connection = context["connection"]
    raw = connection.connection
    if raw.info.transaction_status != TransactionStatus.IDLE:
        # It was bounded where it began.
        return execute(statement, params, many, context)
    with connection.wrap_database_errors:
        if raw.autocommit and raw not in _shared:
            values = (str(STATEMENT_TIMEOUT), raw.info.backend_pid)
            _, _shared[raw] = raw.execute(_BOUND, values, prepare=False).fetchone()
        if _shared.get(raw) is False:
            return execute(statement, params, many, context)
        if raw.autocommit:
            with raw.transaction():
                raw.execute(_LOCAL, prepare=False)
                return execute(statement, params, many, context)
        # The first statement of a transaction.
        raw.execute(_LOCAL, prepare=False)
        return execute(statement, params, many, context)


def bound_connecting() -> None:
    """Have the databases of this process answer within ``CONNECT_TIMEOUT``: for a server of pages, not for commands."""
    for settings in connections.settings.values():
        options = settings.get("OPTIONS", {})
        if "connect_timeout" in options:
            options["connect_timeout"] = min(options["connect_timeout"], CONNECT_TIMEOUT)
