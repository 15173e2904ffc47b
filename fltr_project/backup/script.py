"""What pg_restore prints, taken apart by PostgreSQL's own rules of quoting.

An archive as SQL is a head of settings for psql, then entries: each a comment that names it, then its
statements, and for the rows of a table a COPY with them. Where an entry begins is only looked for
outside of quotes, so no body, comment or name can be taken for one, and nothing of them is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

# Bytes read at a time.
BLOCK = 1 << 20
# Where quotes begin, and a comment. Only what follows an E has backslashes for escapes, because the
# archive has standard_conforming_strings on. A $ within a name begins nothing.
BEGINS = re.compile(
    rb"""(?<![\w$\x80-\xff])[eE]'|'|"|(?<![\w$\x80-\xff])\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$|--"""
)
ESCAPED_END = re.compile(rb"(?:[^'\\]|\\.|'')*?'(?!')", re.DOTALL)
HEADER = re.compile(rb"-- (?P<data>Data for )?Name: (?P<said>.*)\n")
KIND = re.compile(rb"; Type: (?P<kind>[A-Z ]+)(?=; Schema: )")
# How the statements of those kinds begin that are treated apart, for names that look like a header's end.
STATEMENTS = (
    (b"SELECT pg_catalog.setval(", "SEQUENCE SET"),
    (b"REFRESH MATERIALIZED VIEW ", "MATERIALIZED VIEW DATA"),
    (b"CREATE POLICY ", "POLICY"),
    (b"CREATE USER MAPPING ", "USER MAPPING"),
    (b"ALTER DEFAULT PRIVILEGES ", "DEFAULT ACL"),
    (b"GRANT ", "ACL"),
    (b"REVOKE ", "ACL"),
    (b"SET SESSION AUTHORIZATION ", "ACL"),
    (b"ALTER DATABASE ", "DATABASE PROPERTIES"),
    (b"ALTER ROLE ", "DATABASE PROPERTIES"),
)
ENCODING = re.compile(rb"^SET client_encoding = '([^']+)';$", re.MULTILINE)
# Between large objects: whoever runs the script has a transaction.
BETWEEN_OBJECTS = frozenset({b"", b"BEGIN;", b"COMMIT;"})
# Each line of these is a statement of its own; one object may be larger than the memory.
BY_LINE, TABLE_DATA = "BLOBS", "TABLE DATA"


@dataclass(frozen=True)
class Head:
    """The archive's encoding, as the settings before the first entry say."""

    encoding: str


@dataclass(frozen=True)
class Piece:
    """Statements of one entry, or of large objects one statement."""

    kind: str
    # As the comment before it has it: in one line, not quoted.
    name: str
    text: bytes

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Copy:
    """A COPY ... FROM stdin, and its rows in blocks that end anywhere; to be read before what follows."""

    name: str
    text: bytes
    rows: Iterator[bytes]

    def __str__(self) -> str:
        return f"{TABLE_DATA} {self.name}"


class Quotes:
    """Whether what has been read so far ends within quotes."""

    def __init__(self) -> None:
        self._end: bytes | None = None

    def __bool__(self) -> bool:
        return self._end is not None

    def read(self, line: bytes) -> None:
        """Read one more line, with its end."""
        place = 0
        while True:
            if self._end is None:
                begun = BEGINS.search(line, place)
                if begun is None or begun[0] == b"--":
                    return
                self._end, place = begun[0], begun.end()
            elif self._end[:1] in b"eE":
                ended = ESCAPED_END.match(line, place)
                if ended is None:
                    return
                self._end, place = None, ended.end()
            else:
                found = line.find(self._end, place)
                if found < 0:
                    return
                # A doubled quote ends here and begins again.
                place, self._end = found + len(self._end), None


class Lines:
    """A stream of bytes, line by line, or in blocks as far as COPY's rows go."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._rest = stream, b""

    def line(self) -> bytes:
        """The next line with its end; empty at the end of the stream."""
        searched = 0
        while (end := self._rest.find(b"\n", searched)) < 0:
            searched = len(self._rest)
            block = self._stream.read(BLOCK)
            if not block:
                line, self._rest = self._rest, b""
                return line
            self._rest += block
        line, self._rest = self._rest[: end + 1], self._rest[end + 1 :]
        return line

    def rows(self) -> Iterator[bytes]:
        """Everything before the line ``\\.``, which is read and left out."""
        # As if a line had ended just before, so that the end is found where there is no row too.
        held = b"\n" + self._rest
        self._rest, first = b"", 1
        while (end := held.find(b"\n\\.\n")) < 0:
            # What may be the beginning of the end is kept.
            if len(held) > 4:
                yield held[first:-4]
                held, first = held[-4:], 0
            block = self._stream.read(BLOCK)
            if not block:
                yield held[first:]
                return
            held += block
        self._rest = held[end + 4 :]
        if rows := held[first : end + 1]:
            yield rows


def pieces(stream: IO[bytes]) -> Iterator[Head | Piece | Copy]:
    """The head of a script of pg_restore's, then its entries in order. Reads no more than it gives."""
    lines, quotes = Lines(stream), Quotes()
    header: re.Match[bytes] | None = None
    text, in_header = bytearray(), False
    while line := lines.line():
        if not quotes:
            if line == b"--\n":
                in_header = not in_header
                continue
            if in_header and (found := HEADER.fullmatch(line)):
                yield from _piece(header, bytes(text))
                header = found
                text.clear()
                continue
            if line.startswith((b"\\", b"--")):
                # psql's own commands, and comments.
                continue
        text += line
        quotes.read(line)
        if quotes or header is None or not header["data"]:
            continue
        statement = bytes(text).strip()
        text.clear()
        if statement.startswith(b"COPY ") and statement.endswith(b" FROM stdin;"):
            yield Copy(_name(header), statement, lines.rows())
        elif statement not in BETWEEN_OBJECTS:
            yield Piece(BY_LINE, _name(header), statement + b"\n")
    yield from _piece(header, bytes(text))


def _piece(header: re.Match[bytes] | None, text: bytes) -> Iterator[Head | Piece]:
    if header is None:
        found = ENCODING.search(text)
        yield Head(found[1].decode() if found else "UTF8")
    elif text.strip():
        yield Piece(_kind(header, text), _name(header), text)


def _kind(header: re.Match[bytes], text: bytes) -> str:
    """What the header says, or where a name could be taken for a part of it, what the statements are."""
    kinds = [match["kind"].decode() for match in KIND.finditer(header["said"])]
    if len(kinds) == 1:
        return kinds[0]
    special = dict.fromkeys(kind for _, kind in STATEMENTS)
    begun = text.lstrip()
    fitting = (kind for begins, kind in STATEMENTS if begun.startswith(begins) and kind in kinds)
    plain = (kind for kind in kinds if kind not in special)
    return next(fitting, next(plain, "".join(kinds[:1])))


def _name(header: re.Match[bytes]) -> str:
    return KIND.split(header["said"], maxsplit=1)[0].decode(errors="replace")
