"""Types that somebody has made: enums, domains, composites and ranges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .base import PUBLIC, Fact, Rows, Source


@dataclass(frozen=True, slots=True)
class Type(Fact):
    kind, plural = "type", "types"
    key = ("name",)
    name: str
    # As in CREATE TYPE or CREATE DOMAIN after the name and AS.
    definition: str
    owner: str = ""

    @property
    def object(self) -> str:
        return f"type {self.name}"

    @property
    def description(self) -> str:
        return self.definition

    @property
    def is_domain(self) -> bool:
        return not self.definition.startswith(("ENUM (", "RANGE (", "("))


QUERY = f"""
    SELECT t.oid, t.typname AS name, CASE t.typtype
        WHEN 'e' THEN (
            SELECT 'ENUM (' || coalesce(string_agg(quote_literal(e.enumlabel), ', '
                ORDER BY e.enumsortorder), '') || ')'
            FROM pg_enum e WHERE e.enumtypid = t.oid)
        WHEN 'd' THEN concat_ws(' ', format_type(t.typbasetype, t.typtypmod),
            CASE WHEN t.typcollation <> b.typcollation
                 THEN 'COLLATE ' || t.typcollation::regcollation::text END,
            'DEFAULT ' || t.typdefault,
            CASE WHEN t.typnotnull THEN 'NOT NULL' END,
            (SELECT string_agg(pg_get_constraintdef(con.oid), ' '
                ORDER BY pg_get_constraintdef(con.oid)) FROM pg_constraint con
             WHERE con.contypid = t.oid AND con.contype = 'c'))
        WHEN 'r' THEN (SELECT 'RANGE (subtype = ' || r.rngsubtype::regtype || ')'
                       FROM pg_range r WHERE r.rngtypid = t.oid)
        ELSE (SELECT '(' || coalesce(string_agg(
                  quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod),
                  ', ' ORDER BY a.attnum), '') || ')'
              FROM pg_attribute a
              WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
        END AS definition,
        pg_get_userbyid(t.typowner) AS owner
    FROM pg_type t
    LEFT JOIN pg_class c ON c.oid = t.typrelid
    LEFT JOIN pg_type b ON b.oid = t.typbasetype
    WHERE t.typnamespace = {PUBLIC}
      AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
"""


def read(rows: Rows) -> Iterator[Type]:
    for row in rows["types"]:
        yield Type("", row.name, row.definition, rows.role(row.owner))


SOURCE = Source("types", lambda major: QUERY, read, "pg_type")
