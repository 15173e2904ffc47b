"""What `--format json` prints: the same beginning for every command, and the rest as docs/json says."""

from __future__ import annotations

import json
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import get_commands, load_command_class
from jsonschema import Draft202012Validator

from fltr_project.management.operations import OperationCommand
from fltr_project.postgres import addresses
from tests.conftest import ALIASES, ROOT, Databases, Outcome
from tests.test_documents import OURS

Run = Callable[..., Outcome]
# What each command is run with, on migrated databases without rows; the first word is the command.
RUNS = (
    "adopt --database auth",
    "adopt_drizzle FOLDER",
    "adopt_drizzle FOLDER --check",
    "backup_database --database auth --backup-dir FOLDER",
    "backup_database --database auth --backup-dir FOLDER --proof",
    "backup_database --database auth --backup-dir FOLDER --prove latest",
    "backup_database --backup-dir FOLDER --list",
    "export_schema --to mermaid --database auth",
    "export_schema --to mermaid --database auth --output FILE",
    "grant_access --role ROLE --as app",
    "grant_access --role ROLE --revoke --database auth",
    "clean_slate --plan",
    "clean_slate --no-input --backup-dir FOLDER",
    "mark_environment",
    "nuke_schema --database auth --plan",
    "nuke_schema --database auth --no-input --no-backup",
    "postgres status",
    "reconcile_credits",
    "reconcile_credits --repair",
    "release",
    "restore_database --database auth --from BACKUP --plan",
    "restore_database --database auth --from BACKUP --no-input --backup-dir FOLDER",
    "smoke_credits",
    "verify_schema",
    "verify_schema --data --strict",
)
# Where what it looks at is not as it should be; smoke_apps needs applications to be content (tests/clients).
DIFFERENCES = (
    ("verify_schema", "drift"),
    ("smoke_credits", "failed"),
    ("reconcile_credits", "drift"),
    ("smoke_apps --web http://127.0.0.1:9 --api http://127.0.0.1:9", "failed"),
)
# How each can be made to fail before it does anything.
FAILURES = (
    "adopt --database auth",
    "adopt_drizzle nowhere",
    "backup_database --database default",
    "clean_slate --database default",
    "export_schema --to mermaid --database default",
    "grant_access --role nobody_here --as app",
    "mark_environment --database default",
    "nuke_schema --database default",
    "reconcile_credits",
    "restore_database --database default --from nowhere",
    "smoke_apps --web http://127.0.0.1:9 --api http://127.0.0.1:9",
    "smoke_credits",
    "verify_schema --database default",
)


def schemas() -> dict[str, Any]:
    """Each command's schema; one file may be for several."""
    found: dict[str, Any] = {}
    for path in (ROOT / "docs" / "json").glob("*.schema.json"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        command = schema["properties"]["command"]
        found |= dict.fromkeys(command.get("enum") or [command["const"]], schema)
    return found


SCHEMAS = schemas()


def with_format() -> set[str]:
    """The commands, found by their parsers, whose output can be JSON."""
    return {name for name in OURS if _has_format(_command(name).create_parser("manage.py", name))}


def _has_format(parser: ArgumentParser) -> bool:
    return any(
        "--format" in action.option_strings
        or (
            isinstance(action, _SubParsersAction)
            and any(_has_format(each) for each in action.choices.values())
        )
        for action in parser._actions
    )


def _command(name: str) -> Any:
    return load_command_class(get_commands()[name], name)


def checked(arguments: str, outcome: Outcome) -> dict[str, Any]:
    """The one object that was printed, held against its schema."""
    document: dict[str, Any] = json.loads(outcome.out)
    name = arguments.split()[0]
    Draft202012Validator(SCHEMAS[name]).validate(document)
    recorded = isinstance(_command(name), OperationCommand)
    beginning = ["command", *(["operation"] if recorded else []), "verdict", "exit_code"]
    assert list(document)[: len(beginning)] == beginning
    assert (document["command"], document["exit_code"]) == (name, outcome.code)
    return document


def test_every_command_with_json_is_described_and_tested() -> None:
    named = {line.split()[0] for line in (*RUNS, *dict(DIFFERENCES))}
    assert with_format() == named == set(SCHEMAS)
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


def test_every_command_begins_alike(databases: Databases, run: Run, tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "_journal.json").write_text('{"entries": []}')
    for alias in ALIASES:
        databases.mark(alias, "test")
    backup = run("backup_database", "--database", "auth", "--backup-dir", str(tmp_path))
    places = {
        "FOLDER": str(tmp_path),
        "FILE": str(tmp_path / "diagram"),
        "BACKUP": backup.out.split()[-1],
    }
    places["ROLE"] = role = f"role_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}")
    embedded = addresses.is_embedded(settings.DATABASES["auth"])
    for line in RUNS:
        arguments = [places.get(word, word) for word in line.split()]
        document = checked(line, run(*arguments, "--format", "json"))
        if embedded or not line.startswith("postgres"):
            assert (document["verdict"], document["exit_code"]) == ("clean", 0), document
        if line.startswith("nuke_schema") and "--no-input" in line:
            run("migrate", "--database", "auth", "--verbosity", "0")
    for alias in ALIASES:
        databases.execute(alias, f"DROP OWNED BY {role}")
    databases.execute("auth", f"DROP ROLE {role}")


def test_error_begins_as_success_does(databases: Databases, run: Run) -> None:
    databases.execute("auth", "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    for line in FAILURES:
        document = checked(line, run(*line.split(), "--format", "json"))
        assert (document["verdict"], document["exit_code"]) == ("could not run", 2), document
        assert document["error"]


def test_the_verdict_of_a_difference(databases: Databases, run: Run) -> None:
    databases.execute("auth", "INSERT INTO public.users (id, name, email) VALUES ('u', 'U', 'u')")
    databases.execute("auth", "UPDATE public.user_credits SET credits = 5")
    databases.execute("auth", "DROP INDEX public.sessions_user_id_idx")
    for line, verdict in DIFFERENCES:
        document = checked(line, run(*line.split(), "--format", "json"))
        assert (document["verdict"], document["exit_code"]) == (verdict, 1)


def test_error_a_script_is_no_json(databases: Databases, run: Run) -> None:
    for option in ("--sql", "--write-contract"):
        outcome = run("verify_schema", option, "--format", "json")
        document = checked("verify_schema", outcome)
        assert outcome.code == 2
        assert document["error"].startswith(
            "--sql and --write-contract take no --format json. Leave one of them out;"
        )
