"""What to run so that a difference is gone. Pure: nothing is run here.

Constraints are added NOT VALID and validated afterwards, indexes are built CONCURRENTLY, so that writers
wait for moments only. What has a hazard (``statement.Hazard``) is for a person to decide on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fltr_project.catalog.facts import (
    Catalog,
    Check,
    Column,
    DisabledTrigger,
    Extension,
    Fact,
    ForeignKey,
    Function,
    Grants,
    Index,
    Key,
    Other,
    Policy,
    Rule,
    Schema,
    Sequence,
    Setting,
    Table,
    Trigger,
    Type,
)
from fltr_project.drift.findings import Difference
from fltr_project.drift.rules import Severity

from .columns import repair_column
from .context import Context
from .keys import (
    rename,
    repair_check,
    repair_disabled_trigger,
    repair_foreign_key,
    repair_index,
    repair_key,
)
from .others import (
    repair_extension,
    repair_grants,
    repair_other,
    repair_schema,
    repair_sequence,
    repair_setting,
    repair_type,
)
from .routines import repair_function, repair_policy, repair_rule, repair_trigger
from .statement import Hazard, Statement, ordered
from .tables import repair_table

MAKERS: dict[type[Fact], Callable[[Any, Any, Context], Iterator[Statement]]] = {
    Setting: repair_setting,
    Schema: repair_schema,
    Extension: repair_extension,
    Type: repair_type,
    Sequence: repair_sequence,
    Function: repair_function,
    Table: repair_table,
    Column: repair_column,
    Key: repair_key,
    Check: repair_check,
    ForeignKey: repair_foreign_key,
    DisabledTrigger: repair_disabled_trigger,
    Index: repair_index,
    Trigger: repair_trigger,
    Rule: repair_rule,
    Policy: repair_policy,
    Grants: repair_grants,
    Other: repair_other,
}


@dataclass(frozen=True)
class Repair:
    """Statements in the order in which to run them."""

    statements: tuple[Statement, ...]
    # Why there are none, where something stands in the way or they would not mend it.
    obstacle: str = ""

    @property
    def hazards(self) -> frozenset[Hazard]:
        """Of all that it may do; empty where all of it can be run for anybody."""
        return frozenset(hazard for each in self.statements for hazard in each.hazards)

    def runs(self, allowed: frozenset[Hazard] = frozenset()) -> bool:
        """Whether there is anything in it to run, and not only to decide on."""
        return not all(each.is_held(allowed) for each in self.statements)

    def is_held_in_part(self, allowed: frozenset[Hazard]) -> bool:
        return any(each.is_held(allowed) for each in self.statements)


def repair(difference: Difference, expected: Catalog, found: Catalog) -> Repair:
    """The statements that undo one difference of ``found`` from ``expected``."""
    statements: Iterator[Statement] = iter(())
    if difference.finding.severity is Severity.NOTE:
        statements = rename(difference) if difference.rule == "names" else statements
    elif difference.want is None and difference.have is None:
        # A decision that is over is for its file.
        pass
    else:
        make = MAKERS[type(difference.want or difference.have)]  # type: ignore[index]
        here = Context(expected, found, difference)
        statements = make(difference.want, difference.have, here)
    return Repair(ordered(statements))


def together(repairs: Iterable[Repair]) -> tuple[Statement, ...]:
    """The statements of several repairs, each once, in the order in which to run them."""
    return ordered(statement for each in repairs for statement in each.statements)
