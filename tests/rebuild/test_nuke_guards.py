from __future__ import annotations

import fcntl
import io
import json
import os
import re
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connections, transaction

from fltr_project.errors import CleanSlateError, Refused
from fltr_project.management.base import SchemaCommand
from fltr_project.postgres.target import connect, identify
from fltr_project.rebuild import inventory
from fltr_project.rebuild.consent import VALID_FOR, Consent, issue_token, require_valid
from fltr_project.rebuild.inventory import RowCount
from fltr_project.rebuild.plan import Plan, plan
from tests.conftest import ALIASES, ROOT, Databases, Outcome


class Stdin(io.StringIO):
    """What a person types, or with None nobody."""

    def __init__(self, answer: str | None) -> None:
        super().__init__("" if answer is None else f"{answer}\n")
        self._terminal = answer is not None

    def isatty(self) -> bool:
        return self._terminal


# Mark and rows in users; the first three may be emptied with --no-input alone.
STATES = {
    "unmarked and empty": (None, 0, False),
    "development": ("development", 5, False),
    "test": ("test", 5, False),
    "unmarked with rows": (None, 5, True),
    "staging": ("staging", 0, True),
    "production": ("production", 0, True),
    "a word that nobody knows": ("prod", 5, True),
}
# Flags; then what becomes of a free and of a protected database without a terminal, with the right
# name typed, and with a wrong one.
FLAGS = {
    "": ((3, 0, 4), (3, 3, 3)),
    "--no-input": ((0, 0, 0), (3, 3, 3)),
    "--confirm NAME": ((0, 0, 0), (3, 3, 3)),
    "--confirm OTHER": ((3, 3, 3), (3, 3, 3)),
    "--token TOKEN": ((3, 0, 4), (3, 0, 4)),
    "--token DEAD": ((3, 3, 3), (3, 3, 3)),
    "--no-input --confirm NAME": ((0, 0, 0), (3, 3, 3)),
    "--no-input --confirm OTHER": ((3, 3, 3), (3, 3, 3)),
    "--no-input --token TOKEN": ((0, 0, 0), (3, 3, 3)),
    "--no-input --token DEAD": ((3, 3, 3), (3, 3, 3)),
    "--confirm NAME --token TOKEN": ((0, 0, 0), (0, 0, 0)),
    "--no-input --confirm NAME --token TOKEN": ((0, 0, 0), (0, 0, 0)),
    "--no-input --confirm NAME --token DEAD": ((3, 3, 3), (3, 3, 3)),
    "--no-input --confirm OTHER --token TOKEN": ((3, 3, 3), (3, 3, 3)),
}


def read_plan(alias: str = "auth") -> Plan:
    connection = connect(alias)
    return plan(connection, identify(connection))


def consent(planned: Plan, flags: str) -> int:
    """Ask for consent as the commands do; the exit code that they would end with."""
    words = flags.split()
    confirmed = [planned.target.database if "NAME" in words else "fltr_other"]
    tokens = {"TOKEN": issue_token([planned]), "DEAD": "00000000-000000-0000000000"}
    token = next((tokens[word] for word in words if word in tokens), None)
    try:
        given = Consent([planned], confirmed if "--confirm" in words else [], token)
        SchemaCommand(stderr=io.StringIO()).obtain_consent(given, "--no-input" not in words)
    except CleanSlateError as error:
        return error.exit_code
    return 0


