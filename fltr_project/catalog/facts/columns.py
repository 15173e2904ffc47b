"""Columns, each with its default, its sequence and its NOT NULL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .base import PUBLIC, Fact, Rows, Source


@dataclass(frozen=True, slots=True)
class Column(Fact):
    kind, plural = "column", "columns"
    key = ("table", "name")
    name: str
    type: str
    nullable: bool
    default: str | None = None
    # always, by default, or serial: a default from a sequence that the column owns
    identity_kind: str | None = None
    generated: str | None = None
    virtual: bool = False
    collation: str | None = None
    not_null_valid: bool = True
    # Of the column's own sequence, as in CREATE SEQUENCE after the name.
    sequence: str | None = None
    sequence_name: str | None = field(default=None, compare=False)
    not_null_name: str | None = field(default=None, compare=False)

    @property
    def object(self) -> str:
        return f"{self.table}.{self.name}"

    @property
    def description(self) -> str:
        null = "NULL" if self.nullable else "NOT NULL"
        default = f" DEFAULT {self.default}" if self.default else ""
        identity = f" {self.identity_kind}" if self.identity_kind else ""
        return f"{self.type} {null}{default}{identity}"


QUERY = f"""
    SELECT a.attrelid AS relation, a.attnum AS number, c.relname AS of_table, a.attname AS name,
           format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,
           CASE WHEN a.atthasdef THEN pg_get_expr(d.adbin, d.adrelid) END AS expression,
           a.attidentity AS identity, a.attgenerated AS generated,
           -- 100 is the default collation, 0 that of types without one.
           CASE WHEN a.attcollation NOT IN (0, 100)
                THEN a.attcollation::regcollation::text END AS collation
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'p', 'f') AND c.relnamespace = {PUBLIC}
"""
# Drizzle 1.0 adds them to the record that its older versions have made, and looks after them itself.
OF_DRIZZLE = {("__drizzle_migrations", "name"), ("__drizzle_migrations", "applied_at")}
IDENTITY = {"": None, "a": "always", "d": "by default"}


def read(rows: Rows) -> Iterator[Column]:
    owned = {(row.of_table, row.of_column): row for row in rows["sequences"] if row.of_table}
    # From PostgreSQL 18 on a NOT NULL can be waiting to be validated.
    not_valid = {
        (row.relation, row.columns[0]): row.name for row in rows["constraints"] if row.type == "n"
    }
    for row in rows["columns"]:
        if (row.of_table, row.name) in OF_DRIZZLE:
            continue
        identity_kind = IDENTITY[row.identity]
        default = None if row.generated else row.expression
        sequence = owned.get((row.of_table, row.name)) if owned else None
        if sequence is not None:
            quoted = sequence.qualified_name.replace("'", "''")
            if default == f"nextval('{quoted}'::regclass)":
                identity_kind, default = "serial", None
            if not identity_kind:
                sequence = None
        not_null_name = not_valid.get((row.relation, row.number)) if not_valid else None
        yield Column(
            table=row.of_table,
            name=row.name,
            type=row.type,
            nullable=not row.not_null,
            default=default,
            identity_kind=identity_kind,
            generated=row.expression if row.generated else None,
            virtual=row.generated == "v",
            collation=row.collation,
            not_null_valid=not_null_name is None,
            sequence=sequence.definition if sequence else None,
            sequence_name=sequence.qualified_name if sequence else None,
            not_null_name=not_null_name,
        )


SOURCE = Source("columns", lambda major: QUERY, read)
