"""The command `verify_schema`: its formats, its exit codes, what it may do and what it never does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import psycopg
import pytest
from django.db import connections

from fltr_project.catalog import contract, read
from fltr_project.catalog.facts import Column, Fact
from fltr_project.drift import ignore, rules
from fltr_project.errors import CannotRun
from fltr_project.postgres import addresses
from fltr_project.postgres.scratch import PREFIX
from fltr_project.routers import database_of
from tests.catalog import contract_words
from tests.conftest import ALIASES, ROOT, Databases, Outcome

Run = Callable[..., Outcome]
SCHEMA = json.loads((ROOT / "docs/json/verify_schema.schema.json").read_text())
DRIFT = (
    "ALTER TABLE users ADD COLUMN credits integer; DROP INDEX sessions_user_id_idx;"
    "CREATE VIEW v AS SELECT 1; ALTER INDEX teams_owner_id_idx RENAME TO t"
)


def findings(outcome: Outcome, alias: str = "auth") -> list[dict[str, Any]]:
    document = json.loads(outcome.out)
    jsonschema.validate(document, SCHEMA)
    (found,) = [each["findings"] for each in document["databases"] if each["alias"] == alias]
    return list(found)


def test_clean_databases_are_one_calm_line_each(databases: Databases, run: Run) -> None:
    outcome = run("verify_schema")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("ok ")
    for line, alias in zip(lines, ALIASES, strict=True):
        for size in contract_words.sizes(alias):
            assert size in line


def test_json_is_as_documented_and_the_same_in_every_run(databases: Databases, run: Run) -> None:
    databases.execute("auth", DRIFT)
    first, second = (run("verify_schema", "--format", "json") for _ in range(2))
    assert first.code == 1
    assert first.out == second.out
    found = findings(first)
    assert [each["severity"] for each in found] == ["error", "error", "warning", "note"]
    assert findings(first, "fltr") == []
    for each in found[:3]:
        assert each["repair"]
        assert each["meaning"]
    (column,) = [each for each in found if each["object"] == "users.credits"]
    assert column["hazards"] == ["lose-rows"]
    assert column["repair"] == [
        '-- SELECT count("credits") FROM public."users";',
        '-- ALTER TABLE public."users" DROP COLUMN "credits";',
    ]


def test_warnings_fail_only_when_strict(databases: Databases, run: Run) -> None:
    databases.execute("auth", "CREATE VIEW v AS SELECT 1 AS one")
    lenient, strict = run("verify_schema"), run("verify_schema", "--strict")
    assert (lenient.code, lenient.out[:3]) == (0, "ok ")
    assert (strict.code, strict.out[:6]) == (1, "DRIFT ")
    assert "\nok " in strict.out
    databases.execute("auth", "DROP VIEW v; ALTER INDEX teams_owner_id_idx RENAME TO t")
    noted = run("verify_schema", "--strict")
    assert noted.code == 0
    assert "1 note of no effect" in noted.out


def test_formats_for_builds(databases: Databases, run: Run) -> None:
    databases.execute("auth", DRIFT)
    github = run("verify_schema", "--format", "github")
    assert github.code == 1
    assert [line.split(" ")[0] for line in github.out.splitlines()] == [
        *["::error"] * 2,
        "::warning",
        *["::notice"] * 2,
    ]
    junit = ElementTree.fromstring(run("verify_schema", "--format", "junit").out)  # noqa: S314
    assert [suite.get("failures") for suite in junit] == ["2", "0"]
    assert "users.credits" in "".join(junit.itertext())
    markdown = run("verify_schema", "--format", "markdown").out
    assert "| **error** | users.credits | nothing | integer NULL |" in markdown
    assert "```sql" in markdown


def test_equal_findings_are_one(databases: Databases, run: Run) -> None:
    databases.execute(
        "auth",
        "ALTER TABLE users ALTER created_at TYPE timestamptz, ALTER updated_at TYPE timestamptz;"
        "ALTER TABLE teams ALTER created_at TYPE timestamptz",
    )
    (finding,) = findings(run("verify_schema", "--format", "json"))
    assert finding["objects"] == ["teams.created_at", "users.created_at", "users.updated_at"]
    assert len(finding["ids"]) == 3


def test_a_table_of_the_other_database_is_named(databases: Databases, run: Run) -> None:
    databases.execute("fltr", "CREATE TABLE users (id text PRIMARY KEY)")
    (finding,) = findings(run("verify_schema", "--format", "json"), "fltr")
    assert finding["meaning"].startswith("users belongs to database 'auth'")


def test_ignored_findings_are_counted_until_the_decision_ends(
    databases: Databases, run: Run, tmp_path: Path
) -> None:
    databases.execute("auth", DRIFT)
    path = tmp_path / "ignore.toml"
    entry = '[[ignore]]\nid = "{}"\nreason = "on its way out"\nexpires = {}\n'
    path.write_text(
        entry.format("column-users-credits-*", "2999-01-01")
        + entry.format("index-sessions-*", "2999-01-01")
    )
    outcome = run("verify_schema", "--ignore-file", str(path), "--format", "json")
    assert outcome.code == 0
    assert [each["severity"] for each in findings(outcome)] == ["warning", "note"]
    ignored = json.loads(outcome.out)["databases"][0]["ignored"]
    assert [each["reason"] for each in ignored] == ["on its way out"] * 2
    path.write_text(entry.format("column-users-credits-*", "2020-01-01"))
    outcome = run("verify_schema", "--ignore-file", str(path), "--format", "json")
    assert outcome.code == 1
    (expired,) = [each for each in findings(outcome) if each["kind"] == "ignore"]
    assert "expired on 2020-01-01: on its way out" in expired["found"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ignore = 1", "something else than [[ignore]] tables"),
        ("[[ignore]]\nid = 'x'\nexpires = 2027-01-01", "has no reason"),
        ("[[ignore]]\nid = 'x'\nreason = 'y'", "has no date in expires"),
        ("[[ignore]]\nid = 'x'\nreason = 'y'\nexpires = '2027-01-01'", "has no date in expires"),
        ("[[ignore]]\nid = 'x'\nwhy = 'y'", "has something else than"),
        ("[[ignore", "cannot be read"),
    ],
)
def test_a_careless_ignore_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "ignore.toml"
    path.write_text(text)
    with pytest.raises(CannotRun) as refused:
        ignore.load(path)
    assert said in str(refused.value)


def test_the_script_runs_as_it_is(databases: Databases, run: Run) -> None:
    databases.execute("auth", DRIFT + "; ALTER TABLE users DROP COLUMN image")
    script = run("verify_schema", "--database", "auth", "--sql", "--allow", "drop-others")
    assert script.code == 1
    assert "manage.py postgres psql --database auth -- " in script.out.splitlines()[1]
    with databases.connect("auth") as connection:
        run_as_psql(connection, script.out)
    left = findings(run("verify_schema", "--format", "json"))
    assert [each["object"] for each in left if each["severity"] != "note"] == ["users.credits"]


def run_as_psql(connection: psycopg.Connection[Any], script: str) -> None:
    """Each statement as a message of its own; no statement of these scripts has a `;` inside a line's end."""
    for statement in script.split(";\n"):
        connection.execute(statement)


