"""Sequences. One that a column owns belongs to the column, and one of an extension to the extension."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .base import PUBLIC, Fact, Rows, Source


@dataclass(frozen=True, slots=True)
class Sequence(Fact):
    """A sequence that no column owns."""

    kind, plural = "sequence", "sequences"
    key = ("name",)
    name: str
    # As in CREATE SEQUENCE after the name.
    definition: str = ""
    owner: str = ""

    @property
    def object(self) -> str:
        return f"sequence {self.name}"

    @property
    def description(self) -> str:
        return self.definition


QUERY = f"""
    SELECT c.oid, c.relname AS name, c.oid::regclass::text AS qualified_name,
           t.relname AS of_table, a.attname AS of_column,
           format('AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s %s',
                  s.seqtypid::regtype, s.seqincrement, s.seqmin, s.seqmax, s.seqstart,
                  s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END) AS definition,
           pg_get_userbyid(c.relowner) AS owner
    FROM pg_class c
    JOIN pg_sequence s ON s.seqrelid = c.oid
    LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass
        AND d.refobjsubid > 0
    LEFT JOIN pg_class t ON t.oid = d.refobjid
    LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE c.relkind = 'S' AND c.relnamespace = {PUBLIC}
"""


def read(rows: Rows) -> Iterator[Sequence]:
    for row in rows["sequences"]:
        if row.of_table is None:
            yield Sequence("", row.name, row.definition, rows.role(row.owner))


SOURCE = Source("sequences", lambda major: QUERY, read, "pg_class")

# A default as the server prints it with an empty search_path, where names have their schema.
_NEXT = re.compile(r"""nextval\('public\.(?:"((?:[^"]|"")+)"|([^"']+))'::regclass\)""")


def sequence_of(default: str) -> str | None:
    """The sequence of schema public that a column's default takes its number from; None for every other default."""
    match = _NEXT.match(default)
    if match is None:
        return None
    quoted, plain = match.groups()
    name: str = quoted.replace('""', '"').replace("''", "'") if quoted else plain
    return name
