"""The settings of the database that an archive carries: ALTER DATABASE ... SET, also for single roles."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import psycopg
from psycopg import sql

from . import archive
from .archive import Archive
from .contents import Entry
from .script import Piece, Quotes, pieces

NAME = rb'(?:"(?:[^"]|"")*"|[\w$\x80-\xff]+)'
# What pg_dump prints, but for limits and being a template, which belong to the old place.
SETTING = re.compile(
    rb"(?P<before>ALTER DATABASE |ALTER ROLE "
    + NAME
    + rb" IN DATABASE )"
    + NAME
    + rb"(?P<after> SET .*)",
    re.DOTALL,
)


def statements(source: Archive, entries: Sequence[Entry]) -> tuple[tuple[bytes, bytes], ...]:
    """What sets them, without the name of the database between the two parts of each.

    Raises BackupFailed when the archive is damaged.
    """
    ids = [each.id for each in entries if each.kind in {"DATABASE", "DATABASE PROPERTIES"}]
    if not ids:
        return ()
    with archive.script(source, ids, "--create") as stream:
        texts = [
            piece.text
            for piece in pieces(stream)
            if isinstance(piece, Piece) and piece.kind == "DATABASE PROPERTIES"
        ]
    found = (SETTING.fullmatch(each) for text in texts for each in _split(text))
    return tuple((match["before"], match["after"]) for match in found if match)


def apply(
    raw: psycopg.Connection[object], database: str, settings: Sequence[tuple[bytes, bytes]]
) -> tuple[str, ...]:
    """Set them in the caller's transaction; a sentence for each that this role may not set."""
    refused = []
    name = sql.Identifier(database).as_bytes(raw)
    for before, after in settings:
        try:
            with raw.transaction():
                raw.execute(before + name + after)
        except psycopg.Error as error:
            setting = after.decode(errors="replace").strip().removeprefix("SET ").split(" TO ")[0]
            said = str(error.diag.message_primary or error)
            refused.append(f"setting {setting} of the database: {said}")
    return tuple(refused)


def _split(text: bytes) -> Iterator[bytes]:
    """The statements, each without its semicolon."""
    quotes, statement = Quotes(), bytearray()
    for line in text.splitlines(keepends=True):
        statement += line
        quotes.read(line)
        if not quotes and line.endswith(b";\n"):
            yield bytes(statement).strip()[:-1]
            statement.clear()
