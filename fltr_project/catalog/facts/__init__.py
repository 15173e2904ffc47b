"""What a database can hold, as facts: a module a subject, with the facts, their query and its reader.

A new field of a fact is added in its class, in the query above or below it and in the reader. A new kind of fact
is a class and a source of its own, and an entry in ``KINDS`` and in ``SOURCES``.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import (
    columns,
    constraints,
    functions,
    grants,
    indexes,
    others,
    policies,
    schemas,
    sequences,
    settings,
    tables,
    triggers,
    types,
    unknown,
)
from .base import Fact, Rows, Source, enabled_in_words
from .columns import Column
from .constraints import Check, ForeignKey
from .functions import Function
from .grants import Grants
from .indexes import Index, Key, plain_columns
from .others import Other
from .policies import Policy, Rule
from .schemas import Extension, Schema
from .sequences import Sequence, sequence_of
from .settings import Setting
from .tables import Table
from .triggers import DisabledTrigger, Trigger
from .types import Type
from .unknown import Unread

__all__ = [
    "KINDS",
    "NEEDED_BY",
    "OF_SOURCE",
    "SETTINGS",
    "SOURCES",
    "TRACKING_TABLES",
    "Catalog",
    "Check",
    "Column",
    "DisabledTrigger",
    "Extension",
    "Fact",
    "ForeignKey",
    "Function",
    "Grants",
    "Index",
    "Key",
    "Other",
    "Policy",
    "Rows",
    "Rule",
    "Schema",
    "Sequence",
    "Setting",
    "Source",
    "Table",
    "Trigger",
    "Type",
    "Unread",
    "enabled_in_words",
    "plain_columns",
    "sequence_of",
]

# Records of what migrations ran, kept by the programs themselves. They are counted, never compared;
# `__drizzle_migrations` is not among them where the contract has it as a table of its own.
TRACKING_TABLES = frozenset({"django_migrations", "__drizzle_migrations", "alembic_version"})

# In an order in which they can be made, one after the other.
KINDS: tuple[type[Fact], ...] = (
    Setting,
    Schema,
    Extension,
    Type,
    Sequence,
    Function,
    Table,
    Column,
    Key,
    Check,
    ForeignKey,
    DisabledTrigger,
    Index,
    Trigger,
    Rule,
    Policy,
    Grants,
    Other,
)
# Where the facts come from.
SOURCES: tuple[Source, ...] = (
    *schemas.SOURCES,
    types.SOURCE,
    sequences.SOURCE,
    functions.SOURCE,
    tables.SOURCE,
    columns.SOURCE,
    constraints.SOURCE,
    indexes.SOURCE,
    triggers.SOURCE,
    *policies.SOURCES,
    *grants.SOURCES,
    others.SOURCE,
    unknown.SOURCE,
)
# The kinds that each tells of.
OF_SOURCE: dict[str, tuple[type[Fact], ...]] = {
    "schemas": (Schema,),
    "extensions": (Extension,),
    "types": (Type,),
    "sequences": (Sequence,),
    "functions": (Function,),
    "tables": (Table,),
    "columns": (Column,),
    "constraints": (Check, ForeignKey),
    "indexes": (Key, Index),
    "triggers": (Trigger, DisabledTrigger),
    "rules": (Rule,),
    "policies": (Policy,),
    "grants": (Grants,),
    "default_privileges": (Grants,),
    "others": (Other,),
    "unknown": (),
}
# What cannot be read without another one.
NEEDED_BY: dict[str, tuple[str, ...]] = {
    "sequences": ("columns", "constraints"),
    "constraints": ("columns",),
    "columns": ("constraints",),
}
# Asked last, with the session's own TimeZone.
SETTINGS: Source = settings.SOURCE


@dataclass(frozen=True)
class Catalog:
    """The facts of a database: what schema ``public`` holds, and what stands beside it."""

    facts: tuple[Fact, ...]
    tracking_tables: tuple[str, ...] = ()
    # Things that belong to an extension, which are its own business.
    extension_objects: int = 0
    # For statements of repair: who owns most of it, and what it is called.
    owner: str = ""
    database: str = ""
    # What could not be read, and is not known to be as it should.
    unread: tuple[Unread, ...] = ()

    def of[F: Fact](self, kind: type[F]) -> tuple[F, ...]:
        return tuple(fact for fact in self.facts if isinstance(fact, kind))

    @property
    def tables(self) -> tuple[str, ...]:
        """Every ordinary table, tracking tables included, by name."""
        own = (table.table for table in self.of(Table) if table.type.endswith("table"))
        return tuple(sorted({*own, *self.tracking_tables}))