def test_apply_repairs_and_verifies_again(databases: Databases, run: Run) -> None:
    databases.mark("auth", "development")
    databases.execute(
        "auth", "DROP INDEX sessions_user_id_idx; ALTER TABLE teams DISABLE TRIGGER ALL"
    )
    outcome = run("verify_schema", "--apply", "--no-input")
    assert outcome.code == 0, outcome
    assert "CREATE INDEX CONCURRENTLY" in outcome.out
    assert run("verify_schema").code == 0


def test_apply_asks_as_a_nuke_does(databases: Databases, run: Run) -> None:
    databases.execute("auth", "DROP INDEX sessions_user_id_idx")
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('a', 'a')")
    unmarked = run("verify_schema", "--apply", "--no-input")
    assert unmarked.code == 3
    assert " is not marked as anything and holds " in unmarked.err
    databases.mark("auth", "production")
    marked = run("verify_schema", "--apply", "--no-input")
    assert (
        " is marked production, and its name was not given. --no-input alone is not enough. Add --conf"
        in marked.err
    )
    for arguments in ([], ["--no-input"], ["--no-input", "--confirm", "elsewhere"]):
        outcome = run("verify_schema", "--apply", *arguments)
        assert outcome.code == 3, outcome
        assert "Guard" in outcome.err
    assert run("verify_schema").code == 1


