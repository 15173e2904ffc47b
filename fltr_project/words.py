"""How numbers of things, and the names that others gave them, are told to a person."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What a terminal shows in colour, and how the line of a checklist is written over.
_OURS = re.compile(r"(\x1b\[[0-9;]*m|^\r\x1b\[K|\n)", re.MULTILINE)


# What ends a plural, and its singular; the first that fits.
ENDINGS = (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("s", ""))


def counted(count: int, plural: str, *, exact: bool = True) -> str:
    """A number with its noun, which is given in the plural: `1 row`, `about 2,000 rows`."""
    return f"{'' if exact else 'about '}{count:,} {noun(count, plural)}"


def noun(count: int, plural: str) -> str:
    """The noun alone, as it stands after the number."""
    return singular(plural) if count == 1 else plural


def singular(plural: str) -> str:
    for ending, one in ENDINGS:
        if plural.endswith(ending):
            return plural.removesuffix(ending) + one
    return plural


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def rows(total: int, product: int, *, exact: bool = True) -> str:
    """All rows, and how many of them are the product's, where that is not the same number.

    The others are the records of what migrations ran, and rows of other schemas than ``public``.
    """
    every = counted(total, "rows", exact=exact)
    if total == product:
        return every
    return f"{every}, {f'{product:,}' if product else 'none'} of them the product's"


def visible(text: str) -> str:
    """A text on one line in which nothing acts on a terminal, a log or a reader: line breaks, control
    characters and what changes the direction of writing are shown as escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def harmless(text: str) -> str:
    """As ``visible``, for a text of ours of several lines, maybe in colour."""
    parts = _OURS.split(text)
    return "".join(part if place % 2 else visible(part) for place, part in enumerate(parts))


def _escaped(character: str) -> str:
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    code = ord(character)
    width, letter = (2, "x") if code < 0x100 else (4, "u") if code < 0x10000 else (8, "U")
    return known.get(character) or f"\\{letter}{code:0{width}x}"
