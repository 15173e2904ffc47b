"""Statements that are sent all day, each over one cursor that its connection keeps.

A new cursor looks up how every value is adapted before it sends anything, about a quarter of what a
consume costs this process. All else is as ever: psycopg adapts, prepares, waits and opens
the transaction, and Django logs, wraps and translates errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import connections


@dataclass(frozen=True)
class Statement:
    """A SELECT with a ``%s`` for each parameter."""

    text: str

    def rows(self, parameters: Sequence[Any], using: str) -> list[tuple[Any, ...]]:
        """What it returns from the database ``using``; one round trip. Raises as a cursor does.

        The parameters go beside the text, whatever the settings say.
        """
        connection: Any = connections[using]
        # As a cursor of Django's begins.
        connection.close_if_health_check_failed()
        connection.ensure_connection()
        # A wrapper may send this very statement before these rows are fetched.
        watched = connection.queries_logged or connection.execute_wrappers
        raw = psycopg.Cursor(connection.connection) if watched else self._kept(connection)
        make = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
        cursor = make(raw)
        cursor.execute(self.text, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def _kept(self, connection: Any) -> psycopg.Cursor[Any]:
        """The cursor of this statement, kept on Django's connection, which belongs to one thread."""
        raw: psycopg.Connection[Any] = connection.connection
        # How values are adapted is found out once, and depends on these.
        status = raw.pgconn.parameter_status
        state = (raw, status(b"client_encoding"), status(b"DateStyle"))
        kept: dict[Statement, tuple[object, psycopg.Cursor[Any]]]
        kept = vars(connection).setdefault("kept_statements", {})
        before, cursor = kept.get(self, (None, None))
        if cursor is None or before != state:
            cursor = psycopg.Cursor(raw)
            kept[self] = state, cursor
        return cursor
