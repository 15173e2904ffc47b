"""One statement of a repair: what it does, when it runs, how long it may wait and what it may cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from fltr_project.postgres.locks import LOCK_TIMEOUT

# Milliseconds that a statement may wait which lets readers and writers go on meanwhile.
PATIENCE = 60_000


class Stage(IntEnum):
    """Where in the script a statement stands, by what it needs and what needs it."""

    RENAME = 0  # what is there under another name: all that follows names it anew
    TAKE_DOWN = 1  # what stands in the way of a change
    DETACH = 2  # triggers, rules, policies and views that are changed
    DROP_FOREIGN_KEY = 3
    DROP = 4
    MAKE = 5  # schemas, extensions, types, sequences, functions
    TABLE = 6
    COLUMN = 7
    ROW_FUNCTION = 8  # functions that take or return a table's rows
    CHECK = 9
    CLEAN = 10  # what nothing uses any more: functions, sequences, types, extensions, schemas
    FOREIGN_KEY = 11
    ATTACH = 12  # triggers, rules, policies, row security
    RIGHTS = 13
    LOSE = 14  # what would lose rows
    PUT_BACK = 15  # what was taken down
    # Up to here all is one transaction. From here on each statement stands for itself, so that no lock
    # is held while the rows of a table are looked at.
    REINDEX = 20
    KEY = 21
    INDEX = 22
    LATE_FOREIGN_KEY = 23
    VALIDATE = 24
    AFTER = 25


class Hazard(StrEnum):
    """What a statement may do to others besides the repair; a person has to allow it, by this word."""

    LOSES_ROWS = "lose-rows"
    CHANGES_VALUES = "change-values"
    DROPS_OTHERS = "drop-others"
    TAKES_RIGHTS = "take-rights"
    REWRITES_TABLE = "rewrite-tables"
    BLOCKS_WRITERS = "block-writers"

    @property
    def does(self) -> str:
        """As a verb: "repairs that lose rows"."""
        return {
            Hazard.DROPS_OTHERS: "drop or change what others made",
            Hazard.REWRITES_TABLE: "rewrite a table",
        }.get(self, self.replace("-", " "))


def in_words(hazards: Iterable[Hazard]) -> str:
    """What several hazards do, worst first."""
    present = set(hazards)
    return " or ".join(hazard.does for hazard in Hazard if hazard in present)


@dataclass(frozen=True)
class Thing:
    """A thing of schema public that a statement disturbs, and with it what holds on to it."""

    # column, function, constraint or view
    kind: str
    # Of the table, where it is a part of one.
    name: str
    # The column, the constraint, a function's arguments.
    part: str = ""


@dataclass(frozen=True)
class Statement:
    """SQL that ends with a semicolon; every name in it has its schema."""

    stage: Stage
    sql: str
    hazards: frozenset[Hazard] = frozenset()
    # The query that counts what a statement with a hazard would cost.
    cost: str = ""
    # Of a look at the rows that stops the repair: the hazard that it keeps away, and is left out with.
    keeps_away: Hazard | None = None
    # The place of a sequence stays where it was set to, whatever becomes of the transaction.
    rolls_back: bool = True
    # Whose dependants have to be taken down for it.
    disturbs: Thing | None = None
    # Among the statements of its stage: what is built on others is taken down first and put back last.
    place: int = 0
    # Of what takes a thing down and puts it back: the statement that drops it, as a repair has it.
    drop: str = ""
    # Milliseconds that it may wait for others.
    lock_timeout: int = LOCK_TIMEOUT
    # CREATE INDEX CONCURRENTLY and its like refuse to run inside a transaction.
    transactional: bool = True

    def is_held(self, allowed: frozenset[Hazard]) -> bool:
        """Whether it is for a person to decide on, when these hazards are allowed."""
        return not self.hazards <= allowed

    @property
    def plain(self) -> str:
        """As it can run inside a transaction, where others wait for it."""
        return self.sql if self.transactional else self.sql.replace(" CONCURRENTLY ", " ", 1)

    @property
    def stands_alone(self) -> bool:
        """Whether it comes after the one transaction that most of a repair is."""
        return self.stage >= Stage.REINDEX


def losing(sql: str, cost: str) -> Statement:
    """A statement that loses rows; ``cost`` counts them."""
    return Statement(Stage.LOSE, sql, hazards(Hazard.LOSES_ROWS), cost)


def dropping(stage: Stage, sql: str, cost: str) -> Statement:
    """A statement that takes away what is not of the contract; ``cost`` counts what that would be."""
    return Statement(stage, sql, hazards(Hazard.DROPS_OTHERS), cost)


def held_together(
    costs: Iterable[Hazard], cost: str, statements: Iterable[Statement]
) -> Iterator[Statement]:
    """Statements of which none makes sense without the others; ``cost`` counts what all would cost."""
    for place, each in enumerate(statements):
        first = cost if place == 0 else ""
        yield replace(each, hazards=each.hazards | frozenset(costs), cost=each.cost or first)


def hazards(*each: Hazard) -> frozenset[Hazard]:
    return frozenset(each)


def ordered(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """Each once, in the order in which they can run: a key that two repairs drop is dropped once."""
    once: dict[tuple[str, str], Statement] = {}
    for each in sorted(statements, key=_order):
        # Of the same statement at two places the later one counts, when all that it needs is there; and
        # it is held only for what all repairs that need it would cost.
        shared = once.get((each.sql, each.drop), each)
        # A thing is taken down before all that it is built on.
        place = min(each.place, shared.place) if each.stage is Stage.TAKE_DOWN else each.place
        costs = each.hazards & shared.hazards
        once[each.sql, each.drop] = replace(each, hazards=costs, place=place)
    return tuple(sorted(once.values(), key=_order))


def needed(statements: Iterable[Statement], allowed: frozenset[Hazard]) -> tuple[Statement, ...]:
    """Without looks for what is allowed, and without what puts back a thing that a repair changes."""
    statements = tuple(statements)
    changed = {each.sql for each in statements if not each.drop and not each.is_held(allowed)}
    return tuple(
        each
        for each in statements
        if each.keeps_away not in allowed and not (each.drop and each.drop in changed)
    )


def _order(statement: Statement) -> tuple[Stage, int]:
    return statement.stage, statement.place
