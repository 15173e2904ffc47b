"""What to run so that a difference is gone: statements for each, and one script for all.

Nothing here loses rows: what would is a comment, under the query that counts them. Constraints
are added NOT VALID and validated afterwards, indexes are built CONCURRENTLY, so that writers wait
for moments only. Pure: nothing is run here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .facts import Catalog
from .findings import Difference
from .repair_objects import MAKERS, Context, renaming
from .rules import Severity
from .statements import Stage, Statement

RUN_WITH = "-- Run it with: manage.py postgres psql --database {} -- -v ON_ERROR_STOP=1 -f FILE"


@dataclass(frozen=True)
class Repair:
    """In the order in which to run them; those that lose rows are comments."""

    statements: tuple[Statement, ...]

    @property
    def destructive(self) -> bool:
        return any(statement.destructive for statement in self.statements)

    @property
    def runs(self) -> bool:
        """Whether there is anything in it to run, and not only comments."""
        return not all(statement.destructive for statement in self.statements)

    @property
    def sql(self) -> tuple[str, ...]:
        return tuple(statement.text for statement in self.statements)


def repair(difference: Difference, expected: Catalog, found: Catalog) -> Repair:
    """The statements that undo one difference of ``found`` from ``expected``."""
    here = Context(expected, found, difference)
    kind: Any = type(difference.want or difference.have)
    make = MAKERS[kind]
    if difference.finding.severity is Severity.NOTE:
        statements = renaming(difference) if difference.rule == "names" else iter(())
    else:
        statements = make(difference.want, difference.have, here)
    return Repair(_ordered(statements))


def script(repairs: Iterable[Repair]) -> tuple[list[str], list[str]]:
    """The statements of several repairs, each once: those of one transaction, then the others."""
    everything = _ordered(statement for each in repairs for statement in each.statements)
    # A key that two repairs drop or validate is dropped and validated once.
    once = tuple(dict.fromkeys(everything))
    return (
        [each.text for each in once if each.stage < Stage.REINDEX],
        [each.text for each in once if each.stage >= Stage.REINDEX],
    )


def script_text(repairs: Iterable[Repair], title: str, alias: str) -> str:
    """One script for psql, on the database ``alias``, that runs as it is; empty when there is nothing to repair."""
    inside, outside = script(repairs)
    if not inside and not outside:
        return ""
    lines = [f"-- {title}", RUN_WITH.format(alias)]
    if any(statement.startswith("--") for statement in inside):
        lines.append(
            "-- What would lose rows is a comment: take the dashes off what you want of it."
        )
    lines.append("")
    if inside:
        lines += [
            "BEGIN;",
            "SET LOCAL search_path = '';",
            "SET LOCAL lock_timeout = '5s';",
            "SET LOCAL check_function_bodies = off;",
            *inside,
            "COMMIT;",
        ]
    if outside:
        lines += ["", "-- Outside a transaction: these wait for others and let them work."]
        lines += ["SET search_path = '';", *outside]
    return "\n".join(lines) + "\n"


def _ordered(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    return tuple(sorted(statements, key=lambda each: each.stage))
