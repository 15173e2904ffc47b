"""Where each database of a run stands, how it gets there, and the ways in which a run can end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from fltr_project.postgres.target import Target


class State(Enum):
    """Where one database stands, and what is said of it when the run ends there."""

    AS_IT_WAS = "{database} is as it was."
    # Its transaction is open: whatever ends the run ends that without a trace.
    OPEN = "{database} is as it was, for its transaction was not committed."
    COMMITTING = "The server has not said whether {database} has its new schema."
    COMMITTED = "{database} has its new schema, and its old one is kept in {old}."
    BRINGING_BACK = (
        "The server has not said whether {database} is as it was; its old schema may be in {old}."
    )
    BROUGHT_BACK = "{database} is as it was again."
    UNDOING = "The server has not said whether {old} is schema public of {database} again."
    UNDONE = "{old} is schema public of {database} again."
    PURGING = "{database} has its new schema, and of its old one, {old}, something is left to drop."
    PURGED = "{database} has its new schema, and its old one is gone."


# What may follow on each.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.AS_IT_WAS: frozenset({State.OPEN}),
    State.OPEN: frozenset({State.AS_IT_WAS, State.COMMITTING, State.UNDOING}),
    State.COMMITTING: frozenset({State.AS_IT_WAS, State.COMMITTED}),
    State.COMMITTED: frozenset({State.BRINGING_BACK, State.PURGING}),
    State.BRINGING_BACK: frozenset({State.BROUGHT_BACK, State.COMMITTED}),
    State.BROUGHT_BACK: frozenset(),
    State.UNDOING: frozenset({State.AS_IT_WAS, State.UNDONE}),
    State.UNDONE: frozenset(),
    # Back where nothing was dropped.
    State.PURGING: frozenset({State.COMMITTED, State.PURGED}),
    State.PURGED: frozenset(),
}
NEW = frozenset({State.COMMITTED, State.PURGING, State.PURGED})
OLD = frozenset({State.AS_IT_WAS, State.OPEN, State.BROUGHT_BACK})


class Ending(Enum):
    """How a run can end, and a sentence that says what then stands."""

    COMPLETE = "Every database has its new schema."
    ROLLED_BACK = "Everything was rolled back; every database is as it was."
    BROUGHT_BACK = "Every database is as it was."
    HALF = "Not every database is as it was."
    UNKNOWN = "It is not known whether every database is as it was."


@dataclass(frozen=True)
class Standing:
    """One database, and where it stands."""

    alias: str
    database: str
    state: State = State.AS_IT_WAS
    # What its old schema is called; None where it had none, or none yet.
    old: str | None = None
    # The schema that keeps what was written between the commits, of a database that was brought back.
    kept: str | None = None

    @property
    def is_new(self) -> bool:
        return self.state in NEW

    def __str__(self) -> str:
        sentence = self.state.value.format(database=self.database, old=self.old)
        if self.state in NEW and self.old is None:
            return f"{self.database} has its new schema; it had no schema public before."
        if self.kept and self.state is State.UNDONE:
            return f"{sentence} What it replaced is kept in {self.kept}."
        if self.kept:
            return (
                f"{self.database} is as it was; what was written in between is kept in {self.kept}."
            )
        return sentence


class Standings:
    """Where the databases of one run stand, at every moment."""

    def __init__(self) -> None:
        self._standings: dict[str, Standing] = {}

    def begin(self, targets: Iterable[Target]) -> None:
        """From here on something can have happened to these databases."""
        for target in targets:
            self._standings[target.alias] = Standing(target.alias, target.database)

    def move(
        self, alias: str, state: State, *, old: str | None = None, kept: str | None = None
    ) -> None:
        """A database has come to another state; what is known of its schemas stays. Raises ValueError
        for a way that there is not."""
        standing = self._standings[alias]
        if state not in TRANSITIONS[standing.state]:
            raise ValueError(f"{standing.state.name} is not followed by {state.name}")
        self._standings[alias] = replace(
            standing, state=state, old=old or standing.old, kept=kept or standing.kept
        )

    @property
    def all(self) -> tuple[Standing, ...]:
        """Of each database; empty where nothing has begun."""
        return tuple(self._standings.values())


def ending(standings: Sequence[Standing]) -> Ending:
    """How a run has ended whose databases stand so. Pure."""
    states = {standing.state for standing in standings}
    if states <= NEW:
        return Ending.COMPLETE
    if not states <= NEW | OLD:
        return Ending.UNKNOWN
    if states & NEW:
        return Ending.HALF
    return Ending.BROUGHT_BACK if State.BROUGHT_BACK in states else Ending.ROLLED_BACK
