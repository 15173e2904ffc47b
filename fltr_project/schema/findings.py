"""What a comparison gives, and the two sides that it compares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .facts import KINDS, Catalog, Column, Fact
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


@dataclass(frozen=True)
class Difference:
    """A finding with the facts that it was made from, of which at least one is there."""

    finding: Finding
    # The rule that decided, as "column.type"; "names" and the like for those of no effect.
    rule: str
    want: Fact | None
    have: Fact | None
    changed: tuple[str, ...] = ()


class Sides:
    """The facts of both catalogs by kind, with what is asked of them again and again."""

    def __init__(self, expected: Catalog, found: Catalog, elsewhere: Mapping[str, str]) -> None:
        self.expected, self.found, self.elsewhere = _by_kind(expected), _by_kind(found), elsewhere
        # Types of columns by table and name: of the one that is found, where both have it.
        self.types: dict[str, dict[str, str]] = defaultdict(dict)
        for column in (*self.expected[Column], *self.found[Column]):
            self.types[column.table][column.name] = column.type


def _by_kind(catalog: Catalog) -> dict[type[Fact], list[Any]]:
    groups: dict[type[Fact], list[Any]] = {kind: [] for kind in KINDS}
    for fact in catalog.facts:
        groups[type(fact)].append(fact)
    return groups
