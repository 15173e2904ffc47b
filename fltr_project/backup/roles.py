"""The roles that an archive's statements name: which they are, and others in their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .script import Piece

TOKEN = re.compile(
    rb"""(?P<skip>(?<![\w$\x80-\xff])[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'
        |(?<![\w$\x80-\xff])\$(?P<tag>(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?)\$.*?\$(?P=tag)\$|--[^\n]*)
    |(?P<name>"(?:[^"]|"")*")|(?P<word>[A-Za-z_\x80-\xff][\w$\x80-\xff]*)|(?P<mark>[;,()])""",
    re.DOTALL | re.VERBOSE,
)
RIGHTS = ("ACL", "DEFAULT ACL")
# Words that stand where a role's name may, and are none.
NO_ROLES = frozenset({b"PUBLIC", b"CURRENT_USER", b"SESSION_USER", b"CURRENT_ROLE", b"DEFAULT"})
# After GRANT ... TO and its like, and in a policy.
BEFORE_A_ROLE = {b"TO", b"FROM", b"ROLE", b"AUTHORIZATION"}


@dataclass(frozen=True)
class Place:
    """Where a statement names a role."""

    start: int
    end: int
    role: str
    owns: bool


def places(piece: Piece) -> Iterator[Place]:
    """Every role that the piece names, in order. Pure."""
    before: list[bytes] = []
    in_list = False
    for token in TOKEN.finditer(piece.text):
        if token["skip"] is not None:
            before.append(b"'")
            continue
        text = token[0]
        if token["mark"] is not None:
            in_list = in_list and text == b","
            before.append(text)
            continue
        owns = before[-2:] == [b"OWNER", b"TO"]
        names_role = owns or _is_role(piece.kind, before, in_list)
        if names_role and text not in NO_ROLES:
            yield Place(token.start(), token.end(), _unquoted(text), owns)
        in_list = names_role and piece.kind == "POLICY"
        before.append(text)


def renamed(piece: Piece, names: Mapping[str, str]) -> bytes:
    """The piece with other roles in the place of those that ``names`` knows. Pure."""
    return _replaced(piece, lambda role: names.get(role, role))


def without(piece: Piece, unknown: frozenset[str]) -> bytes:
    """A piece of rights without the statements for roles that are not there. Pure.

    Who has granted them is left out too: only a superuser can act as another.
    """
    if piece.kind not in RIGHTS:
        return piece.text
    kept = [
        each.text
        for each in _statements(piece)
        if b"SESSION AUTHORIZATION" not in each.text
        and not any(place.role in unknown for place in places(each))
    ]
    return b"".join(kept)


def _is_role(kind: str, before: list[bytes], in_list: bool) -> bool:
    if not before:
        return False
    if kind in RIGHTS:
        return before[-1] in BEFORE_A_ROLE
    if kind == "POLICY":
        return before[-1] == b"TO" or (in_list and before[-1] == b",")
    if kind == "USER MAPPING":
        return before[-1] == b"FOR"
    return False


def _statements(piece: Piece) -> Iterator[Piece]:
    start = 0
    for token in TOKEN.finditer(piece.text):
        if token[0] == b";" and token["mark"]:
            yield Piece(piece.kind, piece.name, piece.text[start : token.end()] + b"\n")
            start = token.end()


def _replaced(piece: Piece, role: Callable[[str], str]) -> bytes:
    parts, last = [], 0
    for place in places(piece):
        parts += [piece.text[last : place.start], _quoted(role(place.role))]
        last = place.end
    return b"".join([*parts, piece.text[last:]])


def _quoted(name: str) -> bytes:
    return b'"' + name.replace('"', '""').encode() + b'"'


def _unquoted(token: bytes) -> str:
    if token.startswith(b'"'):
        return token[1:-1].replace(b'""', b'"').decode(errors="surrogateescape")
    return token.decode(errors="surrogateescape")
