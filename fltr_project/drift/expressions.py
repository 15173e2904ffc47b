"""Whether two boolean expressions, as the server prints them, say the same.

``NOT (a = 0)`` and ``a <> 0``, ``0 <= a`` and ``a >= 0``, an OR of equalities and an IN list, and any
order of AND and OR are the same condition. What this module cannot read it leaves as it is, so two
spellings that it does not understand count as different.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

type Node = tuple[Any, ...]

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*')|(?P<name>"(?:[^"]|"")*"|[a-zA-Z_][\w$.]*)"""
    r"""|(?P<number>\d+(?:\.\d+)?)|(?P<operator>::|[-+*/<>=~!@#%^&|?]+|[()\[\],.]))"""
)
# A constant array of words that need no quotes.
_WORDS = re.compile(r"'\{((?!null\b)\w+(?:,(?!null\b)\w+)*)\}'", re.IGNORECASE)
_FLIPPED = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_INVERSE = {"=": "<>", "<>": "=", "<": ">=", ">": "<=", "<=": ">", ">=": "<"}
_INTEGERS = frozenset({"smallint", "integer", "bigint"})


def canonical(expression: str, types: Mapping[str, str]) -> str:
    """One text for every spelling of a condition that is understood; ``types`` are the columns'."""
    return _canonical(expression, tuple(sorted(types.items())))


@lru_cache(maxsize=4096)
def _canonical(expression: str, types: tuple[tuple[str, str], ...]) -> str:
    try:
        node = _Parser(expression).whole()
    except _Unknown:
        return expression
    return repr(_simplified(node, dict(types)))


