"""A verification for people, and as JSON.

Pure: each function returns the text of the whole report, the same for the same verification.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.color import Style

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Catalog, ForeignKey
from fltr_project.drift.compare import Finding, Severity
from fltr_project.drift.repair import script
from fltr_project.drift.repair.statement import Hazard, in_words
from fltr_project.drift.report import FindingWithRepair, Verified
from fltr_project.words import counted, visible

from . import advice

# The characters of a line in a report for people, and those that lead up to a difference.
LONGEST, LEAD = 300, 40
# What every database has, and nobody counts.
UNREMARKABLE = frozenset({"settings", "schemas"})


def databases(results: Sequence[Verified]) -> list[dict[str, Any]]:
    """As ``--format json`` prints them; docs/json/verify_schema.schema.json describes it."""
    return [
        {
            **result.target.as_json(),
            "tables": list(result.catalog.tables),
            "checked": result.checked,
            "pending_migrations": list(result.pending),
            "findings": [_finding(entry) for entry in result.entries],
            "unknown": [{"what": each.what, "why": each.why} for each in result.unknown],
            "ignored": [
                {"id": each.id, "reason": each.reason, "expires": each.expires}
                for each in result.ignored
            ],
        }
        for result in results
    ]


def _finding(entry: FindingWithRepair) -> dict[str, Any]:
    finding = entry.finding
    return {
        "id": finding.id,
        "severity": finding.severity,
        "kind": finding.kind,
        "object": finding.object,
        "expected": finding.expected,
        "found": finding.found,
        "meaning": finding.meaning,
        "repair": list(script.lines(entry.repair.statements)),
        "obstacle": entry.repair.obstacle or None,
        "hazards": [hazard for hazard in Hazard if hazard in entry.repair.hazards],
        "objects": list(entry.objects),
        "ids": list(entry.ids),
    }


def text(results: Sequence[Verified], strict: bool, style: Style, verbosity: int) -> str:
    """One calm line for a clean database; what is wrong, what it means and how to see the repair."""
    lines: list[str] = []
    for result in results:
        lines += _text(result, strict, style, verbosity)
    return "\n".join(lines)


def _text(result: Verified, strict: bool, style: Style, verbosity: int) -> Iterator[str]:
    styles = {
        Severity.ERROR: style.ERROR,
        Severity.WARNING: style.WARNING,
        Severity.NOTE: style.NOTICE,
    }
    word = {
        0: style.SUCCESS("ok"),
        1: style.ERROR("DRIFT"),
        2: style.WARNING("UNKNOWN"),
    }[result.exit_code(strict)]
    yield f"{word} {result.target}: {tally(result)}"
    if verbosity >= 2:
        yield from (f"  {line}" for line in listing(result.catalog))
    unbuilt = not is_built(result)
    for entry in result.entries:
        finding = entry.finding
        if finding.severity is Severity.NOTE and verbosity < 2:
            continue
        # That everything is missing is said once, at the end.
        if unbuilt and entry.rule.endswith(".missing") and verbosity < 2:
            continue
        yield f"  {styles[finding.severity](finding.severity)} {visible(finding.object)}"
        expected, found = sides(finding)
        if finding.expected is not None:
            yield f"    expected: {expected}"
        yield f"    found:    {found}"
        yield f"    {visible(finding.meaning)}"
        if verbosity >= 2:
            yield f"    id:       {finding.id}"
        if entry.repair.obstacle:
            yield f"    no repair is offered: {visible(entry.repair.obstacle)}"
        if entry.is_aside:
            yield f"    {advice.way_out(result.target.alias)}"
        if verbosity >= 2 and not result.pending:
            yield from (
                f"    repair:   {line(statement)}"
                for statement in script.lines(entry.repair.statements)
            )
    for each in result.unknown:
        yield f"  {style.WARNING('unknown')} {visible(f'{each.what}: {each.why}')}"
    notes = sum(entry.finding.severity is Severity.NOTE for entry in result.entries)
    if notes and verbosity < 2:
        yield f"  {counted(notes, 'notes')} of no effect (-v2 shows them)"
    if result.ignored:
        yield f"  {len(result.ignored)} ignored by decision"
    yield from (f"  {line}" for line in ways_out(result))


def ways_out(result: Verified) -> Iterator[str]:
    """What to do about what is wrong."""
    if first := advice.migrate_first(result):
        yield first
        return
    alias = result.target.alias
    printed = f"manage.py verify_schema --database {alias} --sql"
    if not is_built(result):
        yield f"Nothing is built yet: manage.py migrate --database {alias}"
        if any(entry.is_aside for entry in result.entries):
            yield advice.set_aside_is_there(alias)
    elif any(entry.repair.runs() for entry in result.wrong):
        yield f"To repair: {printed}"
    left = [entry for entry in result.wrong if entry.repair.hazards]
    if left:
        objects = "; ".join(visible(entry.finding.object) for entry in left)
        costs = {hazard for entry in left for hazard in entry.repair.hazards}
        allow = " ".join(f"--allow {hazard}" for hazard in Hazard if hazard in costs)
        yield (
            f"Repairs that {in_words(costs)} are run only where you allow it ({objects}). "
            f"`{printed}` prints them as comments, with what each would cost. Allow them with "
            f"{allow}, or decide in verify_schema.toml that it stays (docs/verify.md)."
        )


def is_built(result: Verified) -> bool:
    """Whether any table of the contract is there."""
    own = contract.own_tables(result.target.alias)
    return not set(own).isdisjoint(result.catalog.tables)


def tally(result: Verified) -> str:
    """What was checked, in numbers."""
    numbers = [
        counted(count, kind) for kind, count in result.checked.items() if kind not in UNREMARKABLE
    ]
    return ", ".join(numbers) if result.catalog.tables else "nothing in schema public"


def listing(catalog: Catalog) -> list[str]:
    """The tables and foreign keys, as a person checks them by eye."""
    keys = [f"{key.object} -> {key.rule}" for key in catalog.of(ForeignKey)]
    return [visible(words) for words in (f"tables: {', '.join(catalog.tables)}", *keys)]


def sides(finding: Finding) -> tuple[str, str]:
    """What is expected and what is found, a line each that shows where they begin to differ."""
    both = [words or "nothing" for words in (finding.expected, finding.found)]
    expected, found = (" ".join(words.split()) for words in both)
    if expected == found:
        # They differ in nothing but spaces and line breaks.
        expected, found = map(visible, both)
    pairs = enumerate(zip(expected, found, strict=False))
    shorter, longer = sorted((len(expected), len(found)))
    start = next((place for place, (one, other) in pairs if one != other), shorter) - LEAD
    if start > 0 and longer > LONGEST:
        expected, found = f"…{expected[start:]}", f"…{found[start:]}"
    return line(expected), line(found)


def line(words: str) -> str:
    squeezed = visible(" ".join(words.split()))
    return squeezed if len(squeezed) <= LONGEST else f"{squeezed[: LONGEST - 1]}…"
