"""Changing a column's type with its rows: how a value is converted, and whether it stays what it is.

What is known to keep every value stands in ``keeps``. Before any other change the rows are looked at,
under the lock of the change: each value must come back from the new type as it was.
"""

from __future__ import annotations

import re

from fltr_project.catalog.facts import Column

from .names import dollar_quoted, literal, name, public

# Decimal digits that each can have.
_WHOLE = {"smallint": 5, "integer": 10, "bigint": 19}
_NUMBERS = frozenset({*_WHOLE, "numeric", "real", "double precision"})
# Whole numbers up to these many digits are exact in a floating-point number.
_FLOATS = {"real": 5, "double precision": 10}
_TEXTS = frozenset({"text", "character varying"})
# Their text is their value, whatever the settings of a session.
_SPELLED = frozenset(
    {"text", "character varying", "character", "uuid", "json", "jsonb", "boolean", "xml", *_WHOLE}
) | {"numeric"}
_STAMP, _STAMP_TZ = "timestamp without time zone", "timestamp with time zone"
# Types with an equality of their own; the others are compared by their text.
_COMPARED = _NUMBERS | {"date", "boolean", _STAMP, _STAMP_TZ, *_TEXTS}


def keeps(wanted: str, found: str) -> bool:
    """Whether every value of the type ``found`` is the same value in ``wanted``."""
    if wanted == found:
        return True
    (new, sizes), (old, had) = _parts(wanted), _parts(found)
    if new in _TEXTS and old in _SPELLED:
        return not sizes or (old in {new, "character"} and bool(had) and sizes[0] >= had[0])
    if old in _WHOLE and new in _WHOLE:
        return _WHOLE[new] >= _WHOLE[old]
    if old == "boolean" and new in _WHOLE:
        return True
    if new == "numeric" and (old in _WHOLE or old == "numeric"):
        if not sizes:
            return True
        digits, scale = (*(had or (0, 0)), 0)[:2] if old == "numeric" else (_WHOLE[old], 0)
        room = (*sizes, 0)[:2]
        return bool(digits) and room[1] >= scale and room[0] - room[1] >= digits - scale
    if new in _FLOATS:
        return old == "real" or _WHOLE.get(old, 99) <= _FLOATS[new]
    if old == "date" and new in {_STAMP, _STAMP_TZ}:
        return True
    if {new, old} <= {_STAMP, _STAMP_TZ}:
        # Microseconds are all there is.
        return not sizes or sizes[0] >= (had or (6,))[0]
    return False


def converted(value: str, found: str, wanted: str) -> str:
    """The expression that makes ``value``, of the type ``found``, one of the type ``wanted``."""
    new, old = _parts(wanted)[0], _parts(found)[0]
    if old == "date" and new == _STAMP_TZ:
        return f"({value}::timestamp AT TIME ZONE 'UTC')::{wanted}"
    if {new, old} == {_STAMP, _STAMP_TZ}:
        in_utc = f"{value} AT TIME ZONE 'UTC'"
        return f"({in_utc})::{wanted}" if "(" in wanted else in_utc
    if new == "date" and old == _STAMP_TZ:
        return f"({value} AT TIME ZONE 'UTC')::date"
    if new == "boolean" and old in _NUMBERS:
        return f"{value} <> 0"
    if old == "boolean" and new in _NUMBERS:
        return f"{value}::integer" + ("" if wanted == "integer" else f"::{wanted}")
    if old == "bytea" and new in _TEXTS:
        # Its text would be the digits of the bytes, which nobody means.
        return f"convert_from({value}, 'UTF8')" + ("" if wanted == "text" else f"::{wanted}")
    if new == "bytea" and old in _TEXTS:
        return f"convert_to({value}, 'UTF8')"
    if found.endswith("[]") and new in _TEXTS:
        return f"array_to_string({value}, ' ')"
    if wanted.endswith("[]") and old in _TEXTS:
        return f"string_to_array({value}, ' ')::{wanted}"
    if {new, old} <= _NUMBERS or {new, old} <= {"date", _STAMP}:
        return f"{value}::{wanted}"
    return f"{value}::text" + ("" if wanted == "text" else f"::{wanted}")


def rewrites(want: Column, have: Column) -> bool:
    """Whether the server writes the table anew, or an index of it, to change the column's type."""
    if want.collation != have.collation or not keeps(want.type, have.type):
        return True
    (new, sizes), (old, had) = _parts(want.type), _parts(have.type)
    if new == old == "numeric":
        return bool(sizes) and (*sizes, 0)[1] != (*had, 0)[1]
    return not (new in _TEXTS and old in _TEXTS)


def count_of_changed(want: Column, have: Column) -> str:
    """A query that counts the values that would not stay what they are."""
    return f"SELECT count(*) FROM {public(want.table)} WHERE {_changes(want, have)};"


def guard(want: Column, have: Column) -> str:
    """A statement that fails where a value of the column would not stay what it is.

    It takes the lock of the change first, so that no value can come in between.
    """
    table, changes = public(want.table), _changes(want, have)
    message = literal(f"{want.object} holds values that {want.type} cannot hold exactly")
    body = (
        f" BEGIN LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; IF EXISTS (SELECT FROM {table} "
        f"WHERE {changes}) THEN RAISE EXCEPTION USING MESSAGE = {message}; END IF; END "
    )
    return f"DO {dollar_quoted(body, 'repair')};"


def _changes(want: Column, have: Column) -> str:
    """A condition on the rows whose value would not come back from the new type as it was."""
    value = name(want.name)
    there = converted(value, have.type, want.type)
    if _parts(want.type)[0] == "jsonb":
        # Which orders keys and spaces anew; a key that is there twice is lost, and its text with it.
        return f"length({_unspaced(f'({there})::text')}) <> length({_unspaced(f'{value}::text')})"
    back = converted(f"({there})", want.type, have.type)
    if _parts(have.type)[0] in _COMPARED:
        return f"({back}) IS DISTINCT FROM {value}"
    return f"({back})::text IS DISTINCT FROM {value}::text"


def _unspaced(text: str) -> str:
    return rf"regexp_replace({text}, '\s', '', 'g')"


def _parts(type_: str) -> tuple[str, tuple[int, ...]]:
    """A type's name and its length, precision or scale: ``timestamp(3) without time zone``."""
    match = re.fullmatch(r"([^(]+)\(([-\d, ]+)\)(.*)", type_)
    if match is None:
        return type_, ()
    return match[1] + match[3], tuple(int(number) for number in match[2].split(","))
