"""What a database can hold, as facts: one frozen dataclass a kind of thing.

A fact says what a thing is and does, in the server's own canonical words; names of constraints and
indexes are carried along but take no part in its identity. Facts of one kind with equal identity
are the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

# Records of what migrations ran, kept by the programs themselves. They are counted, never compared;
# `__drizzle_migrations` is not among them where the contract has it as a table of its own.
TRACKING_TABLES = frozenset({"django_migrations", "__drizzle_migrations", "alembic_version"})


@dataclass(frozen=True, slots=True)
class Fact:
    """The fields in ``key`` say which thing it is; the others say how it is."""

    kind: ClassVar[str]
    plural: ClassVar[str]
    key: ClassVar[tuple[str, ...]] = ("table",)

    table: str

    @property
    def identity(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.key)

    @property
    def object(self) -> str:
        """The thing's name for people."""
        return self.table


@dataclass(frozen=True, slots=True)
class Table(Fact):
    kind, plural = "table", "tables"
    # table, partitioned table, foreign table, view, materialized view
    type: str
    persistence: str = "permanent"
    row_security: bool = False
    replica_identity: str = "default"
    inherits: tuple[str, ...] = ()
    # Of a view.
    definition: str | None = None


@dataclass(frozen=True, slots=True)
class Column(Fact):
    kind, plural = "column", "columns"
    key = ("table", "name")
    name: str
    type: str
    nullable: bool
    default: str | None = None
    identity_kind: str | None = None
    generated: str | None = None
    collation: str | None = None

    @property
    def object(self) -> str:
        return f"{self.table}.{self.name}"


@dataclass(frozen=True, slots=True)
class Key(Fact):
    """A primary key, a unique constraint or a unique index: the same promise in three spellings."""

    kind, plural = "key", "keys"
    key = ("table", "definition")
    # As in CREATE INDEX after USING: method, columns, predicate.
    definition: str
    primary: bool
    valid: bool = True
    deferrable: bool = False
    name: str = field(default="", compare=False)

    @property
    def object(self) -> str:
        return f"{'primary key' if self.primary else 'unique'} of {self.table} {_columns(self)}"


@dataclass(frozen=True, slots=True)
class Check(Fact):
    kind, plural = "check", "checks"
    key = ("table", "expression")
    expression: str
    valid: bool = True
    enforced: bool = True
    name: str = field(default="", compare=False)

    @property
    def object(self) -> str:
        return f"check of {self.table} {self.expression}"


@dataclass(frozen=True, slots=True)
class ForeignKey(Fact):
    kind, plural = "foreign key", "foreign keys"
    key = ("table", "columns")
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    on_delete: str
    on_update: str = "NO ACTION"
    match: str = "SIMPLE"
    deferrable: str = "NOT DEFERRABLE"
    valid: bool = True
    enforced: bool = True
    name: str = field(default="", compare=False)

    @property
    def object(self) -> str:
        return f"{self.table}.{', '.join(self.columns)}"

    @property
    def rule(self) -> str:
        return f"{self.target}.{', '.join(self.target_columns)} ON DELETE {self.on_delete}"


@dataclass(frozen=True, slots=True)
class Index(Fact):
    kind, plural = "index", "indexes"
    key = ("table", "definition")
    definition: str
    valid: bool = True
    name: str = field(default="", compare=False)

    @property
    def object(self) -> str:
        return f"index of {self.table} {_columns(self)}"


@dataclass(frozen=True, slots=True)
class Trigger(Fact):
    kind, plural = "trigger", "triggers"
    key = ("table", "name")
    name: str
    # As in CREATE TRIGGER after the name: timing, events, WHEN, function.
    definition: str
    enabled: str = "enabled"

    @property
    def object(self) -> str:
        return f"trigger {self.name} of {self.table}"


@dataclass(frozen=True, slots=True)
class DisabledForeignKeyTriggers(Fact):
    """The triggers inside PostgreSQL that enforce foreign keys, where somebody turned them off."""

    kind, plural = "foreign key enforcement", "foreign key enforcements"

    @property
    def object(self) -> str:
        return f"foreign keys of {self.table}"


@dataclass(frozen=True, slots=True)
class Rule(Fact):
    kind, plural = "rule", "rules"
    key = ("table", "name")
    name: str
    definition: str

    @property
    def object(self) -> str:
        return f"rule {self.name} of {self.table}"


@dataclass(frozen=True, slots=True)
class Policy(Fact):
    kind, plural = "policy", "policies"
    key = ("table", "name")
    name: str
    definition: str

    @property
    def object(self) -> str:
        return f"policy {self.name} of {self.table}"


@dataclass(frozen=True, slots=True)
class Function(Fact):
    """A function or procedure; ``table`` is empty."""

    kind, plural = "function", "functions"
    key = ("name", "arguments")
    name: str
    arguments: str
    returns: str
    language: str
    body: str
    security_definer: bool = False
    settings: tuple[str, ...] = ()
    volatility: str = "volatile"
    strict: bool = False

    @property
    def object(self) -> str:
        return f"function {self.name}({self.arguments})"


@dataclass(frozen=True, slots=True)
class Sequence(Fact):
    """A sequence that no column owns; ``table`` is empty."""

    kind, plural = "sequence", "sequences"
    key = ("name",)
    name: str

    @property
    def object(self) -> str:
        return f"sequence {self.name}"


@dataclass(frozen=True, slots=True)
class Type(Fact):
    """An enum, domain, composite or range type; ``table`` is empty."""

    kind, plural = "type", "types"
    key = ("name",)
    name: str
    definition: str

    @property
    def object(self) -> str:
        return f"type {self.name}"


KINDS: tuple[type[Fact], ...] = (
    Table,
    Column,
    Key,
    Check,
    ForeignKey,
    DisabledForeignKeyTriggers,
    Index,
    Trigger,
    Rule,
    Policy,
    Function,
    Sequence,
    Type,
)


@dataclass(frozen=True)
class Catalog:
    """The facts of schema ``public``, with the tracking tables and the other schemas by name."""

    facts: tuple[Fact, ...]
    tracking_tables: tuple[str, ...] = ()
    other_schemas: tuple[str, ...] = ()
    time_zone: str = "UTC"

    def of[F: Fact](self, kind: type[F]) -> tuple[F, ...]:
        return tuple(fact for fact in self.facts if isinstance(fact, kind))

    @property
    def tables(self) -> tuple[str, ...]:
        """Every ordinary table, tracking tables included, by name."""
        own = (table.table for table in self.of(Table) if table.type.endswith("table"))
        return tuple(sorted({*own, *self.tracking_tables}))


def _columns(fact: Key | Index) -> str:
    """``btree (user_id, created_at)`` reads better without the usual method."""
    return fact.definition.removeprefix("btree ")
