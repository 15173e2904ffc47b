"""Names that others chose say nothing of their own: each format is read by its own parser."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from xml.etree import ElementTree

import jsonschema
import pytest
from markdown_it import MarkdownIt

from fltr_project.postgres import programs
from fltr_project.postgres.locks import Session
from fltr_project.words import harmless, visible
from tests.conftest import Databases, Outcome

from .test_verify_command import SCHEMA

Run = Callable[..., Outcome]

# Each is the name of a view, of a column and of an index.
NAMES = [
    "x\x1b]0;title\x07\x1b[2J",
    "x\n::error title=y::mended\nok everything",
    "x\r\n-- ;\nDROP TABLE users; --",
    "x | y </details> `z` **b** [l](http://e) <img src=x>",
    "##[error]@everybody #1 %0Ay",
    "\u202egnp.exe \u2028 \x85 \x9b31m",
    "x\n```\n# Heading\n| a | b |",
    "]]> &amp; <failure/>",
    "U&\"\\0041\" 'quoted' \\ back",
]


def planted(databases: Databases) -> None:
    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    for name in NAMES:
        databases.execute(
            "auth",
            f"CREATE VIEW {quoted(name)} AS SELECT 1 AS one;"
            f"ALTER TABLE users ADD COLUMN {quoted(name)} text DEFAULT 'a\n\x1b[1mb';"
            f"CREATE INDEX {quoted(name + 'i')} ON users (name)",
        )


def test_people_read_what_is_there_and_nothing_else(databases: Databases, run: Run) -> None:
    planted(databases)
    plain = run("verify_schema", "--database", "auth", "-v2")
    script = run("verify_schema", "--database", "auth", "--sql")
    checked = run("check", "--database", "auth")
    for outcome in (plain, script, checked):
        for text in (outcome.out, outcome.err):
            # A tab is before the hints of Django's check.
            assert all(line.lstrip("\t").isprintable() for line in text.split("\n")), text
    for line in plain.out.splitlines():
        assert re.match(r"(DRIFT |  (error|warning|note) |    \w+[: ]|  [A-Z\w])", line), line
        assert not line.startswith(("::", "ok "))
    assert visible(NAMES[0]) in plain.out
    # In a script every line is a statement of ours or a comment.
    for line in script.out.splitlines():
        assert re.match(r"(--|BEGIN;|COMMIT;|SET |DO |ALTER |CREATE |RESET |$)", line), line


def test_json_has_the_names_as_they_are(databases: Databases, run: Run) -> None:
    planted(databases)
    document = json.loads(run("verify_schema", "--database", "auth", "--format", "json").out)
    jsonschema.validate(document, SCHEMA)
    objects = {name for each in document["databases"][0]["findings"] for name in each["objects"]}
    assert set(NAMES) <= objects


def test_junit_is_xml(databases: Databases, run: Run) -> None:
    planted(databases)
    text = run("verify_schema", "--database", "auth", "--format", "junit").out
    root = ElementTree.fromstring(text)  # noqa: S314
    assert {each.tag for each in root.iter()} == {
        "testsuites",
        "testsuite",
        "testcase",
        "failure",
        "system-out",
    }
    words = "".join(root.itertext())
    assert all(visible(name) in words for name in NAMES)


def test_annotations_are_one_a_line(databases: Databases, run: Run) -> None:
    planted(databases)
    text = run("verify_schema", "--database", "auth", "--format", "github").out
    document = json.loads(run("verify_schema", "--database", "auth", "--format", "json").out)
    lines = text.splitlines()
    assert len(lines) == len(document["databases"][0]["findings"])
    for line, finding in zip(lines, document["databases"][0]["findings"], strict=True):
        # As a runner reads it: its older form counts anywhere in a line.
        assert "##[" not in line
        command = re.fullmatch(r"::(error|warning|notice) title=([^,:]*)::(.*)", line)
        assert command
        message = re.sub("%([0-9A-F]{2})", lambda each: chr(int(each[1], 16)), command[3])
        assert message.startswith(f"{visible(finding['object'])}: expected")


def test_markdown_has_one_table_and_nothing_of_others(databases: Databases, run: Run) -> None:
    planted(databases)
    text = run("verify_schema", "--database", "auth", "--format", "markdown").out
    document = json.loads(run("verify_schema", "--database", "auth", "--format", "json").out)
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    kinds = [token.type for token in tokens]
    assert kinds.count("table_open") == kinds.count("heading_open") == kinds.count("fence") == 1
    rows = kinds.count("tr_open") - 1
    assert rows == len(document["databases"][0]["findings"])
    assert kinds.count("td_open") == 5 * rows
    assert kinds.count("html_block") == 2
    inline = {
        child.type for token in tokens if token.type == "inline" for child in token.children or ()
    }
    assert inline == {"text", "strong_open", "strong_close"}
    table = text.partition("|---|")[2].partition("<details>")[0]
    assert not set(table) & {"@", "<"}
    assert {f"users.{visible(name)}" for name in NAMES} <= cells(text)


def cells(markdown: str) -> set[str]:
    """The texts of a table, as a reader sees them."""
    return {
        "".join(child.content for child in token.children or ())
        for token in MarkdownIt("commonmark").enable("table").parse(markdown)
        if token.type == "inline"
    }


def test_psql_runs_the_script_and_nothing_of_a_name(databases: Databases, run: Run) -> None:
    """What is held is a comment to its end, and runs with its dashes off."""
    psql = programs.find("psql", at_least=15)
    assert psql
    planted(databases)
    script = run("verify_schema", "--database", "auth", "--sql").out
    freed = re.sub(r"(?m)^-- (?=ALTER|DROP)", "", script)
    for text, left in ((script, len(NAMES)), (freed, 0)):
        subprocess.run(
            [
                psql.path,
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                databases.environment()["AUTH_DATABASE_URL"],
            ],
            input=text,
            text=True,
            check=True,
            capture_output=True,
        )
        assert databases.execute(
            "auth", "SELECT count(*) FROM pg_views WHERE schemaname='public'"
        ) == [(left,)]
    assert databases.execute("auth", "SELECT count(*) FROM users") == [(0,)]
    assert run("verify_schema", "--database", "auth", "--strict").code == 0


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_is_printable_and_tells_names_apart(name: str) -> None:
    assert visible(name).isprintable()
    assert visible(name) == harmless(name).replace("\n", "\\n")
    assert visible("plain, täglich") == "plain, täglich"
    assert len({visible(each) for each in NAMES}) == len(NAMES)
    coloured = "\x1b[31;1mred\x1b[0m\n\r\x1b[K[ok]"
    assert harmless(coloured) == coloured


def test_a_session_is_one_line_whatever_it_calls_itself() -> None:
    session = Session(7, "3/4", "r\n::error::x", "app\x1b[2J", "idle\u2028", 3, writes=True)
    assert str(session).isprintable()
    assert "r\\n::error::x (app\\x1b[2J)" in str(session)
