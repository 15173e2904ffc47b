"""Run an archive's SQL over a connection: the one way in which a proof and a restore fill a database.

pg_dump's own search_path is empty, and an archive is run with it, so that every name means what it meant.
A function that calls another by its bare name works as it does for the applications all the same:
rows are copied with ``public`` searched, and a statement that fails for want of a name is run again so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors, sql

from . import archive, reading
from .archive import Archive
from .contents import Entry
from .reading import Seen
from .script import BY_LINE, Copy, Head, Piece

# What pg_restore begins its own session with; the encoding is the archive's. What belongs to a row comes
# with it: no trigger is to make it too (docs/loading.md).
SETTINGS = f"""
    SET LOCAL statement_timeout = {archive.STATEMENT_TIMEOUT};
    SET LOCAL idle_in_transaction_session_timeout = 0;
    SET LOCAL fltr.loading = 'on';
    SET LOCAL standard_conforming_strings = on;
    SET LOCAL check_function_bodies = off;
    SET LOCAL xmloption = content;
    SET LOCAL client_min_messages = warning;
    SET LOCAL row_security = off;
    SET LOCAL default_tablespace = '';
    SET LOCAL quote_all_identifiers = off
"""
NOTHING, AS_APPLICATIONS = "SET LOCAL search_path = ''", "SET LOCAL search_path = public"
# What a bare name ends in where its schema is not searched.
UNKNOWN_NAMES = (
    errors.UndefinedFunction,
    errors.UndefinedTable,
    errors.UndefinedObject,
    errors.InvalidSchemaName,
)
# Bytes of statements that are sent at once, and how many entries.
TOGETHER, ENTRIES_TOGETHER = 1 << 16, 100


class NotFilled(Exception):
    """An entry of the archive that the server does not take; the cause is what the server said."""

    def __init__(self, entry: str, error: psycopg.Error) -> None:
        self.entry, self.error = entry, error
        super().__init__(f"{entry}: {' '.join(str(error).split())}")


@dataclass(frozen=True)
class Changes:
    """What of an archive is run otherwise than it stands there."""

    # Of pg_restore itself, --no-owner, say.
    options: tuple[str, ...] = ()
    # What becomes of the text of each entry; empty text is left out.
    rewrite: Callable[[Piece], bytes] | None = None
    # More of them for each transaction, SET LOCAL ...
    settings: str = ""
    # Names of entries that the server may refuse; they are told, and the rest goes on.
    optional: Callable[[Piece], bool] = lambda piece: False


AS_IT_IS = Changes()


@dataclass(frozen=True)
class Filled:
    seen: Seen
    # The entries that were optional and were refused, with what the server said.
    refused: tuple[NotFilled, ...]


def fill(
    raw: psycopg.Connection[Any],
    source: Archive,
    entries: Sequence[Entry],
    changes: Changes = AS_IT_IS,
    progress: Callable[[Seen], None] = lambda seen: None,
) -> Filled:
    """Run these entries of the archive, in their order, and read it to its end.

    In the caller's transaction, or outside of one in many short ones, so that the locks of thousands of
    tables are never held at once. ``progress`` is told what has been read after each table. Raises
    NotFilled, and BackupFailed when the archive is damaged.
    """
    reader = reading.Reader(entries)
    runner = _Runner(raw, changes)
    with archive.script(source, [each.id for each in entries], *changes.options) as stream:
        for piece in reader.pieces(stream):
            match piece:
                case Head(encoding):
                    runner.encoding = encoding
                case Copy():
                    runner.flush()
                    runner.copy(piece)
                    progress(reader.seen)
                case Piece(kind=kind) if kind == BY_LINE:
                    runner.flush()
                    runner.large_object(piece)
                case Piece():
                    runner.add(piece)
        runner.finish()
    return Filled(reader.seen, tuple(runner.refused))


class _Runner:
    def __init__(self, raw: psycopg.Connection[Any], changes: Changes) -> None:
        self.encoding, self.refused = "UTF8", list[NotFilled]()
        self._raw, self._changes = raw, changes
        self._waiting: list[Piece] = []
        self._bytes = 0
        # The transaction that large objects stay open in.
        self._objects = ExitStack()

    def add(self, piece: Piece) -> None:
        """Run the piece soon, together with others."""
        self._objects.close()
        if self._changes.rewrite is not None:
            piece = Piece(piece.kind, piece.name, self._changes.rewrite(piece))
        if not piece.text.strip():
            return
        self._waiting.append(piece)
        self._bytes += len(piece.text)
        if self._bytes > TOGETHER or len(self._waiting) >= ENTRIES_TOGETHER:
            self.flush()

    def finish(self) -> None:
        """Run what is still waiting, and end what is open."""
        self._objects.close()
        self.flush()

    def flush(self) -> None:
        """Run what has been added: all at once, or where that fails one by one."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting:
            return
        try:
            self._run(b"".join(each.text for each in waiting), NOTHING)
        except psycopg.Error:
            for piece in waiting:
                self._run_alone(piece)

    def copy(self, piece: Copy) -> None:
        self._objects.close()
        try:
            with self._raw.transaction(), self._raw.cursor() as cursor:
                self._begin(AS_APPLICATIONS)
                with cursor.copy(piece.text) as rows:
                    for block in piece.rows:
                        rows.write(block)
        except psycopg.Error as error:
            raise NotFilled(str(piece), error) from error

    def large_object(self, piece: Piece) -> None:
        if self._raw.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            self._objects.enter_context(self._raw.transaction())
        try:
            self._raw.execute(piece.text)
        except psycopg.Error as error:
            raise NotFilled(str(piece), error) from error

    def _run_alone(self, piece: Piece) -> None:
        try:
            try:
                self._run(piece.text, NOTHING)
            except UNKNOWN_NAMES:
                self._run(piece.text, AS_APPLICATIONS)
        except psycopg.Error as error:
            if not self._changes.optional(piece):
                raise NotFilled(str(piece), error) from error
            self.refused.append(NotFilled(str(piece), error))

    def _run(self, text: bytes, path: str) -> None:
        with self._raw.transaction():
            self._begin(path)
            # Without parameters it is sent as it is, all statements at once.
            self._raw.execute(text)

    def _begin(self, path: str) -> None:
        encoding = sql.SQL("; SET LOCAL client_encoding = {}").format(sql.Literal(self.encoding))
        settings = sql.SQL(SETTINGS) + encoding + sql.SQL(f"; {path}; {self._changes.settings}")
        self._raw.execute(settings)
