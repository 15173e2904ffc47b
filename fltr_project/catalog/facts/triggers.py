"""Triggers: those that somebody has made, and PostgreSQL's own where somebody turned them off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .base import ENABLED, PUBLIC, Fact, Rows, Source, enabled_in_words


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

    @property
    def description(self) -> str:
        return enabled_in_words(self.enabled)


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

    @property
    def description(self) -> str:
        return self.definition


QUERY = f"""
    SELECT c.relname AS of_table, t.tgname AS name, t.tgisinternal AS internal,
           t.tgenabled AS enabled, t.tgconstraint <> 0 AS is_constraint,
           -- The statement without its beginning: CREATE [CONSTRAINT] TRIGGER name.
           substr(pg_get_triggerdef(t.oid), 2 + length(quote_ident(t.tgname))
               + position(' ' || quote_ident(t.tgname) || ' '
                          IN pg_get_triggerdef(t.oid))) AS definition,
           con.conname AS constraint_name, p.proname AS function
    FROM pg_trigger t
    JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_proc p ON p.oid = t.tgfoid
    LEFT JOIN pg_constraint con ON con.oid = t.tgconstraint
    WHERE t.tgparentid = 0 AND (NOT t.tgisinternal OR t.tgenabled <> 'O')
      AND c.relnamespace = {PUBLIC}
"""


def read(rows: Rows) -> Iterator[Fact]:
    for row in rows["triggers"]:
        enabled = ENABLED[row.enabled]
        if row.internal:
            yield DisabledTrigger(
                row.of_table, row.constraint_name, row.function, enabled, row.name
            )
        else:
            yield Trigger(row.of_table, row.name, row.definition, enabled, row.is_constraint)


SOURCE = Source("triggers", lambda major: QUERY, read)
