"""A verification for people and for machines: text, JSON, GitHub annotations, JUnit, Markdown.

Pure: each function returns the text of the whole report, the same for the same verification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from django.core.management.color import Style

from fltr_project.schema import aside, contract
from fltr_project.schema.compare import Finding, Severity
from fltr_project.schema.facts import Catalog, ForeignKey
from fltr_project.schema.verify import Entry, Verified
from fltr_project.words import counted, singular

from .base import target_json

# The characters of a line in a report for people, and those that lead up to a difference.
LONGEST, LEAD = 300, 40
# What every database has, and nobody counts.
UNREMARKABLE = frozenset({"settings", "schemas"})


def databases(results: Sequence[Verified]) -> list[dict[str, Any]]:
    """As ``--format json`` prints them; docs/json/verify_schema.schema.json describes it."""
    return [
        {
            **target_json(result.target),
            "tables": list(result.catalog.tables),
            "checked": result.checked,
            "pending_migrations": list(result.pending),
            "findings": [_finding(entry) for entry in result.entries],
            "ignored": [
                {"id": each.id, "reason": each.reason, "expires": each.expires}
                for each in result.ignored
            ],
        }
        for result in results
    ]


def _finding(entry: Entry) -> dict[str, Any]:
    finding = entry.finding
    return {
        "id": finding.id,
        "severity": finding.severity,
        "kind": finding.kind,
        "object": finding.object,
        "expected": finding.expected,
        "found": finding.found,
        "meaning": finding.meaning,
        "repair": list(entry.repair.sql),
        "destructive": entry.repair.destructive,
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
    word = style.ERROR("DRIFT") if result.fails(strict) else style.SUCCESS("ok")
    yield f"{word} {result.target}: {tally(result)}"
    if verbosity >= 2:
        yield from (f"  {line}" for line in listing(result.catalog))
    for entry in result.entries:
        finding = entry.finding
        if finding.severity is Severity.NOTE and verbosity < 2:
            continue
        yield f"  {styles[finding.severity](finding.severity)} {finding.object}"
        expected, found = _sides(finding)
        if finding.expected is not None:
            yield f"    expected: {expected}"
        yield f"    found:    {found}"
        yield f"    {finding.meaning}"
        if verbosity >= 2:
            yield f"    id:       {finding.id}"
        if verbosity >= 2 and not result.pending:
            yield from (f"    repair:   {_line(statement)}" for statement in entry.repair.sql)
    notes = sum(entry.finding.severity is Severity.NOTE for entry in result.entries)
    if notes and verbosity < 2:
        yield f"  {counted(notes, 'notes')} of no effect (-v2 shows them)"
    if result.ignored:
        yield f"  {len(result.ignored)} ignored by decision"
    yield from (f"  {line}" for line in ways_out(result))


def ways_out(result: Verified) -> Iterator[str]:
    """What to do about what is wrong."""
    if result.migrate_first:
        yield result.migrate_first
        return
    alias = result.target.alias
    script = f"manage.py verify_schema --database {alias} --sql"
    if not set(result.catalog.tables).intersection(contract.own_tables(alias)):
        yield f"Nothing is built yet: manage.py migrate --database {alias}"
        if any(entry.is_aside for entry in result.entries):
            yield aside.hint(alias)
    elif any(entry.repair.runs for entry in result.wrong):
        yield f"To repair: {script}"
    losing = [entry.finding.object for entry in result.wrong if entry.repair.destructive]
    if losing:
        yield (
            f"Repairs that lose rows are never run for you ({'; '.join(losing)}). `{script}` prints "
            f"them as comments: run what you want of them in `manage.py postgres psql --database "
            f"{alias}`, or decide in verify_schema.toml that it stays (docs/verify.md)."
        )


def tally(result: Verified) -> str:
    """What was checked, in numbers."""
    numbers = [
        counted(count, kind) for kind, count in result.checked.items() if kind not in UNREMARKABLE
    ]
    return ", ".join(numbers) if result.catalog.tables else "nothing in schema public"


def listing(catalog: Catalog) -> list[str]:
    """The tables and foreign keys, as a person checks them by eye."""
    keys = [f"{key.object} -> {key.rule}" for key in catalog.of(ForeignKey)]
    return [f"tables: {', '.join(catalog.tables)}", *keys]


def github(results: Sequence[Verified]) -> str:
    """Workflow commands that GitHub shows beside a pull request."""
    levels = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
    lines = []
    for result in results:
        for entry in result.entries:
            finding = entry.finding
            message = (
                f"{finding.object}: expected {finding.expected or 'nothing'}, "
                f"found {finding.found or 'nothing'}. {finding.meaning}"
            )
            title = f"{result.target.database}: {finding.id}"
            lines.append(
                f"::{levels[finding.severity]} title={_property(title)}::{_message(message)}"
            )
        if not result.entries:
            lines.append(f"::notice title={_property(result.target.database)}::{tally(result)}")
    return "\n".join(lines)


def _message(words: str) -> str:
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _message(words).replace(":", "%3A").replace(",", "%2C")


def junit(results: Sequence[Verified], strict: bool) -> str:
    """One test suite a database: a case a kind that was checked, failing with its findings."""
    root = ElementTree.Element("testsuites", name="verify_schema")
    for result in results:
        suite = ElementTree.SubElement(root, "testsuite", name=result.target.database)
        failing = {Severity.ERROR, *([Severity.WARNING] if strict else [])}
        cases = failures = 0
        kinds = {plural: singular(plural) for plural in result.checked}
        found = {entry.finding.kind for entry in result.entries} - set(kinds.values())
        for plural, kind in [*kinds.items(), *((kind, kind) for kind in sorted(found))]:
            count = result.checked.get(plural)
            label = plural if count is None else counted(count, plural)
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"verify_schema.{result.target.alias}", name=label
            )
            cases += 1
            wrong = [entry for entry in result.entries if entry.finding.kind == kind]
            serious = [entry for entry in wrong if entry.finding.severity in failing]
            if serious:
                failures += 1
                failure = ElementTree.SubElement(
                    case, "failure", message=serious[0].finding.object, type="drift"
                )
                failure.text = "\n\n".join(_plain(entry) for entry in serious)
            if others := [entry for entry in wrong if entry not in serious]:
                out = ElementTree.SubElement(case, "system-out")
                out.text = "\n\n".join(_plain(entry) for entry in others)
        suite.set("tests", str(cases))
        suite.set("failures", str(failures))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")


def _plain(entry: Entry) -> str:
    finding = entry.finding
    return (
        f"{finding.severity}: {finding.object}\nexpected: {finding.expected or 'nothing'}\n"
        f"found: {finding.found or 'nothing'}\n{finding.meaning}"
    )


def markdown(results: Sequence[Verified], strict: bool) -> str:
    """A report for a pull request."""
    lines = []
    for result in results:
        verdict = "drift" if result.fails(strict) else "as the contract says"
        lines += [f"### `{result.target.database}`: {verdict}", "", f"Checked: {tally(result)}."]
        if result.entries:
            lines += [
                "",
                "| | object | expected | found | what it means |",
                "|---|---|---|---|---|",
            ]
        for entry in result.entries:
            finding = entry.finding
            cells = (
                f"**{finding.severity}**"
                if finding.severity is Severity.ERROR
                else str(finding.severity),
                finding.object,
                *_sides(finding),
                finding.meaning,
            )
            lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        statements = [
            statement
            for entry in result.entries
            if entry.finding.severity is not Severity.NOTE
            for statement in entry.repair.sql
        ]
        if result.migrate_first:
            lines += ["", result.migrate_first]
        elif statements:
            lines += ["", "<details><summary>Repair</summary>", "", "```sql", *statements, "```"]
            lines += ["", "</details>"]
        lines.append("")
    return "\n".join(lines).rstrip()


def _cell(words: str) -> str:
    return _line(words).replace("|", "\\|").replace("<", "&lt;")


def _sides(finding: Finding) -> tuple[str, str]:
    """What is expected and what is found, a line each that shows where they begin to differ."""
    expected, found = (
        " ".join((words or "nothing").split()) for words in (finding.expected, finding.found)
    )
    pairs = enumerate(zip(expected, found, strict=False))
    shorter, longer = sorted((len(expected), len(found)))
    start = next((place for place, (one, other) in pairs if one != other), shorter) - LEAD
    if start > 0 and longer > LONGEST:
        expected, found = f"…{expected[start:]}", f"…{found[start:]}"
    return _line(expected), _line(found)


def _line(words: str) -> str:
    squeezed = " ".join(words.split())
    return squeezed if len(squeezed) <= LONGEST else f"{squeezed[: LONGEST - 1]}…"


RENDERERS: dict[str, Callable[[Sequence[Verified], bool], str]] = {
    "github": lambda results, strict: github(results),
    "junit": junit,
    "markdown": markdown,
}
