"""Statements that go through libpq itself, because they are sent all day.

A psycopg cursor under Django's wrapper takes as much of this process's time as the rest of a call
twice over (bench/credits.py), and where a web server and PostgreSQL share processors that is
throughput. Values are still dumped and loaded by psycopg, and errors are Django's.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import psycopg
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import errors
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

# Looked up once: members of an enumeration are not cheap.
TEXT = PyFormat.TEXT
SUCCESS = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


@dataclass(frozen=True)
class Statement:
    """A SELECT with a ``%s`` for each parameter, and the name under which it is prepared.

    It is prepared once a connection has sent it more often than the connection's
    ``prepare_threshold``, and never where that is None.
    """

    name: str
    text: str

    @cached_property
    def prepared_name(self) -> bytes:
        return self.name.encode()

    @cached_property
    def numbered(self) -> bytes:
        """The text with libpq's placeholders."""
        numbers = itertools.count(1)
        return re.sub("%s", lambda _: f"${next(numbers)}", self.text).encode()

    def rows(self, parameters: Sequence[Any], using: str) -> list[tuple[Any, ...]]:
        """What it returns from the database ``using``; one round trip. Raises as a cursor does.

        Inside ``transaction.atomic``, and where Django logs or wraps statements (DEBUG,
        ``assertNumQueries``, ``execute_wrapper``), it goes through a cursor like any other.
        Otherwise Ctrl-C takes effect only when the server has answered.
        """
        connection: Any = connections[using]
        if connection.connection is None or connection.health_check_enabled:
            # As a cursor of Django's begins.
            connection.close_if_health_check_failed()
            connection.ensure_connection()
        raw: psycopg.Connection[Any] = connection.connection
        # Without autocommit psycopg's cursor has to send the BEGIN.
        if raw.autocommit and not connection.execute_wrappers and not connection.queries_logged:
            try:
                with raw.lock:
                    return _session(connection, raw).rows(self, parameters)
            except psycopg.Error:
                with connection.wrap_database_errors:
                    raise
        make = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
        # Not Django's own cursor, which puts the parameters into the text.
        # (To the stubs every cursor is a wrapper already.)
        with make(cast(CursorWrapper, psycopg.Cursor(raw))) as cursor:
            cursor.execute(self.text, parameters)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


@dataclass
class _Session:
    """A connection's own: how it adapts values, and what it has sent and prepared."""

    raw: psycopg.Connection[Any]
    sent: Counter[str] = field(default_factory=Counter)
    prepared: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.transformer = Transformer(self.raw)

    def rows(self, statement: Statement, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        values = self.transformer.dump_sequence(parameters, [TEXT] * len(parameters))
        try:
            result = self._execute(statement, values)
        except errors.InvalidSqlStatementName:
            # Somebody sent DISCARD ALL or DEALLOCATE ALL. It did not run.
            self.prepared.clear()
            result = self._execute(statement, values)
        self.transformer.set_pgresult(result)
        return self.transformer.load_rows(0, result.ntuples, tuple)

    def _execute(self, statement: Statement, values: Sequence[Any]) -> PGresult:
        pgconn, threshold = self.raw.pgconn, self.raw.prepare_threshold
        if statement.name not in self.prepared:
            self.sent[statement.name] += 1
            if threshold is None or self.sent[statement.name] <= threshold:
                return _checked(pgconn.exec_params(statement.numbered, values))
            _checked(pgconn.prepare(statement.prepared_name, statement.numbered))
            self.prepared.add(statement.name)
        return _checked(pgconn.exec_prepared(statement.prepared_name, values))


def _session(connection: BaseDatabaseWrapper, raw: psycopg.Connection[Any]) -> _Session:
    """Kept on Django's connection, which belongs to one thread."""
    kept = vars(connection)
    session: _Session | None = kept.get("statements_session")
    if session is None or session.raw is not raw:
        session = kept["statements_session"] = _Session(raw)
    return session


def _checked(result: PGresult) -> PGresult:
    if result.status in SUCCESS:
        return result
    if result.error_field(DiagnosticField.SQLSTATE) is None:
        # libpq's own error: the connection is lost.
        raise psycopg.OperationalError(result.get_error_message())
    raise errors.error_from_result(result)