def test_every_cell_of_mark_and_flags_and_terminal(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = read_plan()
    wrong = {}
    for state, (mark, users, protected) in STATES.items():
        planned = replace(
            empty,
            target=replace(empty.target, environment=mark),
            rows=(RowCount("users", users, True), RowCount("django_migrations", 20, True)),
        )
        for flags, outcomes in FLAGS.items():
            answers = (None, planned.target.database, "yes")
            for answer, expected in zip(answers, outcomes[protected], strict=True):
                monkeypatch.setattr("sys.stdin", Stdin(answer))
                found = consent(planned, flags)
                if found != expected:
                    wrong[state, flags, answer] = (found, expected)
    assert wrong == {}


@pytest.mark.parametrize("flags", [flags for flags in FLAGS if "TOKEN" not in flags])
def test_error_a_protected_database_stays_as_it_is(
    databases: Databases, run: Callable[..., Outcome], flags: str
) -> None:
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com')")
    name, before = databases.names["auth"], read_plan().fingerprint
    dead = "00000000-000000-0000000000"
    words = flags.replace("NAME", name).replace("DEAD", dead).split()
    outcome = run("nuke_schema", "--database", "auth", *words)
    assert outcome.code == 3
    assert outcome.err.startswith("Error: Guard '") or outcome.err.startswith(
        "CommandError: Guard '"
    )
    assert read_plan().fingerprint == before


def test_the_token_of_the_plan_empties_a_protected_database(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.mark("auth", "production")
    printed = json.loads(run("nuke_schema", "--database", "auth", "--plan", "--format", "json").out)
    name = databases.names["auth"]
    options = ("--no-input", "--confirm", name, "--token", printed["token"])
    outcome = run("nuke_schema", "--database", "auth", *options)
    assert (outcome.err, outcome.code) == ("", 0)
    assert read_plan().tables == ()


@pytest.mark.parametrize(("answer", "code"), [("NAME", 0), ("yes", 4), ("\x04", 4), ("\x03", 4)])
def test_a_person_at_a_terminal_types_the_name(
    databases: Databases, tmp_path: Path, answer: str, code: int
) -> None:
    """A terminal of the operating system's; Ctrl-D and Ctrl-C at the prompt are a no."""
    name = databases.names["auth"]
    controller, terminal = os.openpty()
    command = [sys.executable, "manage.py", "nuke_schema", "--database", "auth"]
    with subprocess.Popen(
        [*command, "--backup-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, **databases.environment()},
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(terminal, termios.TIOCSCTTY, 0),
    ) as process:
        assert process.stderr
        prompt = ""
        while not prompt.endswith("to go on: "):
            prompt += process.stderr.read(1) or "(it has ended) to go on: "
        os.write(controller, (answer.replace("NAME", name) + "\n").encode())
        errors = process.stderr.read()
        process.wait(timeout=60)
    os.close(controller)
    os.close(terminal)
    assert process.returncode == code
    assert f"This empties schema public of {name} on " in prompt
    assert f"Type the database's name, {name}, to go on: " in prompt
    assert "Traceback" not in errors


def test_one_token_consents_to_both_databases(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    for alias in ALIASES:
        databases.mark(alias, "production")
    token = json.loads(run("clean_slate", "--plan", "--format", "json").out)["token"]
    confirm = [part for alias in ALIASES for part in ("--confirm", databases.names[alias])]
    assert run("clean_slate", "--no-input", *confirm).code == 3
    outcome = run("clean_slate", "--no-input", *confirm, "--token", token)
    assert (outcome.err, outcome.code) == ("", 0)


def test_error_a_token_of_one_database_is_refused_on_the_other(databases: Databases) -> None:
    with pytest.raises(Refused, match="was not issued for"):
        require_valid(issue_token([read_plan("auth")]), [read_plan("fltr")])


# Of everything that a backup holds and a restore would bring back or replace.
CHANGES = (
    "INSERT INTO users (name, email) VALUES ('Bob', 'bob@example.com')",
    "UPDATE users SET name = 'Ada Lovelace' WHERE name = 'Ada'",
    "UPDATE big SET id = -1 WHERE id = 77777",
    "DELETE FROM users",
    "CREATE TABLE one_more ()",
    "ALTER TABLE users ADD COLUMN nickname text",
    "ALTER TABLE users ALTER COLUMN nickname SET DEFAULT 'x'",
    "ALTER TABLE users ALTER COLUMN nickname SET DEFAULT 'y'",
    "DROP FUNCTION users_open_credit_account CASCADE",
    "COMMENT ON COLUMN users.nickname IS 'of a plugin'",
    "COMMENT ON SCHEMA public IS 'ours'",
    "GRANT SELECT (name) ON users TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC",
    "CREATE POLICY own ON users USING (true)",
    "ALTER POLICY own ON users USING (false)",
    "CREATE VIEW names AS SELECT name FROM users",
    "CREATE OR REPLACE VIEW names AS SELECT 'x'::text AS name FROM users",
    "CREATE TYPE mood AS ENUM ('ok')",
    "ALTER TYPE mood ADD VALUE 'sad'",
    "CREATE SEQUENCE tickets",
    "ALTER SEQUENCE tickets INCREMENT 7",
    "CREATE STATISTICS pair ON name, email FROM users",
    "CREATE PUBLICATION parts FOR TABLE users",
    "ALTER PUBLICATION parts SET TABLE users (id)",
    "SELECT lo_from_bytea(77, 'a')",
    "SELECT lo_put(77, 0, 'b')",
)


def test_error_a_token_dies_with_one_change(databases: Databases) -> None:
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com')")
    databases.execute("auth", "CREATE TABLE big AS SELECT generate_series(1, 100001) AS id")
    require_valid(issue_token([read_plan()]), [read_plan()])
    for change in CHANGES:
        token = issue_token([read_plan()])
        databases.execute("auth", change)
        with pytest.raises(Refused, match="changed after"):
            require_valid(token, [read_plan()])
    # What changes no content.
    token = issue_token([read_plan()])
    databases.execute("auth", "VACUUM (FREEZE, ANALYZE)")
    require_valid(token, [read_plan()])


def test_error_a_token_dies_with_time(databases: Databases) -> None:
    now = read_plan()
    token = issue_token([replace(now, at=now.at - VALID_FOR - timedelta(seconds=2))])
    with pytest.raises(Refused, match="is 15 minutes old, and a token is good for 15"):
        require_valid(token, [now])
    tomorrow = issue_token([replace(now, at=now.at + timedelta(days=1))])
    with pytest.raises(Refused, match="minutes old"):
        require_valid(tomorrow, [now])


def test_error_no_backup_is_refused_on_a_protected_database(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.mark("auth", "staging")
    token, name = issue_token([read_plan()]), databases.names["auth"]
    options = ("--no-input", "--confirm", name, "--token", token, "--no-backup")
    outcome = run("nuke_schema", "--database", "auth", *options)
    assert outcome.code == 3
    assert "Guard 'backup'" in outcome.err
    assert read_plan().tables != ()


def test_error_taking_protection_away_wants_consent(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    assert run("mark_environment", "production", "--database", "auth", "--no-input").code == 0
    outcome = run("mark_environment", "development", "--database", "auth", "--no-input")
    assert outcome.code == 3
    connections["auth"].close()
    assert read_plan().target.environment == "production"
    token = issue_token([read_plan()])
    options = ("--no-input", "--confirm", databases.names["auth"], "--token", token)
    assert run("mark_environment", "development", "--database", "auth", *options).code == 0
    assert read_plan().target.environment == "development"


@pytest.mark.parametrize("aliases", [ALIASES, ("fltr",)])
def test_the_refusal_says_how_to_take_protection_away(
    databases: Databases, run: Callable[..., Outcome], aliases: tuple[str, ...]
) -> None:
    """Who does what the message says succeeds, for one database and for both at once."""
    for alias in ALIASES:
        databases.mark(alias, "production")
    chosen = [part for alias in aliases for part in ("--database", alias)]
    marking = ("mark_environment", "development", *chosen, "--no-input")
    refused = run(*marking)
    assert refused.code == 3
    for alias in aliases:
        assert f"{databases.names[alias]} on " in refused.err
    added, look = re.findall(r"Add (.*) --token T, .* `manage.py (.*)` prints", refused.err)[0]
    token = re.findall(r"^Token: (\S+)", run(*look.split()).out, re.MULTILINE)[0]
    outcome = run(*marking, *added.split(), "--token", token)
    assert (outcome.err, outcome.code) == ("", 0)
    assert all(read_plan(alias).target.environment == "development" for alias in aliases)


def test_the_refusal_of_an_unmarked_database_says_how_to_mark_it(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com')")
    nuke = ("nuke_schema", "--database", "auth", "--no-input")
    assert "`manage.py mark_environment development` says so" in run(*nuke).err
    marking = run("mark_environment", "development", "--database", "auth", "--no-input")
    assert "is not marked as anything and holds 3 rows in the product's tables" in marking.err
    assert "mark_environment" not in marking.err


def test_error_what_hangs_on_the_schema_from_outside_is_a_refusal(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    for statement in (
        "CREATE SCHEMA other",
        "CREATE TYPE public.mood AS ENUM ('sad', 'ok')",
        "CREATE TABLE other.people (user_id text REFERENCES public.users, feels public.mood)",
        "CREATE VIEW other.emails AS SELECT email FROM public.users",
    ):
        databases.execute("auth", statement)
    before = read_plan()
    outcome = run("nuke_schema", "--database", "auth", "--no-input")
    assert outcome.code == 3
    assert "Guard 'dependants'" in outcome.err
    for thing in ("other.people.feels", "people_user_id_fkey on other.people", "other.emails"):
        assert thing in outcome.err
    assert read_plan().fingerprint == before.fingerprint


def test_the_plan_takes_no_strong_lock(databases: Databases) -> None:
    with databases.connect("auth") as other, other.transaction():
        # Conflicts with everything above ROW SHARE.
        other.execute("LOCK TABLE users IN EXCLUSIVE MODE")
        planned = read_plan()
    assert {"users", "sessions"} <= set(planned.tables)
    assert planned.at_work[0].pid != 0


def test_rows_are_never_called_none_for_want_of_an_estimate(databases: Databases) -> None:
    """A table that may not be read and was never analyzed still counts as holding something."""
    role = f"closed_{databases.names['auth']}"
    databases.execute("auth", "CREATE TABLE closed AS SELECT generate_series(1, 9) AS id")
    databases.execute("auth", f"CREATE ROLE {role}")
    connection = connect("auth")
    try:
        with transaction.atomic(using="auth"), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL ROLE {role}")
            rows = {each.table: each for each in inventory.content(cursor).rows}["closed"]
    finally:
        databases.execute("auth", f"DROP ROLE {role}")
    assert (rows.count > 0, rows.exact) == (True, False)