class _Unknown(Exception):
    """The expression has something in it that the parser does not know."""


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        place = 0
        text = text.rstrip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise _Unknown
            self._tokens.append((match.lastgroup or "", match.group(match.lastgroup or 0)))
            place = match.end()
        self._place = 0

    def whole(self) -> Node:
        node = self._either("OR", lambda: self._either("AND", self._negation))
        if self._place < len(self._tokens):
            raise _Unknown
        return node

    def _any(self) -> Node:
        return self._either("OR", lambda: self._either("AND", self._negation))

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._place] if self._place < len(self._tokens) else ("", "")

    def _accept(self, *words: str) -> str | None:
        group, word = self._peek()
        if group != "text" and word in words:
            self._place += 1
            return word
        return None

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise _Unknown

    def _either(self, word: str, part: Callable[[], Node]) -> Node:
        parts = [part()]
        while self._accept(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else (word, *parts)

    def _negation(self) -> Node:
        if self._accept("NOT"):
            return ("NOT", self._negation())
        return self._comparison()

    def _comparison(self) -> Node:
        left = self._sum()
        if self._accept("IS"):
            negated = self._accept("NOT")
            self._expect("NULL")
            return ("NOT", ("IS NULL", left)) if negated else ("IS NULL", left)
        group, word = self._peek()
        if group == "operator" and (word in _FLIPPED or word in {"~", "~~", "~*", "!~"}):
            self._place += 1
            if quantifier := self._accept("ANY", "ALL"):
                self._expect("(")
                right = self._any()
                self._expect(")")
                return (quantifier, word, left, right)
            return ("compare", word, left, self._sum())
        return left

    def _sum(self) -> Node:
        node = self._moved()
        while operator := self._accept("+", "-", "*", "/", "||", "%"):
            node = ("operator", operator, node, self._moved())
        return node

    def _moved(self) -> Node:
        node = self._atom()
        while self._accept("AT"):
            self._expect("TIME")
            self._expect("ZONE")
            node = ("call", "timezone", self._atom(), node)
        return node

    def _atom(self) -> Node:
        if self._accept("("):
            node = self._any()
            self._expect(")")
        elif self._accept("-"):
            node = ("number", "-" + self._number())
        else:
            node = self._value()
        while self._accept("::"):
            node = ("cast", node, self._type())
        return node

    def _number(self) -> str:
        group, word = self._peek()
        if group != "number":
            raise _Unknown
        self._place += 1
        return word

    def _value(self) -> Node:
        group, word = self._peek()
        self._place += 1
        if group in {"text", "number"}:
            return (group, word)
        if group != "name":
            raise _Unknown
        if word == "ARRAY" and self._accept("["):
            return ("ARRAY", *self._list("]"))
        if word == "CURRENT_TIMESTAMP":
            return ("call", "now")
        if self._accept("("):
            return ("call", word, *self._list(")"))
        return ("name", word)

    def _list(self, end: str) -> list[Node]:
        items: list[Node] = []
        while not self._accept(end):
            if items:
                self._expect(",")
            items.append(self._any())
        return items

    def _type(self) -> str:
        group, word = self._peek()
        if group != "name":
            raise _Unknown
        self._place += 1
        for more in ("varying", "precision"):
            if self._accept(more):
                word += f" {more}"
        if self._accept("("):
            word += "(" + self._number() + ")"
            self._expect(")")
        if self._accept("["):
            self._expect("]")
            word += "[]"
        return word


def _simplified(node: Node, types: Mapping[str, str]) -> Node:
    match node:
        case ("AND" | "OR" as word, *parts):
            return _flat(word, [_simplified(part, types) for part in parts])
        case ("NOT", part):
            return _negated(_simplified(part, types), types)
        case ("ANY", "=", left, right) if (values := _values(right)) is not None:
            left = _simplified(left, types)
            return _flat("OR", [("compare", "=", left, value) for value in values])
        case ("ALL", "<>", left, right) if (values := _values(right)) is not None:
            left = _simplified(left, types)
            return _flat("AND", [("compare", "<>", left, value) for value in values])
        case ("compare", operator, left, right):
            return _comparison(operator, _simplified(left, types), _simplified(right, types), types)
        case ("cast", ("text" | "number" as group, value), type_) if type_ in {
            "text",
            "character varying",
            *_INTEGERS,
        }:
            # A constant and its type, which the other side of a comparison decides anyway.
            return ("number" if type_ in _INTEGERS else group, _unquoted(value))
        case ("cast", ("name", name), "text") if types.get(name, "") in {
            "text",
            "character varying",
        }:
            return ("name", name)
        case ("call", "timezone", ("cast", ("text", zone), _), time):
            # The names of time zones are the same in capitals.
            return ("call", "timezone", str(zone).lower(), _simplified(time, types))
        case ("number", value) if "." in value:
            return ("number", value.rstrip("0").rstrip("."))
        case ("text", value):
            return ("text", _unquoted(value))
        case (word, *parts):
            return (
                word,
                *(_simplified(part, types) if isinstance(part, tuple) else part for part in parts),
            )
    return node


def _unquoted(value: str) -> str:
    return value[1:-1] if value.startswith("'") else value


def _values(node: Node) -> list[Node] | None:
    """The values of an array of constants, or None."""
    while node[0] == "cast":
        node = node[1]
    if node[0] == "ARRAY":
        return [_simplified(value, {}) for value in node[1:]]
    if node[0] == "text" and (words := _WORDS.fullmatch(node[1])):
        return [("text", word) for word in words[1].split(",")]
    return None


def _flat(word: str, parts: list[Node]) -> Node:
    flat: set[Node] = set()
    for part in parts:
        flat.update(part[1:] if part[0] == word else [part])
    return (word, *sorted(flat, key=repr)) if len(flat) > 1 else flat.pop()


def _comparison(operator: str, left: Node, right: Node, types: Mapping[str, str]) -> Node:
    if operator not in _FLIPPED:
        return ("compare", operator, left, right)
    if (_is_constant(left) and not _is_constant(right)) or (
        not _is_constant(right) and repr(right) < repr(left)
    ):
        operator, left, right = _FLIPPED[operator], right, left
    is_integer = left[0] == "name" and types.get(left[1]) in _INTEGERS
    if is_integer and right[0] == "number" and "." not in right[1]:
        if operator == ">":
            operator, right = ">=", ("number", str(int(right[1]) + 1))
        elif operator == "<":
            operator, right = "<=", ("number", str(int(right[1]) - 1))
    return ("compare", operator, left, right)


def _is_constant(node: Node) -> bool:
    return node[0] in {"text", "number"} or (node[0] == "cast" and _is_constant(node[1]))


def _negated(node: Node, types: Mapping[str, str]) -> Node:
    """The opposite, which in SQL's three-valued logic is NULL where the condition is."""
    match node:
        case ("compare", operator, left, right) if operator in _INVERSE:
            return _comparison(_INVERSE[operator], left, right, types)
        case ("NOT", part):
            return tuple(part)
        case ("AND", *parts):
            return _flat("OR", [_negated(part, types) for part in parts])
        case ("OR", *parts):
            return _flat("AND", [_negated(part, types) for part in parts])
    return ("NOT", node)