def test_apply_changes_nothing_where_rows_are_in_the_way(databases: Databases, run: Run) -> None:
    databases.mark("auth", "development")
    databases.execute(
        "auth",
        "ALTER TABLE users ALTER name DROP NOT NULL; INSERT INTO users (email) VALUES ('a@b');"
        "ALTER TABLE teams ALTER credits TYPE numeric; INSERT INTO teams (name, credits) VALUES ('t', 1.5)",
    )
    allow = ("--allow", "rewrite-tables", "--allow", "block-writers")
    outcome = run("verify_schema", "--apply", "--no-input", *allow)
    assert outcome.code == 1, outcome
    told = "no repair is offered: teams.credits holds values that integer cannot hold exactly"
    assert told in outcome.out
    assert 'check constraint "users_name_not_null_check"' in outcome.out
    untried = ("--no-trial", *allow)
    outcome = run("verify_schema", "--apply", "--no-input", *untried)
    assert outcome.code == 7, outcome
    assert "teams.credits holds values that integer cannot hold exactly" in outcome.err
    assert databases.execute("auth", "SELECT credits::text FROM teams") == [("1.5",)]
    databases.execute("auth", "DELETE FROM teams")
    outcome = run("verify_schema", "--apply", "--no-input", *untried)
    assert outcome.code == 2, outcome
    assert "is violated by some row" in outcome.err


def test_comparing_with_another_database(databases: Databases, run: Run) -> None:
    settings = {**connections["fltr"].settings_dict, "NAME": databases.names["fltr"]}
    url = addresses.url_of(settings)
    assert run("verify_schema", "--database", "fltr", "--against", url).code == 0
    databases.execute("auth", "CREATE TABLE more (id integer)")
    outcome = run("verify_schema", "--database", "auth", "--against", url, "--format", "json")
    assert outcome.code == 1
    objects = {each["object"] for each in findings(outcome)}
    assert {"users", "datasets", "more"} <= objects
    assert run("verify_schema", "--against", url).code == 2
    unreachable = url.replace(databases.names["fltr"], "nowhere")
    failed = run("verify_schema", "--database", "fltr", "--against", unreachable)
    assert failed.code == 2
    assert "nowhere" in failed.err


def test_it_is_read_only_and_needs_no_right_but_connect(databases: Databases, manage: Run) -> None:
    role = "cs_only_connect"
    databases.execute("auth", f"DROP ROLE IF EXISTS {role}")
    databases.execute("auth", f"CREATE ROLE {role} LOGIN")
    try:
        environment = {
            name: url.replace("//postgres@", f"//{role}@", 1)
            for name, url in databases.environment().items()
        }
        assert all(role in url for url in environment.values())
        outcome = manage("verify_schema", **environment)
        assert (outcome.code, outcome.err) == (0, ""), outcome
        partly = manage("verify_schema", "--data", **environment)
        assert (partly.code, partly.err) == (2, "")
        assert partly.out.count("UNKNOWN ") == 2
        assert "unknown rows of __drizzle_migrations: permission denied" in partly.out
        for alias in ("auth", "fltr"):
            databases.execute(
                alias, f'REVOKE CONNECT ON DATABASE "{databases.names[alias]}" FROM PUBLIC'
            )
        outcome = manage("verify_schema", "--format", "json", **environment)
        assert outcome.code == 2, outcome
        document = json.loads(outcome.out)
        jsonschema.validate(document, SCHEMA)
        assert document["verdict"] == "could not run"
    finally:
        databases.execute("auth", f"DROP ROLE {role}")


def test_a_server_that_goes_away_is_not_drift(databases: Databases, run: Run) -> None:
    """The reader waits for a lock on pg_class and its session is ended there."""
    with databases.connect("auth") as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE pg_catalog.pg_policy IN ACCESS EXCLUSIVE MODE")
        killer = threading.Thread(target=end_waiting_session, args=(databases,))
        killer.start()
        outcome = run("verify_schema", "--database", "auth")
        killer.join()
    assert outcome.code == 2, outcome
    assert outcome.err.count("\n") == 1


def end_waiting_session(databases: Databases) -> None:
    with databases.connect("fltr") as killer:
        for _ in range(200):
            ended = killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = %s",
                [databases.names["auth"]],
            ).fetchall()
            if ended:
                return
            time.sleep(0.05)


