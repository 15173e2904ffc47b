"""Differences that somebody has decided to live with for a while, each with a reason and an end.

The file is TOML, one table a decision:

    [[ignore]]
    id = "index-users-*"            # of a finding; * stands for anything
    database = "auth"               # optional: an alias
    reason = "until the search moves"
    expires = 2027-03-31
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from fltr_project.errors import CannotRun

from .compare import Difference, Finding, Severity


@dataclass(frozen=True)
class Ignore:
    """A decision to ignore findings of an id until, and on, the day ``expires``."""

    id: str
    reason: str
    expires: datetime.date
    database: str | None = None

    def covers(self, finding: Finding, alias: str) -> bool:
        return self.database in {None, alias} and fnmatchcase(finding.id, self.id)


@dataclass(frozen=True)
class Ignored:
    """A finding that was left out, and why."""

    id: str
    reason: str
    expires: str


def load(path: Path) -> tuple[Ignore, ...]:
    """The decisions in a file; raises CannotRun, naming the entry, for one that is incomplete."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CannotRun(f"The ignore file {str(path)!r} cannot be read: {error}.") from error
    entries = document.get("ignore", [])
    if not isinstance(entries, list) or set(document) - {"ignore"}:
        raise CannotRun(
            f"The ignore file {str(path)!r} holds something else than [[ignore]] tables."
        )
    return tuple(_entry(path, place, entry) for place, entry in enumerate(entries, 1))


def _entry(path: Path, place: int, entry: object) -> Ignore:
    where = f"Entry {place} of the ignore file {str(path)!r}"
    known = {"id", "reason", "expires", "database"}
    if not isinstance(entry, dict) or set(entry) - known:
        raise CannotRun(f"{where} has something else than {', '.join(sorted(known))}.")
    for name in ("id", "reason"):
        if not (isinstance(entry.get(name), str) and entry[name].strip()):
            raise CannotRun(f"{where} has no {name}. Say which finding, and why it is ignored.")
    expires = entry.get("expires")
    if not isinstance(expires, datetime.date) or isinstance(expires, datetime.datetime):
        raise CannotRun(f"{where} has no date in expires. Use a day, as in expires = 2027-03-31.")
    return Ignore(entry["id"], entry["reason"], expires, entry.get("database"))


def apply(
    differences: Iterable[Difference],
    ignores: Sequence[Ignore],
    alias: str,
    today: datetime.date,
) -> tuple[list[Difference], list[Ignored]]:
    """What is left of the differences, and what was ignored; a decision that is over, is told."""
    kept: list[Difference] = []
    ignored: list[Ignored] = []
    used: set[Ignore] = set()
    for difference in differences:
        decision = next((each for each in ignores if each.covers(difference.finding, alias)), None)
        if decision is None or decision.expires < today:
            kept.append(difference)
        else:
            ignored.append(
                Ignored(difference.finding.id, decision.reason, decision.expires.isoformat())
            )
        if decision:
            used.add(decision)
    over = [each for each in ignores if each in used and each.expires < today]
    kept += map(_expired, over)
    return kept, ignored


def _expired(decision: Ignore) -> Difference:
    finding = Finding(
        id=f"ignore-{decision.id.replace('*', 'any')}-expired",
        severity=Severity.WARNING,
        kind="ignore",
        object=f"ignore entry {decision.id}",
        expected="a decision that still holds",
        found=f"expired on {decision.expires.isoformat()}: {decision.reason}",
        meaning="What it covered counts again; mend it, or decide anew with another date.",
    )
    return Difference(finding, "ignore.expired", None, None)
