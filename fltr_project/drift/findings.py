"""What is compared, and the differences that are found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fltr_project.catalog.facts import KINDS, Catalog, Column, Fact

from .rules import Severity


@dataclass(frozen=True)
class Finding:
    """One difference: ``expected`` and ``found`` are None for what should not be or is not there."""

    id: str
    severity: Severity
    kind: str
    object: str
    expected: str | None
    found: str | None
    meaning: str

    @property
    def title(self) -> str:
        """What it is about, with the word for its kind, which some names have already."""
        has_it = self.object.startswith(f"{self.kind} ")
        return self.object if has_it else f"{self.kind} {self.object}"


@dataclass(frozen=True)
class Difference:
    """A finding with the facts that it was made from, of which at least one is there."""

    finding: Finding
    # The rule that decided, as "column.type"; "names" and the like for those of no effect.
    rule: str
    want: Fact | None
    have: Fact | None
    changed: tuple[str, ...] = ()


class Comparison:
    """The facts of two catalogs by kind: what is expected, and what was found."""

    def __init__(self, expected: Catalog, found: Catalog, elsewhere: Mapping[str, str]) -> None:
        self.expected, self.found = _by_kind(expected), _by_kind(found)
        # Kinds that one of them could not be asked for.
        self.unread = {
            kind for catalog in (expected, found) for each in catalog.unread for kind in each.kinds
        }
        # Tables that the contract of another database holds, and its name.
        self.elsewhere = elsewhere
        # The types of columns by table and name, for conditions that name them; the found one where both are.
        self.types: dict[str, dict[str, str]] = defaultdict(dict)
        for column in (*self.expected[Column], *self.found[Column]):
            self.types[column.table][column.name] = column.type


def _by_kind(catalog: Catalog) -> dict[type[Fact], list[Any]]:
    groups: dict[type[Fact], list[Any]] = {kind: [] for kind in KINDS}
    for fact in catalog.facts:
        groups[type(fact)].append(fact)
    return groups
