"""What a verification says to do next, held by doing it."""

from __future__ import annotations

import re

import pytest

from tests.conftest import Databases
from tests.schema.test_verify_command import DRIFT, Run


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
    assert "Repairs that lose rows are never run for you (users.credits)" in outcome.out
    (script, psql) = re.findall("`manage.py (.*?)`", outcome.out)
    dropping = run(*script.split()).out.splitlines()[-2]
    assert psql == "postgres psql --database auth"
    databases.execute("auth", dropping.removeprefix("-- "))
    assert run("verify_schema", "--database", "auth").code == 0
