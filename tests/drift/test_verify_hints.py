"""What a verification says to do next, held by doing it."""

from __future__ import annotations

import json
import re

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.conftest import Databases

from .test_output import cells
from .test_verify_command import DRIFT, Run, findings


def test_the_check_framework_reports_the_same(databases: Databases, run: Run) -> None:
    assert run("check", "--database", "auth", "--database", "fltr").code == 0
    databases.execute("auth", DRIFT)
    outcome = run("check", "--database", "auth")
    assert outcome.code == 1
    assert "(fltr.E010) users.credits: expected nothing, found integer NULL." in outcome.err
    assert "(fltr.W010) v: expected nothing, found view." in outcome.err
    assert "(fltr.I010)" in outcome.err
    assert outcome.err.count("HINT: manage.py verify_schema --database auth --sql") == 3
    assert run("check").code == 0
    # Which is Django's own, and runs the checks of its database too.
    migrated = run("migrate", "--database", "auth", "--verbosity", "0")
    assert (migrated.code, migrated.err) == (0, "")


@pytest.mark.parametrize("option", ["--undo", "--purge"])
def test_the_hint_for_what_was_set_aside_works(databases: Databases, run: Run, option: str) -> None:
    databases.mark("auth", "test")
    assert run("clean_slate", "--database", "auth", "--no-input", "--keep", "--no-backup").code == 0
    outcome = run("check", "--database", "auth")
    assert outcome.code == 0
    (hint,) = re.findall("HINT: (.*)", outcome.err)
    (command,) = [each for each in re.findall("`manage.py (.*?)`", hint) if option in each]
    assert run(*command.split(), "--no-input").code == 0
    assert "public_aside_" not in run("check", "--database", "auth").err


def test_apply_names_the_way_out_where_only_rows_are_left_to_lose(
    databases: Databases, run: Run
) -> None:
    """Nobody is asked about nothing, and the script is not sent for as if it would run."""
    databases.mark("auth", "production")
    databases.execute("auth", "ALTER TABLE users ADD COLUMN credits integer")
    outcome = run("verify_schema", "--database", "auth", "--apply", "--no-input")
    assert (outcome.code, outcome.err) == (1, "")
    assert "To repair" not in outcome.out
    assert "Repaired" not in outcome.out
    assert "Repairs that lose rows are run only where you allow it (users.credits)" in outcome.out
    (script,) = re.findall("`manage.py (.*?)`", outcome.out)
    counting, dropping = run(*script.split()).out.splitlines()[-2:]
    assert databases.execute("auth", counting.removeprefix("-- ")) == [(0,)]
    (allow,) = re.findall("Allow them with (--allow .*?),", outcome.out)
    assert f"{dropping.removeprefix('-- ')}\nCOMMIT;" in run(*script.split(), *allow.split()).out
    name = databases.names["auth"]
    outcome = run("verify_schema", "--apply", "--no-input", "--confirm", name, *allow.split())
    assert (outcome.code, outcome.err) == (0, "")


def test_a_long_body_is_shown_where_it_begins_to_differ(databases: Databases, run: Run) -> None:
    ((definition,),) = databases.execute(
        "auth", "SELECT pg_get_functiondef('public.try_grant_credits'::regproc)"
    )
    before, between, after = definition.rpartition("    RETURN;")
    databases.execute("auth", f"{before}    PERFORM 1;{between}{after}")
    lead = " ".join(before.split())[-35:]
    outcome = run("verify_schema")
    expected, found = re.findall(r"(?:expected|found): +(.*)", outcome.out)
    assert expected.startswith("…")
    assert f"{lead} RETURN" in expected
    assert f"{lead} PERFORM 1; RETURN" in found
    assert {expected, found} <= cells(run("verify_schema", "--format", "markdown").out)
    databases.execute("auth", definition.replace("END\n$function$", "END -- more\n$function$"))
    outcome = run("verify_schema")
    assert re.findall(r"(expected|found): +….* END( -- more)?\n", outcome.out) == [
        ("expected", ""),
        ("found", " -- more"),
    ]


