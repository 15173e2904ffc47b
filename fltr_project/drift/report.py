"""A verification: what was checked in one database, what was found, and what would repair it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fltr_project.catalog.facts import Catalog, Unread
from fltr_project.postgres.target import Target

from . import ignore
from .compare import Difference, Finding, Severity, counts, differences
from .equivalences import SET_ASIDE
from .repair.renaming import repairs
from .repair.repair import Repair

# More than these are counted, not listed, in a line for people.
LISTED = 3


@dataclass(frozen=True)
class FindingWithRepair:
    """A finding with its repair; equal findings about several things are one."""

    finding: Finding
    repair: Repair
    objects: tuple[str, ...]
    # The ids of the findings in it, by which they can be ignored.
    ids: tuple[str, ...]
    rule: str = ""

    @property
    def is_aside(self) -> bool:
        """Whether it is about schemas that were set aside, which are no drift."""
        return self.rule == SET_ASIDE


@dataclass(frozen=True)
class Verified:
    target: Target
    expected: Catalog
    catalog: Catalog
    checked: dict[str, int]
    entries: tuple[FindingWithRepair, ...]
    ignored: tuple[ignore.Ignored, ...] = ()
    # Migrations that are not applied, where others are (drift.pending).
    pending: tuple[str, ...] = ()

    @property
    def worst(self) -> Severity | None:
        present = {entry.finding.severity for entry in self.entries}
        return next((severity for severity in Severity if severity in present), None)

    @property
    def wrong(self) -> tuple[FindingWithRepair, ...]:
        """What has an effect, and so may want a repair."""
        return tuple(each for each in self.entries if each.finding.severity is not Severity.NOTE)

    @property
    def unknown(self) -> tuple[Unread, ...]:
        """What could not be looked at: where nothing is found, there may be something."""
        return (*self.expected.unread, *self.catalog.unread)

    def exit_code(self, strict: bool) -> int:
        """0 in step, 1 drifted, 2 where nothing was found but not all could be looked at."""
        return 1 if self.fails(strict) else 2 if self.unknown else 0

    def fails(self, strict: bool) -> bool:
        """Whether this is exit code 1."""
        return self.worst is Severity.ERROR or (strict and self.worst is Severity.WARNING)


def verify(
    target: Target,
    expected: Catalog,
    found: Catalog,
    elsewhere: Mapping[str, str],
    ignores: Sequence[ignore.Ignore] = (),
    data: Iterable[FindingWithRepair] = (),
    today: datetime.date | None = None,
    cleared: Callable[[Sequence[Repair]], Sequence[Repair]] = list,
) -> Verified:
    """Compare, repair and group; pure, as far as ``cleared`` is, which completes the repairs.

    ``data`` are findings about rows, which are added.
    """
    drift = differences(expected, found, elsewhere)
    today = today or datetime.datetime.now(datetime.UTC).date()
    kept, ignored = ignore.apply(drift, ignores, target.alias, today)
    mended = cleared(repairs(kept, expected, found, elsewhere))
    entries = [_entry(*pair) for pair in zip(kept, mended, strict=True)]
    return Verified(
        target=target,
        expected=expected,
        catalog=found,
        checked=counts(found),
        entries=(*_grouped(entries), *data),
        ignored=tuple(sorted(ignored, key=str)),
    )


def _entry(difference: Difference, mended: Repair) -> FindingWithRepair:
    finding = difference.finding
    return FindingWithRepair(finding, mended, (finding.object,), (finding.id,), difference.rule)


def _grouped(entries: Sequence[FindingWithRepair]) -> list[FindingWithRepair]:
    """Findings that say the same of several things become one, where the first of them stood."""
    groups: dict[tuple[str | None, ...], list[FindingWithRepair]] = {}
    for entry in entries:
        finding = entry.finding
        words: tuple[str | None, ...] = (finding.kind, finding.expected, finding.found)
        if finding.severity is Severity.NOTE:
            # Notes of one rule differ in names only.
            words = ()
        key = (finding.severity, entry.rule, finding.meaning, *words)
        groups.setdefault(key, []).append(entry)
    return [_together(group) for group in groups.values()]


def _together(group: list[FindingWithRepair]) -> FindingWithRepair:
    first = group[0]
    if len(group) == 1:
        return first
    objects = tuple(entry.finding.object for entry in group)
    kinds = {entry.finding.kind for entry in group}
    many = first.finding.severity is Severity.NOTE
    finding = replace(
        first.finding,
        id=first.rule if many else f"{first.finding.id}-and-{len(group) - 1}-more",
        kind=first.finding.kind if len(kinds) == 1 else "several",
        object=_listed(objects),
        expected=_listed([str(entry.finding.expected) for entry in group])
        if many
        else first.finding.expected,
        found=_listed([str(entry.finding.found) for entry in group])
        if many
        else first.finding.found,
    )
    return FindingWithRepair(
        finding,
        Repair(
            tuple(each for entry in group for each in entry.repair.statements),
            next((entry.repair.obstacle for entry in group if entry.repair.obstacle), ""),
        ),
        objects,
        tuple(entry.finding.id for entry in group),
        first.rule,
    )


def _listed(words: Sequence[str]) -> str:
    different = list(dict.fromkeys(words))
    more = f" and {len(different) - LISTED} more" if len(different) > LISTED else ""
    return "; ".join(different[:LISTED]) + more
