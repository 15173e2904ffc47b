"""A verification for a build: GitHub annotations, JUnit, Markdown.

Pure: each function returns the text of the whole report, the same for the same verification.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from xml.etree import ElementTree

from fltr_project.drift.compare import Finding, Severity
from fltr_project.drift.repair import script
from fltr_project.drift.report import FindingWithRepair, Verified
from fltr_project.words import counted, harmless, singular, visible

from . import advice
from .reports import line, sides, tally


def github(results: Sequence[Verified]) -> str:
    """Workflow commands that GitHub shows beside a pull request."""
    levels = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
    lines = []
    for result in results:
        for entry in result.entries:
            finding = _visible(entry.finding)
            message = (
                f"{finding.object}: expected {finding.expected or 'nothing'}, "
                f"found {finding.found or 'nothing'}. {finding.meaning}"
            )
            title = f"{visible(result.target.database)}: {finding.id}"
            lines.append(
                f"::{levels[finding.severity]} title={_property(title)}::{_message(message)}"
            )
        for unknown in result.unknown:
            title = _property(f"{visible(result.target.database)}: unknown")
            words = _message(visible(f"{unknown.what}: {unknown.why}"))
            lines.append(f"::warning title={title}::{words}")
        if not result.entries:
            title = _property(visible(result.target.database))
            lines.append(f"::notice title={title}::{_message(tally(result))}")
    return "\n".join(lines)


def _visible(finding: Finding) -> Finding:
    """The finding with every text on a line of its own."""
    return replace(
        finding,
        object=visible(finding.object),
        expected=finding.expected and visible(finding.expected),
        found=finding.found and visible(finding.found),
        meaning=visible(finding.meaning),
    )


def _message(words: str) -> str:
    # Runners read the older form of a command anywhere in a line.
    return words.replace("%", "%25").replace("##[", "##%5B")


def _property(words: str) -> str:
    return _message(words).replace(":", "%3A").replace(",", "%2C")


def junit(results: Sequence[Verified], strict: bool) -> str:
    """One test suite a database: a case a kind that was checked, failing with its findings."""
    root = ElementTree.Element("testsuites", name="verify_schema")
    for result in results:
        name = visible(result.target.database)
        suite = ElementTree.SubElement(root, "testsuite", name=name)
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
                    case, "failure", message=visible(serious[0].finding.object), type="drift"
                )
                failure.text = "\n\n".join(_plain(entry) for entry in serious)
            if others := [entry for entry in wrong if entry not in serious]:
                out = ElementTree.SubElement(case, "system-out")
                out.text = "\n\n".join(_plain(entry) for entry in others)
        for unknown in result.unknown:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=f"verify_schema.{result.target.alias}",
                name=visible(unknown.what),
            )
            cases += 1
            ElementTree.SubElement(case, "error", message=visible(unknown.why), type="unknown")
        suite.set("errors", str(len(result.unknown)))
        suite.set("tests", str(cases))
        suite.set("failures", str(failures))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")


def _plain(entry: FindingWithRepair) -> str:
    finding = _visible(entry.finding)
    return (
        f"{finding.severity}: {finding.object}\nexpected: {finding.expected or 'nothing'}\n"
        f"found: {finding.found or 'nothing'}\n{finding.meaning}"
    )


def markdown(results: Sequence[Verified], strict: bool) -> str:
    """A report for a pull request."""
    lines = []
    for result in results:
        verdict = ("as the contract says", "drift", "unknown")[result.exit_code(strict)]
        name = _plain_text(result.target.database)
        lines += [f"### {name}: {verdict}", "", f"Checked: {tally(result)}."]
        if result.entries:
            lines += [
                "",
                "| | object | expected | found | what it means |",
                "|---|---|---|---|---|",
            ]
        for entry in result.entries:
            finding = entry.finding
            severity = str(finding.severity)
            if finding.severity is Severity.ERROR:
                severity = f"**{severity}**"
            named, meaning = visible(finding.object), visible(finding.meaning)
            cells = [line(words) for words in (named, *sides(finding), meaning)]
            lines.append(f"| {' | '.join([severity, *map(_plain_text, cells)])} |")
        unread = [
            f"- Unknown: {_plain_text(line(f'{each.what}: {each.why}'))}" for each in result.unknown
        ]
        lines += ["", *unread] if unread else []
        statements = [
            statement
            for entry in result.entries
            if entry.finding.severity is not Severity.NOTE
            for statement in script.lines(entry.repair.statements)
        ]
        if first := advice.migrate_first(result):
            lines += ["", first]
        elif statements:
            fence = _fence(statements)
            lines += ["", "<details><summary>Repair</summary>", ""]
            lines += [f"{fence}sql", *map(harmless, statements), fence, "", "</details>"]
        lines.append("")
    return "\n".join(lines).rstrip()


def _plain_text(words: str) -> str:
    """Text in which Markdown and GitHub see nothing of theirs: no table, HTML, link, mention or issue."""
    escaped = re.sub(r"([\\`*\[\]|~!$]|\b_|_\b)", r"\\\1", visible(words).replace("&", "&amp;"))
    entities = (("#", "&#35;"), ("<", "&lt;"), (">", "&gt;"), ("@", "&#64;"))
    for character, entity in entities:
        escaped = escaped.replace(character, entity)
    return escaped


def _fence(lines: Sequence[str]) -> str:
    """More backticks than stand together anywhere in the lines."""
    runs = (len(run) for text in lines for run in re.findall("`+", text))
    return "`" * max(3, *(length + 1 for length in runs), 3)


RENDERERS: dict[str, Callable[[Sequence[Verified], bool], str]] = {
    "github": lambda results, strict: github(results),
    "junit": junit,
    "markdown": markdown,
}
