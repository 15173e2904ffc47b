"""What a database can hold, as facts: one frozen dataclass a kind of thing.

A fact says what a thing is and does, in the server's own canonical words; names of constraints and
indexes are carried along but take no part in comparison. Facts of one kind with equal identity are
the same thing. Who owns a thing is told relative to the rest: the role that owns most of the
database is "", so that a contract fits every server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

# Records of what migrations ran, kept by the programs themselves. They are counted, never compared;
# `__drizzle_migrations` is not among them where the contract has it as a table of its own.
TRACKING_TABLES = frozenset({"django_migrations", "__drizzle_migrations", "alembic_version"})
# Where Drizzle keeps its record unless told otherwise.
TRACKING_SCHEMAS = frozenset({"drizzle"})


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
class Schema(Fact):
    """A schema; ``table`` is empty. ``public`` is one of the contract's."""

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
    """An installed extension; ``table`` is empty."""

    kind, plural = "extension", "extensions"
    key = ("name",)
    name: str

    @property
    def object(self) -> str:
        return f"extension {self.name}"


@dataclass(frozen=True, slots=True)
class Type(Fact):
    """An enum, domain, composite or range type; ``table`` is empty."""

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
    def is_domain(self) -> bool:
        return not self.definition.startswith(("ENUM (", "RANGE (", "("))


@dataclass(frozen=True, slots=True)
class Sequence(Fact):
    """A sequence that no column owns; ``table`` is empty."""

    kind, plural = "sequence", "sequences"
    key = ("name",)
    name: str
    # As in CREATE SEQUENCE after the name.
    definition: str = ""
    owner: str = ""

    @property
    def object(self) -> str:
        return f"sequence {self.name}"


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
    parallel: str = "unsafe"
    leakproof: bool = False
    # The arguments with their defaults, where there are any.
    defaults: str = ""
    # An SQL body as the server parsed it, rather than a string it keeps.
    parsed: bool = False
    owner: str = ""

    @property
    def object(self) -> str:
        return f"function {self.name}({self.arguments})"


@dataclass(frozen=True, slots=True)
class Table(Fact):
    kind, plural = "table", "tables"
    # table, partitioned table, foreign table, view, materialized view
    type: str
    persistence: str = "permanent"
    row_security: bool = False
    force_row_security: bool = False
    replica_identity: str = "default"
    inherits: tuple[str, ...] = ()
    # PARTITION BY of a parent, FOR VALUES of a partition.
    partition_key: str | None = None
    partition_bound: str | None = None
    options: tuple[str, ...] = ()
    # Of a view.
    definition: str | None = None
    owner: str = ""

    @property
    def is_view(self) -> bool:
        return self.type in {"view", "materialized view"}


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

    @property
    def object(self) -> str:
        word = "primary key" if self.primary else "unique"
        return f"{word} of {self.table} {without_method(self.definition)}, {self.name}"


@dataclass(frozen=True, slots=True)
class Check(Fact):
    """A check or exclusion constraint: both refuse rows."""

    kind, plural = "check", "checks"
    key = ("table", "expression")
    # Of an exclusion constraint all of its definition.
    expression: str
    valid: bool = True
    enforced: bool = True
    no_inherit: bool = False
    name: str = field(default="", compare=False)

    @property
    def object(self) -> str:
        return f"check of {self.table} {self.expression}, {self.name}"


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
class DisabledTrigger(Fact):
    """One of PostgreSQL's own triggers behind a constraint, where somebody turned it off."""

    kind, plural = "constraint trigger", "constraint triggers"
    key = ("table", "constraint", "function")
    constraint: str
    # Which part of the work it does: RI_FKey_check_ins and the like.
    function: str
    enabled: str
    name: str = field(default="", compare=False)

    @property
    def object(self) -> str:
        return f"{self.function} of {self.table} for {self.constraint}"


@dataclass(frozen=True, slots=True)
class Index(Fact):
    kind, plural = "index", "indexes"
    key = ("table", "definition")
    definition: str
    valid: bool = True
    name: str = field(default="", compare=False)

    @property
    def object(self) -> str:
        return f"index of {self.table} {without_method(self.definition)}, {self.name}"


@dataclass(frozen=True, slots=True)
class Trigger(Fact):
    kind, plural = "trigger", "triggers"
    key = ("table", "name")
    name: str
    # As in CREATE TRIGGER after the name: timing, events, WHEN, function.
    definition: str
    enabled: str = "enabled"
    # A constraint trigger, whose definition says when it is checked.
    constraint: bool = field(default=False, compare=False)

    @property
    def object(self) -> str:
        return f"trigger {self.name} of {self.table}"


@dataclass(frozen=True, slots=True)
class Rule(Fact):
    kind, plural = "rule", "rules"
    key = ("table", "name")
    name: str
    definition: str
    enabled: str = "enabled"

    @property
    def object(self) -> str:
        return f"rule {self.name} of {self.table}"


@dataclass(frozen=True, slots=True)
class Policy(Fact):
    kind, plural = "policy", "policies"
    key = ("table", "name")
    name: str
    # As in CREATE POLICY after the table's name.
    definition: str

    @property
    def object(self) -> str:
        return f"policy {self.name} of {self.table}"


@dataclass(frozen=True, slots=True)
class Grants(Fact):
    """How far the rights of one role on one thing are from what its creation gives."""

    kind, plural = "grant", "grants"
    key = ("on", "role")
    # As in GRANT after ON: TABLE public.users; columns are in the privileges, as GRANT has them.
    on: str
    # PUBLIC, or a role; "" is the role that owns most of the database.
    role: str
    granted: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()

    @property
    def object(self) -> str:
        return f"grants on {self.on.lower()} to {self.role or 'the owner'}"


@dataclass(frozen=True, slots=True)
class Other(Fact):
    """What has no kind of its own here: operators, collations, statistics, event triggers."""

    kind, plural = "other object", "other objects"
    key = ("type", "name")
    type: str
    name: str
    definition: str = ""

    @property
    def object(self) -> str:
        return f"{self.type} {self.name}"


@dataclass(frozen=True, slots=True)
class Setting(Fact):
    """A setting of the database that changes what clients read; ``table`` is empty."""

    kind, plural = "setting", "settings"
    key = ("name",)
    name: str
    value: str

    @property
    def object(self) -> str:
        return f"{self.name} of the database"


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

    def of[F: Fact](self, kind: type[F]) -> tuple[F, ...]:
        return tuple(fact for fact in self.facts if isinstance(fact, kind))

    @property
    def tables(self) -> tuple[str, ...]:
        """Every ordinary table, tracking tables included, by name."""
        own = (table.table for table in self.of(Table) if table.type.endswith("table"))
        return tuple(sorted({*own, *self.tracking_tables}))


def without_method(definition: str) -> str:
    """``btree (user_id, created_at)`` reads better without the usual method."""
    return definition.removeprefix("btree ")


_PLAIN = re.compile(r'^btree \(((?:"?\w+"?(?:, )?)+)\)(?: WHERE .*)?$')


def plain_columns(definition: str) -> tuple[str, ...] | None:
    """The columns of an index of plain columns, ascending; None for every other index."""
    match = _PLAIN.match(definition)
    return tuple(match.group(1).split(", ")) if match else None
