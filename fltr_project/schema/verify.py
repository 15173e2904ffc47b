"""A verification: what was checked in one database, what was found, and what would repair it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fltr_project.postgres.target import Target
from fltr_project.words import counted

from . import ignore
from .compare import Difference, Finding, Severity, counts, differences
from .equivalences import SET_ASIDE
from .facts import Catalog
from .repair import Repair, repair

# More than these are counted, not listed, in a line for people.
LISTED = 3


@dataclass(frozen=True)
class Entry:
    """A finding with its repair; equal findings about several things are one."""

    finding: Finding
    repair: Repair
    objects: tuple[str, ...]
    # The ids of the findings in it, by which they can be ignored.
    ids: tuple[str, ...]
    rule: str = ""

    @property
    def is_aside(self) -> bool:
        """Whether it is about schemas that were set aside, which `nuke_schema` takes care of."""
        return self.rule == SET_ASIDE


@dataclass(frozen=True)
class Verified:
    target: Target
    catalog: Catalog
    checked: dict[str, int]
    entries: tuple[Entry, ...]
    ignored: tuple[ignore.Ignored, ...] = ()
    # Migrations that are not applied, where others are (schema.pending).
    pending: tuple[str, ...] = ()

    @property
    def worst(self) -> Severity | None:
        present = {entry.finding.severity for entry in self.entries}
        return next((severity for severity in Severity if severity in present), None)

    @property
    def wrong(self) -> tuple[Entry, ...]:
        """What has an effect, and so may want a repair."""
        return tuple(each for each in self.entries if each.finding.severity is not Severity.NOTE)

    @property
    def migrate_first(self) -> str | None:
        """What comes before any repair, which would make by hand what migrations make."""
        if not self.pending:
            return None
        verb = "is" if len(self.pending) == 1 else "are"
        number = counted(len(self.pending), "migrations")
        return f"{number} {verb} not applied: manage.py migrate --database {self.target.alias}"

    def fails(self, strict: bool) -> bool:
        """Whether this is exit code 1."""
        return self.worst is Severity.ERROR or (strict and self.worst is Severity.WARNING)


def verify(
    target: Target,
    expected: Catalog,
    found: Catalog,
    elsewhere: Mapping[str, str],
    ignores: Sequence[ignore.Ignore] = (),
    data: Iterable[Entry] = (),
    today: datetime.date | None = None,
) -> Verified:
    """Compare, repair and group; pure. ``data`` are findings about rows, which are added."""
    drift = differences(expected, found, elsewhere)
    today = today or datetime.datetime.now(datetime.UTC).date()
    kept, ignored = ignore.apply(drift, ignores, target.alias, today)
    entries = [_entry(difference, expected, found) for difference in kept]
    return Verified(
        target, found, counts(found), (*_grouped(entries), *data), tuple(sorted(ignored, key=str))
    )


def _entry(difference: Difference, expected: Catalog, found: Catalog) -> Entry:
    finding = difference.finding
    mended = (
        repair(difference, expected, found) if difference.want or difference.have else Repair(())
    )
    return Entry(finding, mended, (finding.object,), (finding.id,), difference.rule)


def _grouped(entries: Sequence[Entry]) -> list[Entry]:
    """Findings that say the same of several things become one, where the first of them stood."""
    groups: dict[tuple[str | None, ...], list[Entry]] = {}
    for entry in entries:
        finding = entry.finding
        words: tuple[str | None, ...] = (finding.kind, finding.expected, finding.found)
        if finding.severity is Severity.NOTE:
            # Notes of one rule differ in names only.
            words = ()
        key = (finding.severity, entry.rule, finding.meaning, *words)
        groups.setdefault(key, []).append(entry)
    return [_together(group) for group in groups.values()]


def _together(group: list[Entry]) -> Entry:
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
    return Entry(
        finding,
        Repair(tuple(each for entry in group for each in entry.repair.statements)),
        objects,
        tuple(entry.finding.id for entry in group),
        first.rule,
    )


def _listed(words: Sequence[str]) -> str:
    different = list(dict.fromkeys(words))
    more = f" and {len(different) - LISTED} more" if len(different) > LISTED else ""
    return "; ".join(different[:LISTED]) + more
