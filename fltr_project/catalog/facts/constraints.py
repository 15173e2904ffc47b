"""Checks and foreign keys. Primary keys and uniques are told with their indexes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .base import PUBLIC, Fact, Rows, Source, deferrability


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

    @property
    def description(self) -> str:
        return self.expression


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

    @property
    def description(self) -> str:
        return f"references {self.rule}"


def query(major: int) -> str:
    enforced = "con.conenforced" if major >= 18 else "true"
    return f"""
    SELECT c.relname AS of_table, con.contype AS type, con.conname AS name,
           con.condeferrable AS deferrable, con.condeferred AS deferred,
           con.convalidated AS valid, {enforced} AS enforced, con.connoinherit AS no_inherit,
           CASE con.contype WHEN 'c' THEN pg_get_expr(con.conbin, con.conrelid)
                            WHEN 'x' THEN pg_get_constraintdef(con.oid) END AS expression,
           CASE con.contype WHEN 'f' THEN con.confrelid::regclass::text END AS target,
           con.confdeltype AS on_delete, con.confupdtype AS on_update, con.confmatchtype AS match,
           con.conrelid AS relation, con.confrelid AS target_relation, con.conkey AS columns,
           con.confkey AS target_columns, con.confdelsetcols AS delete_columns
    FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid
    WHERE (con.contype IN ('c', 'f', 'x') OR con.contype = 'n' AND NOT con.convalidated)
      AND con.conparentid = 0 AND c.relnamespace = {PUBLIC}
    """


ACTIONS = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
}
MATCHES = {"s": "SIMPLE", "f": "FULL", "p": "PARTIAL"}


def read(rows: Rows) -> Iterator[Fact]:
    names = {(row.relation, row.number): row.name for row in rows["columns"]}

    def named(relation: int, numbers: list[int]) -> tuple[str, ...]:
        # A table of another schema is not among those that were read.
        return tuple(names.get((relation, number), f"column {number}") for number in numbers)

    for row in rows["constraints"]:
        # What is not enforced is never valid; it is told once.
        valid = row.valid or not row.enforced
        if row.type in {"c", "x"}:
            yield Check(
                table=row.of_table,
                expression=row.expression,
                valid=valid,
                enforced=row.enforced,
                # An exclusion constraint is never inherited, which says nothing about this one.
                no_inherit=row.no_inherit and row.type == "c",
                name=row.name,
            )
        elif row.type == "f":
            cleared = row.delete_columns
            some = f" ({', '.join(sorted(named(row.relation, cleared)))})" if cleared else ""
            yield ForeignKey(
                table=row.of_table,
                columns=named(row.relation, row.columns),
                target=_without_public(row.target),
                target_columns=named(row.target_relation, row.target_columns),
                on_delete=ACTIONS[row.on_delete] + some,
                on_update=ACTIONS[row.on_update],
                match=MATCHES[row.match],
                deferrable=deferrability(row.deferrable, row.deferred),
                valid=valid,
                enforced=row.enforced,
                name=row.name,
            )


def _without_public(relation: str) -> str:
    """The bare name of a relation of schema public, as its own facts have it.

    Any other stays as the server quotes it, and so does a name with a dot, which would look like one.
    """
    quoted = relation.removeprefix("public.")
    bare = quoted[1:-1].replace('""', '"') if quoted.startswith('"') else quoted
    return relation if quoted == relation or "." in bare else bare


SOURCE = Source("constraints", query, read)
