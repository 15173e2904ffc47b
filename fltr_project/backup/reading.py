"""Read an archive to its end, and note what goes by: how many rows, and where sequences stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from fltr_project.errors import BackupFailed

from . import script
from .archive import Archive
from .archive import script as sql_of
from .contents import Entry
from .script import TABLE_DATA, Copy, Head, Piece

SETVAL = re.compile(
    rb"SELECT pg_catalog\.setval\('(?:[^']|'')*', (-?\d+), (true|false)\);", re.DOTALL
)
SEQUENCE_SET = "SEQUENCE SET"


@dataclass(frozen=True)
class Seen:
    """What an archive holds, as it was read."""

    # By schema and name: the number of rows, and the last value with whether it was used.
    rows: dict[tuple[str, str], int] = field(default_factory=dict)
    sequences: dict[tuple[str, str], str] = field(default_factory=dict)


class Reader:
    """Gives the pieces of an archive's script on, and notes what they hold."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        """``entries`` are those of the script, in its order."""
        self.seen = Seen()
        # pg_restore prints them in this order, each once, so no name need be understood.
        self._tables = iter([each for each in entries if each.kind == TABLE_DATA])
        self._sequences = iter([each for each in entries if each.kind == SEQUENCE_SET])

    def pieces(self, stream: IO[bytes]) -> Iterator[Head | Piece | Copy]:
        """As script.pieces; a COPY's rows must be read before the next piece."""
        for piece in script.pieces(stream):
            if isinstance(piece, Copy):
                entry = _next(self._tables, piece)
                yield Copy(piece.name, piece.text, self._counted(entry, piece.rows))
                continue
            if isinstance(piece, Piece) and piece.kind == SEQUENCE_SET:
                entry, set_to = _next(self._sequences, piece), SETVAL.search(piece.text)
                if set_to is None:
                    raise BackupFailed(f"The archive has no value for sequence {entry.name!r}.")
                self.seen.sequences[entry.schema, entry.name] = b" ".join(set_to.groups()).decode()
            yield piece

    def _counted(self, entry: Entry, rows: Iterator[bytes]) -> Iterator[bytes]:
        count = 0
        for block in rows:
            count += block.count(b"\n")
            yield block
        self.seen.rows[entry.schema, entry.name] = count


def read(archive: Archive, entries: Sequence[Entry]) -> Seen:
    """Read all of the archive; raises BackupFailed when it is damaged."""
    reader = Reader(entries)
    with sql_of(archive) as stream:
        for piece in reader.pieces(stream):
            if isinstance(piece, Copy):
                for _ in piece.rows:
                    pass
    return reader.seen


def sequences(archive: Archive, entries: Sequence[Entry]) -> dict[tuple[str, str], str]:
    """Where the sequences stand, without reading any rows; raises BackupFailed when the archive is damaged."""
    chosen = [each for each in entries if each.kind == SEQUENCE_SET]
    reader = Reader(chosen)
    with sql_of(archive, [each.id for each in chosen]) as stream:
        for _ in reader.pieces(stream):
            pass
    return reader.seen.sequences


def missing(expected: Mapping[tuple[str, str], int], seen: Seen) -> str | None:
    """The first table whose rows are not as many as expected, in words; None when all are. Pure."""
    for (schema, table), count in expected.items():
        found = seen.rows.get((schema, table))
        if found is None:
            return f"it lacks the rows of table {table!r} of schema {schema}"
        if found != count:
            return f"it has {found:,} rows of table {table!r} of schema {schema}, not {count:,}"
    return None


def _next(entries: Iterator[Entry], piece: Piece | Copy) -> Entry:
    entry = next(entries, None)
    if entry is None:
        raise BackupFailed(f"The archive holds {piece} more often than its list says.")
    return entry
