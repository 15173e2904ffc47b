"""Statements that are sent all day, without most of what a cursor costs.

Of what a consume costs this process, two thirds were psycopg's and Django's cursors. A statement
here is sent by the name under which psycopg has prepared it (or with its text, where nothing is
prepared), and waited for here; psycopg still adapts the values, and cancels on Ctrl-C. Whatever is
not this plain case goes through Django's cursor: while psycopg counts towards preparing, in a
pipeline, before a transaction has begun on the server, and where statements are logged or wrapped.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import connections
from psycopg import generators, pq, waiting
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq.abc import PGresult

TUPLES_OK, FATAL_ERROR = pq.ExecStatus.TUPLES_OK, pq.ExecStatus.FATAL_ERROR
CANCEL_S = 5.0
OUTSIDE_TRANSACTION, ACTIVE = pq.TransactionStatus.IDLE, pq.TransactionStatus.ACTIVE
# Of a session that waits for the next statement.
QUIET = {OUTSIDE_TRANSACTION, pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR}


# Compared by identity, which is how each connection finds what it keeps of it.
@dataclass(frozen=True, eq=False)
class Statement:
    """A SELECT with a ``%s`` for each parameter."""

    text: str

    def rows(self, parameters: Sequence[Any], using: str) -> list[tuple[Any, ...]]:
        """What it returns from the database ``using``; one round trip. Raises as a cursor does.

        The parameters go beside the text, whatever the settings say.
        """
        connection: Any = connections[using]
        # As a cursor of Django's begins.
        if connection.health_check_enabled:
            connection.close_if_health_check_failed()
        connection.ensure_connection()
        rows = None
        if not (
            connection.needs_rollback or connection.queries_logged or connection.execute_wrappers
        ):
            # Kept on Django's connection, which belongs to one thread.
            channels: dict[Statement, _Channel] = vars(connection).setdefault("channels", {})
            channel = channels.get(self)
            try:
                if channel is None or not channel.fits(connection.connection):
                    channel = channels[self] = _Channel(connection.connection, self.text)
                rows = channel.rows(parameters)
            except psycopg.Error:
                with connection.wrap_database_errors:
                    raise
            except BaseException:
                # An interrupt, and nobody will read what the server answers.
                if connection.connection.pgconn.transaction_status not in QUIET:
                    connection.close()
                raise
        if rows is None:
            make = (
                connection.make_debug_cursor
                if connection.queries_logged
                else connection.make_cursor
            )
            with make(psycopg.Cursor(connection.connection)) as cursor:
                cursor.execute(self.text, parameters)
                rows = cursor.fetchall()
        return rows


class _Channel:
    """A statement on one connection, and how the values of its parameters were adapted last."""

    def __init__(self, raw: psycopg.Connection[Any], text: str) -> None:
        first, *others = text.split("%s")
        numbered = (f"${number}{part}" for number, part in enumerate(others, 1))
        self._raw, self._pgconn = raw, raw.pgconn
        # As psycopg writes it, which is how it finds the name of a prepared one.
        self._query = "".join([first, *numbered]).encode()
        self._formats = [PyFormat.AUTO] * len(others)
        self._adapt = Transformer(raw)
        # eventlet takes it away.
        self._readable = select.poll() if hasattr(select, "poll") else None
        if self._readable:
            self._readable.register(raw.fileno(), select.POLLIN)
        self._encoding = self._pgconn.parameter_status(b"client_encoding")
        self._date_style = self._pgconn.parameter_status(b"DateStyle")

    def fits(self, raw: psycopg.Connection[Any]) -> bool:
        """Whether values are still adapted so: that is found out once, and depends on these."""
        status = self._pgconn.parameter_status
        return (
            raw is self._raw
            and status(b"client_encoding") == self._encoding
            and status(b"DateStyle") == self._date_style
        )

    def rows(self, parameters: Sequence[Any]) -> list[tuple[Any, ...]] | None:
        """None if it is a cursor's: nothing was sent then."""
        raw, pgconn, adapt = self._raw, self._pgconn, self._adapt
        if pgconn.pipeline_status or (
            not raw.autocommit and pgconn.transaction_status == OUTSIDE_TRANSACTION
        ):
            return None
        values = adapt.dump_sequence(parameters, self._formats)
        types = adapt.types or ()
        with raw.lock:
            if name := raw._prepared._names.get((self._query, types)):
                pgconn.send_query_prepared(name, values, param_formats=adapt.formats)
            elif raw.prepare_threshold is None:
                pgconn.send_query_params(
                    self._query, values, param_types=types, param_formats=adapt.formats
                )
            else:
                return None
            results = self._answer()
        for result in results:
            if result.status != TUPLES_OK:
                raise psycopg.errors.error_from_result(result, encoding=raw.info.encoding)
        (result,) = results
        adapt.set_pgresult(result)
        rows = adapt.load_rows(0, result.ntuples, tuple)
        # What a batch returned is not kept until the next one.
        adapt.set_pgresult(None)
        return rows

    def _answer(self) -> list[PGresult]:
        """The rows, and after them what fails at the commit.

        What psycopg's generators do, without their cost: a tenth of what a consume costs its client.
        """
        raw, pgconn = self._raw, self._pgconn
        results: list[PGresult] = []
        try:
            if self._readable is None or pgconn.flush():
                # There is no poll(), or more to send than the kernel takes at once.
                return raw.wait(generators.execute(pgconn))
            while True:
                try:
                    while pgconn.is_busy():
                        self._readable.poll()
                        pgconn.consume_input()
                except psycopg.DatabaseError:
                    # Why the server ended the session says more than that it has ended.
                    if results and results[-1].status == FATAL_ERROR:
                        return results
                    raise
                while (notification := pgconn.notifies()) and pgconn.notify_handler:
                    pgconn.notify_handler(notification)
                result = pgconn.get_result()
                if result is None:
                    return results
                results.append(result)
        except KeyboardInterrupt:
            if pgconn.transaction_status == ACTIVE:
                # As psycopg does. A session that does not obey is closed by the caller.
                with suppress(Exception):
                    raw.cancel_safe(timeout=CANCEL_S)
                    waiting.wait(generators.execute(pgconn), pgconn.socket, timeout=CANCEL_S)
            raise