def test_a_timeout_is_not_drift(
    databases: Databases, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "TIMEOUT", 100)
    with databases.connect("auth") as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE pg_catalog.pg_policy IN ACCESS EXCLUSIVE MODE")
        outcome = run("verify_schema", "--database", "auth")
    assert outcome.code == 2
    assert "gave up waiting" in outcome.err
    assert run("verify_schema", "--database", "auth").code == 0


def test_a_bug_in_a_rule_is_not_drift(
    databases: Databases, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.execute("auth", "ALTER TABLE users ALTER image TYPE varchar")

    def broken(want: object, have: object) -> rules.Verdict:
        raise KeyError("surprise")

    rule: tuple[type[Fact], str] = (Column, "type")
    monkeypatch.setitem(rules.RULES, rule, broken)
    outcome = run("verify_schema")
    assert outcome.code == 2
    assert "KeyError" in outcome.err
    assert "a fault of the program" in outcome.err
    failed = run("verify_schema", "--format", "json")
    assert failed.code == 2
    jsonschema.validate(json.loads(failed.out), SCHEMA)


def test_it_is_one_round_trip_whatever_there_is(databases: Databases, tmp_path: Path) -> None:
    few = waits(databases, tmp_path / "few")
    databases.execute(
        "auth",
        "DO $$ BEGIN FOR i IN 1..200 LOOP EXECUTE format('CREATE TABLE t%s (id serial)', i);"
        " END LOOP; END $$",
    )
    assert few == waits(databases, tmp_path / "many") == 1


def waits(databases: Databases, trace: Path) -> int:
    """How often the client lets the server answer: libpq writes down every message."""
    with databases.connect("auth") as raw, trace.open("w") as file:
        raw.pgconn.trace(file.fileno())
        read.read_from(raw, contract.tables("auth"))
        raw.pgconn.untrace()
    messages = [line.split("\t") for line in trace.read_text().splitlines()]
    words = [message[3] for message in messages if len(message) > 3]
    assert words.count("RowDescription") > 10
    sent = [message[3] for message in messages if len(message) > 3 and message[1] == "F"]
    return sent.count("Sync") + sent.count("Query")


def test_an_empty_database_can_be_migrated(databases: Databases, run: Run) -> None:
    databases.execute("auth", "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    outcome = run("migrate", "--database", "auth", "--verbosity", "0")
    assert outcome.code == 0, outcome
    assert run("verify_schema", "--database", "auth").code == 0


@pytest.mark.parametrize(("typed", "code"), [(True, 0), (False, 4)])
def test_apply_takes_the_name_at_a_terminal(
    databases: Databases, run: Run, monkeypatch: pytest.MonkeyPatch, typed: bool, code: int
) -> None:
    databases.mark("auth", "production")
    databases.execute("auth", "DROP INDEX sessions_user_id_idx")
    answer = databases.names["auth"] if typed else "yes"
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: answer)
    outcome = run("verify_schema", "--apply")
    assert outcome.code == code, outcome
    assert "This changes the schema of" in outcome.err
    assert run("verify_schema").code == (0 if typed else 1)


def test_apply_names_who_is_in_the_way(databases: Databases, run: Run) -> None:
    databases.mark("auth", "development")
    databases.execute("auth", "ALTER TABLE users ALTER image TYPE varchar")
    with databases.connect("auth", application_name="a report") as reader, reader.transaction():
        reader.execute("SELECT FROM users")
        outcome = run("verify_schema", "--apply", "--no-input", "--lock-timeout", "0.1")
    assert outcome.code == 5, outcome
    assert "a report" in outcome.err
    refused = run("verify_schema", "--apply", "--no-input", "--lock-timeout", "0")
    assert (refused.code, "would wait for ever" in refused.err) == (2, True)


def events(databases: Databases, command: str = "verify_schema") -> list[tuple[Any, ...]]:
    return databases.execute(
        "default",
        "SELECT event, exit_code, databases FROM fltr_project_schemaoperation"
        " WHERE command = %s AND databases = %s ORDER BY at",
        command,
        databases.names["auth"],
    )


def test_apply_is_in_the_history_as_every_change_of_a_schema_is(
    databases: Databases, run: Run
) -> None:
    name = databases.names["auth"]
    databases.mark("auth", "production")
    databases.execute("auth", "DROP INDEX sessions_user_id_idx")
    run("verify_schema")
    run("verify_schema", "--sql")
    assert events(databases) == []
    assert run("verify_schema", "--apply", "--no-input").code == 3
    assert events(databases) == [("refused", 3, name)]
    assert run("verify_schema", "--apply", "--no-input", "--confirm", name).code == 0
    assert events(databases)[1:] == [("begun", None, name), ("done", 0, name)]
    databases.execute(
        "auth",
        "ALTER TABLE users ALTER name DROP NOT NULL; INSERT INTO users (email) VALUES ('a@b')",
    )
    assert run("verify_schema", "--apply", "--no-input", "--confirm", name).code == 1
    assert events(databases)[3:] == []
    untried = ("--no-trial", "--confirm", name)
    assert run("verify_schema", "--apply", "--no-input", *untried).code == 2
    assert events(databases)[3:] == [("begun", None, name), ("failed", 2, name)]
    # Nothing to run is nothing to record.
    databases.execute("auth", "DELETE FROM users")
    for _ in range(2):
        assert run("verify_schema", "--apply", "--no-input", "--confirm", name).code == 0
        assert events(databases)[5:] == [("begun", None, name), ("done", 0, name)]


@pytest.mark.parametrize("gone", ["credit_transactions", "users"])
def test_apply_makes_a_table_again_that_functions_name(
    databases: Databases, run: Callable[..., Outcome], gone: str
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", f"DROP TABLE {gone} CASCADE")
    outcome = run("verify_schema", "--database", "auth", "--apply", "--no-input")
    assert outcome.code == 0, outcome
    assert run("verify_schema", "--database", "auth").code == 0


def test_apply_leaves_a_schema_that_is_not_built_to_migrate(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.execute("auth", "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    outcome = run("verify_schema", "--database", "auth", "--apply", "--no-input")
    assert outcome.code == 2, outcome
    assert "manage.py migrate --database auth" in outcome.err
    checked = run("check", "--database", "auth")
    assert checked.err.count("fltr.E011") == 1
    assert "manage.py migrate --database auth" in checked.err
    assert run("migrate", "--database", "auth", "--verbosity", "0").code == 0
    assert run("check", "--database", "auth").code == 0


@pytest.fixture
def contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Keep the contracts that are written somewhere else; those of the repository, by alias."""
    ours = {alias: contract.path(alias).read_text() for alias in ("auth", "fltr")}
    monkeypatch.setattr(
        contract, "path_of", lambda app: tmp_path / f"{database_of(app.label)}.json"
    )
    yield ours
    contract.load.cache_clear()


def test_the_contract_is_of_the_migrations_and_never_of_the_database(
    databases: Databases, run: Run, contracts: dict[str, str]
) -> None:
    databases.execute("auth", DRIFT)
    databases.mark("auth", "production")
    outcome = run("verify_schema", "--write-contract")
    assert outcome.code == 0, outcome
    assert [line.partition(" ")[0] for line in outcome.out.splitlines()] == ["Wrote", "Wrote"]
    for alias, text in contracts.items():
        assert contract.path(alias).read_text() == text
    # The database is as it was, and is still told from its contract.
    outcome = run("verify_schema", "--database", "auth", "--format", "json")
    assert "users.credits" in {each["object"] for each in findings(outcome)}
    left = databases.execute(
        "auth", "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", PREFIX
    )
    assert left == []


def test_a_contract_needs_no_schema_that_is_built(
    databases: Databases, run: Run, contracts: dict[str, str]
) -> None:
    databases.execute("fltr", "DROP SCHEMA public CASCADE")
    assert run("verify_schema", "--write-contract", "--database", "fltr").code == 0
    assert contract.path("fltr").read_text() == contracts["fltr"]
    assert not contract.path("auth").exists()


def test_a_contract_that_cannot_be_made_is_one_sentence(
    databases: Databases, run: Run, contracts: dict[str, str]
) -> None:
    role = f"plain_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}")
    options = connections["auth"].settings_dict["OPTIONS"]
    connections["auth"].close()
    options["assume_role"] = role
    try:
        outcome = run("verify_schema", "--write-contract", "--database", "auth")
    finally:
        del options["assume_role"]
        connections["auth"].close()
        databases.execute("auth", f"DROP ROLE {role}")
    assert (outcome.out, outcome.code) == ("", 2)
    assert outcome.err.count("\n") == 1
    assert "may not create databases" in outcome.err
    assert not contract.path("auth").exists()