def test_migrations_come_before_repairs(databases: Databases, run: Run) -> None:
    """What the migrations are about to make is not made by hand, which would stop them."""
    databases.mark("auth", "test")
    assert run("migrate", "auth_app", "0001", "--database", "auth", "--verbosity", "0").code == 0
    outcome = run("verify_schema", "-v2")
    assert outcome.code == 1
    assert "1 migration is not applied: manage.py migrate --database auth\n" in outcome.out
    assert "--sql" not in outcome.out
    assert "repair:" not in outcome.out
    document = run("verify_schema", "--format", "json")
    assert findings(document)
    assert [each["pending_migrations"] for each in json.loads(document.out)["databases"]] == [
        ["auth_app.0002_functions"],
        [],
    ]
    markdown = run("verify_schema", "--format", "markdown").out
    assert "1 migration is not applied: manage.py migrate --database auth" in markdown
    assert "```sql" not in markdown
    checked = run("check", "--database", "auth").err
    assert "HINT: 1 migration is not applied: manage.py migrate --database auth\n" in checked
    assert "--sql" not in checked
    for action in (["--sql"], ["--apply", "--no-input"]):
        refused = run("verify_schema", *action)
        assert (refused.out, refused.code) == ("", 2)
        assert refused.err.startswith(f"CommandError: {databases.names['auth']} on PostgreSQL ")
        assert refused.err.endswith(
            " lacks 1 migration, and a repair would make by hand what they make: run "
            "`manage.py migrate --database auth` first.\n"
        )
    assert run("migrate", "--database", "auth", "--verbosity", "0").code == 0
    assert run("verify_schema").code == 0


@pytest.mark.parametrize(
    "statement", ["DROP TABLE django_migrations", "TRUNCATE django_migrations"]
)
def test_tables_of_another_program_are_repaired(
    databases: Databases, run: Run, statement: str
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", f"DROP INDEX sessions_user_id_idx; {statement}")
    assert "To repair: manage.py verify_schema --database auth --sql" in run("verify_schema").out
    assert run("verify_schema", "--apply", "--no-input").code == 0


def test_the_record_is_read_only_where_something_is_wrong(
    databases: Databases, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def pending(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
        asked.append(connection.alias)
        return ()

    monkeypatch.setattr("fltr_project.drift.pending.pending", pending)
    databases.execute("auth", "ALTER INDEX teams_owner_id_idx RENAME TO t")
    assert (run("verify_schema").code, asked) == (0, [])
    databases.execute("auth", "DROP INDEX sessions_user_id_idx")
    assert (run("verify_schema").code, asked) == (1, ["auth"])


def test_a_record_that_cannot_be_read_hides_no_finding(databases: Databases, run: Run) -> None:
    role = f"reader_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}")
    databases.execute("auth", "DROP INDEX sessions_user_id_idx")
    options = connections["auth"].settings_dict["OPTIONS"]
    options["assume_role"] = role
    try:
        outcome = run("verify_schema", "--database", "auth")
    finally:
        del options["assume_role"]
        databases.execute("auth", f"DROP ROLE {role}")
    assert (outcome.code, outcome.err) == (1, "")
    assert "error index of sessions (user_id), sessions_user_id_idx" in outcome.out


def test_an_empty_schema_names_the_one_that_was_set_aside(databases: Databases, run: Run) -> None:
    databases.mark("auth", "test")
    nuke = ("nuke_schema", "--database", "auth", "--no-input", "--no-backup")
    assert run(*nuke, "--keep").code == 0
    hint = (
        "A schema that was set aside is there: `manage.py nuke_schema --database auth --undo` brings "
        "it back, `manage.py nuke_schema --database auth --purge` drops it for good."
    )
    nothing = "  Nothing is built yet: manage.py migrate --database auth\n"
    assert f"{nothing}  {hint}\n" in run("verify_schema", "--database", "auth").out
    built = f"Build it with `manage.py migrate --database auth`. {hint}\n"
    assert run("smoke_credits").err.endswith(built)
    assert hint in run("check", "--database", "auth").err
    assert run(*nuke, "--undo").code == 0
    assert run(*nuke).code == 0
    assert run("verify_schema", "--database", "auth").out.endswith(nothing)


def test_migrations_that_were_taken_back_leave_nothing_built(
    databases: Databases, run: Run
) -> None:
    """The record is still there, so there is a table; a repair would be in the way of migrate."""
    arguments = ("--database", "auth", "--verbosity", "0")
    assert run("migrate", "auth_app", "zero", *arguments).code == 0
    outcome = run("verify_schema", "--database", "auth")
    assert outcome.out.endswith("  Nothing is built yet: manage.py migrate --database auth\n")
    assert "--sql" not in outcome.out
    assert run("migrate", *arguments).code == 0
    assert run("verify_schema", "--database", "auth").code == 0
