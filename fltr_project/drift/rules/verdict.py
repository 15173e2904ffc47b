"""How bad a difference is, and what it means for those who use the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fltr_project.catalog.facts import Fact


class Severity(StrEnum):
    """From worst to best.

    An error when something of the contract is missing or differs, or when something extra changes what a
    statement accepts, stores, returns or deletes; a warning when something extra only costs speed, space or
    tidiness, or when owner, grants, deferrability or replica identity differ; a note when the effect is the
    same by another name or spelling.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Verdict:
    severity: Severity
    # One sentence: what the difference does to those who use the database.
    meaning: str


# Of two facts of one kind, expected and found; None in place of one that is not there. A verdict of None
# on a thing that is extra: it is none of the contract's business.
type Judge = Callable[[Any, Any], Verdict | None]
# By kind of fact, and by the field that differs; "missing" and "extra" stand for the whole thing.
type Rules = dict[tuple[type[Fact], str], Judge]


def error(meaning: str) -> Judge:
    """An error whose meaning may name fields of ``{want}``, ``{have}`` or ``{fact}``, the one there is."""
    return lambda want, have: Verdict(Severity.ERROR, _filled(meaning, want, have))


def warning(meaning: str) -> Judge:
    """As ``error``, but a warning."""
    return lambda want, have: Verdict(Severity.WARNING, _filled(meaning, want, have))


def _filled(meaning: str, want: Fact | None, have: Fact | None) -> str:
    return meaning.format(want=want, have=have, fact=have or want)


def owner(want: Any, have: Any) -> Verdict:
    """Another role owns the thing than the one that owns the rest, or the other way round."""
    return Verdict(
        Severity.WARNING,
        f"Only {have.owner or 'the owner of the rest'} may change it: a migration run by "
        f"{want.owner or 'the owner of the rest'} stops there.",
    )
