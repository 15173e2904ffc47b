"""Indexes, and what a unique one promises: a key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .base import PUBLIC, Fact, Rows, Source, deferrability


@dataclass(frozen=True, slots=True)
class Key(Fact):
    """A primary key, a unique constraint or a unique index: the same promise in three spellings."""

    kind, plural = "key", "keys"
    key = ("table", "definition")
    # As in CREATE INDEX after USING: method, columns, predicate.
    definition: str
    primary: bool
    valid: bool = True
    deferrable: str = "NOT DEFERRABLE"
    constraint: bool = field(default=True, compare=False)
    name: str = field(default="", compare=False)
    # Whether it is the one of REPLICA IDENTITY USING INDEX, which the table's fact says there is.
    replica_identity: bool = field(default=False, compare=False)

    @property
    def object(self) -> str:
        word = "primary key" if self.primary else "unique"
        return f"{word} of {self.table} {_without_method(self.definition)}, {self.name}"

    @property
    def description(self) -> str:
        return f"{'PRIMARY KEY' if self.primary else 'UNIQUE'} {self.definition}"


@dataclass(frozen=True, slots=True)
class Index(Fact):
    """An index that is not unique."""

    kind, plural = "index", "indexes"
    key = ("table", "definition")
    # As in CREATE INDEX after USING: method, columns, predicate.
    definition: str
    valid: bool = True
    name: str = field(default="", compare=False)

    @property
    def object(self) -> str:
        return f"index of {self.table} {_without_method(self.definition)}, {self.name}"

    @property
    def description(self) -> str:
        return self.definition


QUERY = f"""
    SELECT c.relname AS of_table, i.relname AS name, pg_get_indexdef(x.indexrelid) AS statement,
           x.indisunique AS is_unique, x.indisprimary AS is_primary,
           x.indisvalid AND x.indisready AND x.indislive AS valid, con.contype AS constraint_type,
           coalesce(con.condeferrable, false) AS deferrable,
           coalesce(con.condeferred, false) AS deferred, x.indisreplident AS replica_identity
    FROM pg_index x
    JOIN pg_class c ON c.oid = x.indrelid
    JOIN pg_class i ON i.oid = x.indexrelid
    LEFT JOIN pg_constraint con
        ON con.conindid = x.indexrelid AND con.contype IN ('p', 'u', 'x')
    WHERE NOT i.relispartition AND c.relnamespace = {PUBLIC}
"""


def read(rows: Rows) -> Iterator[Fact]:
    for row in rows["indexes"]:
        definition = row.statement.partition(" USING ")[2]
        if row.is_unique:
            yield Key(
                table=row.of_table,
                definition=definition,
                primary=row.is_primary,
                valid=row.valid,
                deferrable=deferrability(row.deferrable, row.deferred),
                constraint=row.constraint_type is not None,
                name=row.name,
                replica_identity=row.replica_identity,
            )
        # The index of an exclusion constraint belongs to the constraint.
        elif row.constraint_type != "x":
            yield Index(row.of_table, definition, row.valid, row.name)


SOURCE = Source("indexes", lambda major: QUERY, read)

_PLAIN = re.compile(r'^btree \(((?:"?\w+"?(?:, )?)+)\)(?: WHERE .*)?$')


def plain_columns(definition: str) -> tuple[str, ...] | None:
    """The columns of an index of plain columns, ascending; None for every other index."""
    match = _PLAIN.match(definition)
    return tuple(match.group(1).split(", ")) if match else None


def _without_method(definition: str) -> str:
    """``btree (user_id, created_at)`` reads better without the usual method."""
    return definition.removeprefix("btree ")
