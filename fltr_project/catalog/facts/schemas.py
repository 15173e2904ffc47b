"""Schemas, and extensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .base import Fact, Rows, Source

# Where Drizzle keeps its record of migrations unless told otherwise.
TRACKING_SCHEMAS = frozenset({"drizzle"})


@dataclass(frozen=True, slots=True)
class Schema(Fact):
    """A schema. ``public`` is one of the contract's."""

    kind, plural = "schema", "schemas"
    key = ("name",)
    name: str
    owner: str = ""
    tables: int = field(default=0, compare=False)

    @property
    def object(self) -> str:
        return f"schema {self.name}"


@dataclass(frozen=True, slots=True)
class Extension(Fact):
    kind, plural = "extension", "extensions"
    key = ("name",)
    name: str

    @property
    def object(self) -> str:
        return f"extension {self.name}"


SCHEMAS = r"""
    SELECT n.oid, n.nspname AS name, pg_get_userbyid(n.nspowner) AS owner,
           (SELECT count(*) FROM pg_class c
            WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'f', 'm'))::int AS tables
    FROM pg_namespace n
    WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
"""
EXTENSIONS = "SELECT extname AS name FROM pg_extension WHERE extname <> 'plpgsql'"


def read_schemas(rows: Rows) -> Iterator[Schema]:
    for row in rows["schemas"]:
        if row.name not in TRACKING_SCHEMAS:
            yield Schema("", row.name, rows.role(row.owner), row.tables)


def read_extensions(rows: Rows) -> Iterator[Extension]:
    for row in rows["extensions"]:
        yield Extension("", row.name)


SOURCES = (
    Source("schemas", lambda major: SCHEMAS, read_schemas, "pg_namespace"),
    Source("extensions", lambda major: EXTENSIONS, read_extensions),
)
