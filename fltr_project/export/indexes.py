"""The definition of an index, taken apart as the server prints it: ``btree (a, b text_pattern_ops) WHERE (c)``."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WHOLE = re.compile(r"(?P<method>\w+) \((?P<members>.*)\)", re.DOTALL)
_PLAIN = re.compile(r"(?P<column>[a-z_][a-z0-9_]*)(?: (?P<operators>\w+_ops))?")


@dataclass(frozen=True)
class Member:
    """A column of an index, or an expression."""

    text: str
    column: str | None
    # Other operators than those of the type.
    operators: str | None


@dataclass(frozen=True)
class Definition:
    method: str
    members: tuple[Member, ...]
    where: str | None


def definition(text: str) -> Definition:
    """The parts of an index; raises ValueError for one that it cannot take apart."""
    whole, _, where = text.partition(") WHERE ")
    found = _WHOLE.fullmatch(whole if not where else whole + ")")
    if found is None:
        raise ValueError(f"no definition of an index: {text}")
    return Definition(
        found["method"],
        tuple(map(_member, _split(found["members"]))),
        where or None,
    )


def _member(text: str) -> Member:
    plain = _PLAIN.fullmatch(text)
    if plain is None:
        return Member(text, None, None)
    return Member(text, plain["column"], plain["operators"])


def _split(members: str) -> list[str]:
    """At the commas outside of brackets and quotes."""
    parts, depth, quoted = [""], 0, ""
    for character in members:
        if quoted:
            quoted = "" if character == quoted else quoted
        elif character in "'\"":
            quoted = character
        elif character in "()[]":
            depth += 1 if character in "([" else -1
        if character == "," and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
