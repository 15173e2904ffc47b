"""Both databases as one operation; the history and the JSON of every way that it can end."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse
from jsonschema import Draft202012Validator

from auth_app.smoke import run as smoke
from fltr_project.models import SchemaOperation
from fltr_project.postgres import programs
from tests.catalog import contract_words
from tests.conftest import ALIASES, ROOT, Databases, Outcome
from tests.samples import full_fingerprint

from .crash import struck, terminate
from .test_nuke_guards import Stdin

pytestmark = pytest.mark.slow

# Rebuilds under the eyes of readers; 20 were run for the record, and take half a minute.
RUNS = int(os.environ.get("CLEAN_SLATE_RUNS", "4"))
SCHEMA = json.loads((ROOT / "docs" / "json" / "operations.schema.json").read_text())


@pytest.fixture
def log(tmp_path: Path, settings: Any) -> Path:
    settings.OPERATIONS_LOG = tmp_path / "operations.jsonl"
    return tmp_path / "operations.jsonl"


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


# --- readers


def test_readers_never_see_a_hole(databases: Databases, run: Callable[..., Outcome]) -> None:
    """The same tables and records before and after, so that everything else is wrong."""
    for alias in ALIASES:
        databases.mark(alias, "test")
    wrong: list[object] = []
    reads = 0
    done = threading.Event()

    def read(alias: str, query: str, right: set[tuple[int, ...]]) -> None:
        nonlocal reads
        with databases.connect(alias) as session:
            while not done.is_set():
                try:
                    (found,) = session.execute(query, prepare=True).fetchall()
                except Exception as error:
                    found = (str(error),)
                reads += 1
                if found not in right:
                    wrong.append((alias, found))
                time.sleep(0.002)

    count = "SELECT count(*) FROM django_migrations WHERE app = 'auth_app'"
    migrations = set(databases.execute("auth", count))
    threads = [
        threading.Thread(target=read, args=(alias, query, right))
        for alias, query, right in (
            # The migrations of the database's own app; the same ones before and after.
            ("auth", count, migrations),
            (
                "auth",
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
                {contract_words.numbers("auth")[:1]},
            ),
            ("fltr", "SELECT count(*) FROM datasets", {(0,)}),
            (
                "fltr",
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
                {contract_words.numbers("fltr")[:1]},
            ),
        )
    ]
    for thread in threads:
        thread.start()
    try:
        codes = {run("clean_slate", "--no-input", "--no-backup").code for _ in range(RUNS)}
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert codes == {0}
    assert wrong == []
    assert reads >= 50 * RUNS


# --- two databases


def test_error_when_the_second_database_fails_the_first_is_as_it_was(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    for alias in ALIASES:
        databases.mark(alias, "test")
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com')")
    databases.execute("fltr", "CREATE PUBLICATION parts FOR TABLE datasets; CREATE TABLE gone ()")
    before = {alias: full_fingerprint(alias) for alias in ALIASES}
    # After the plan, which would have said that no migration makes that table.
    publish = "ALTER PUBLICATION parts {} TABLE gone"
    with struck("step migrate auth", lambda: databases.execute("fltr", publish.format("ADD"))):
        outcome = run("clean_slate", "--no-input", "--no-backup")
    assert outcome.code == 7
    assert "every database is as it was" in outcome.err
    databases.execute("fltr", publish.format("DROP"))
    assert {alias: full_fingerprint(alias) for alias in ALIASES} == before


def test_the_report_has_the_runbooks_lists(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    tables, foreign_keys = contract_words.sizes("auth")
    ((records,),) = databases.execute("auth", "SELECT count(*) FROM django_migrations")
    outcome = run("clean_slate", "--no-input")
    assert outcome.code == 0
    for evidence in (
        "AUTH_DATABASE_URL",
        "SIGNUP_BONUS_CREDITS is ",
        "the migration makes what the models say",
        f"no users, {tables} with {records} rows, none of them the product's",
        f"{records} rows, none of them the product's, read)",
        f"{tables} and {foreign_keys} as the contract says",
        "tracked by __drizzle_migrations (empty) and django_migrations",
        " credit checks passed",
    ):
        assert evidence in outcome.out


def test_error_a_model_without_its_migration_stops_before_anything(
    databases: Databases, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    from auth_app.models import Team

    before = full_fingerprint()
    monkeypatch.setitem(Team._meta.original_attrs, "verbose_name", "crew")
    outcome = run("clean_slate", "--no-input")
    assert outcome.code == 2
    assert "changes without a migration" in outcome.err
    assert full_fingerprint() == before


# --- history


def test_every_plan_refusal_act_and_outcome_is_in_the_history(
    databases: Databases, run: Callable[..., Outcome], log: Path
) -> None:
    databases.mark("auth", "production")
    auth = ("--database", "auth")
    run("nuke_schema", *auth, "--no-input")
    document = json.loads(run("nuke_schema", *auth, "--plan", "--format", "json").out)
    consent = ("--no-input", "--confirm", databases.names["auth"], "--token", document["token"])
    assert run("nuke_schema", *auth, *consent).code == 0
    written = lines(log)
    expected = [("refused", 3), ("planned", 0), ("begun", None), ("done", 0)]
    assert [(each["event"], each["exit_code"]) for each in written] == expected
    rows = SchemaOperation.objects.using("default").order_by("pk")
    assert [(row.event, row.exit_code) for row in rows][-4:] == expected
    last = written[-1]
    assert last["databases"][0]["database"] == databases.names["auth"]
    assert last["token"] == document["token"]
    assert len(last["backups"]) == 1
    assert "@" in last["person"]
    assert written[2]["operation"] == last["operation"]


def test_the_history_holds_no_password(
    databases: Databases, manage: Callable[..., Outcome], tmp_path: Path
) -> None:
    databases.execute(
        "auth", f"CREATE ROLE r_{databases.names['auth']} LOGIN SUPERUSER PASSWORD 'tops3cret'"
    )
    environment = databases.environment()
    role = f"r_{databases.names['auth']}"
    url = environment["AUTH_DATABASE_URL"]
    rest = url.partition("://")[2].partition("@")[2]
    environment["AUTH_DATABASE_URL"] = f"postgresql://{role}:tops3cret@{rest}"
    log = ROOT / "var" / "operations.jsonl"
    options = ("--database", "auth", "--format", "json", "--backup-dir", str(tmp_path))
    try:
        outcome = manage("nuke_schema", "--no-input", *options, **environment)
        assert outcome.code == 0
        assert "tops3cret" not in outcome.out + outcome.err + log.read_text()
        assert "tops3cret" not in "".join(p.read_text() for p in tmp_path.glob("*.json"))
    finally:
        databases.execute("auth", f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP ROLE {role}")


def test_a_history_that_cannot_be_written_stops_nothing(
    databases: Databases, run: Callable[..., Outcome], settings: Any
) -> None:
    tables = ("schemaoperation", "observation", "loginattempt")
    databases.execute("default", f"DROP TABLE {', '.join(f'fltr_project_{n}' for n in tables)}")
    settings.OPERATIONS_LOG = Path("/proc/nowhere/operations.jsonl")
    outcome = run("nuke_schema", "--database", "auth", "--no-input", "-v2")
    assert (outcome.err, outcome.code) == ("", 0)
    assert "operations.jsonl could not be written" in outcome.out
    assert "The history in `default` was not written" in outcome.out
    connections["default"].close()
    databases.execute("default", "DELETE FROM django_migrations WHERE app = 'fltr_project'")
    run("migrate", "--database", "default", "--verbosity", "0")


@pytest.mark.django_db(databases=["default"])
def test_the_admin_shows_the_history_and_changes_nothing(admin_client: Client) -> None:
    from django.utils import timezone

    row = SchemaOperation.objects.create(
        at=timezone.now(),
        operation="0" * 12,
        event="done",
        command="nuke_schema",
        databases="fltr_auth",
        person="ada@laptop",
        exit_code=0,
    )
    listing = reverse("admin:fltr_project_schemaoperation_changelist")
    assert b"nuke_schema" in admin_client.get(listing).content
    change = reverse("admin:fltr_project_schemaoperation_change", args=[row.pk])
    assert admin_client.get(change).status_code == 200
    assert admin_client.post(change, {"command": "x"}).status_code == 403


# --- JSON


def check(outcome: Outcome) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(outcome.out)
    Draft202012Validator(SCHEMA).validate(document)
    assert document["exit_code"] == outcome.code
    return document


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_the_json_of_every_exit_path(
    databases: Databases,
    run: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    as_json = ("--format", "json", "--backup-dir", str(tmp_path))
    nuke = ("nuke_schema", "--database", "auth", *as_json)
    codes = []

    def ran(*arguments: str) -> dict[str, Any]:
        document = check(run(*arguments))
        codes.append(document["exit_code"])
        return document

    for alias in ALIASES:
        databases.mark(alias, "test")
    ran(*nuke, "--plan")
    ran("clean_slate", "--plan", *as_json)
    ran("mark_environment", "--format", "json")
    (made,) = ran("backup_database", "--database", "auth", *as_json)["backups"]
    ran("clean_slate", "--no-input", *as_json)
    ran("clean_slate", "--no-input", "--keep", "--no-backup", *as_json)
    ran(*nuke, "--undo", "--no-input")
    ran(*nuke, "--no-input", "--keep")
    ran(*nuke, "--purge", "--no-input")
    ran("restore_database", "--database", "auth", "--from", made["path"], "--no-input", *as_json)
    assert codes == [0] * 10
    # 2: nothing to undo; a timeout of nothing; an archive that is not there; a role of no database.
    for arguments in (
        (*nuke, "--undo", "--no-input"),
        (*nuke, "--no-input", "--lock-timeout", "0"),
        ("restore_database", "--database", "auth", "--from", "nowhere", "--no-input", *as_json),
        ("backup_database", "--database", "default", *as_json),
    ):
        assert ran(*arguments)["exit_code"] == 2
    # 3 and 4
    assert ran(*nuke)["exit_code"] == 3
    monkeypatch.setattr("sys.stdin", Stdin("no"))
    assert ran(*nuke)["exit_code"] == 4
    monkeypatch.setattr("sys.stdin", Stdin(None))
    # 5
    with databases.connect("auth") as session:
        session.execute("BEGIN; SELECT * FROM users")
        for command in (nuke, ("clean_slate", *as_json)):
            assert ran(*command, "--no-input", "--lock-timeout", "0.2")["exit_code"] == 5
        session.execute("ROLLBACK")
    # 6
    with monkeypatch.context() as patch:
        patch.setattr(programs, "find", lambda name, at_least: None)
        for command in (nuke, ("clean_slate", *as_json)):
            assert ran(*command, "--no-input")["exit_code"] == 6
        assert ran("backup_database", *as_json)["exit_code"] == 6
    # 7, and 2 for a session that was ended under a nuke
    with monkeypatch.context() as patch:
        patch.setattr(smoke, "_all_checks", lambda: {"always": lambda using: 1 / 0})
        assert ran("clean_slate", "--no-input", *as_json)["exit_code"] == 7
    with struck("statement CREATE SCHEMA", lambda: terminate("auth")):
        assert ran(*nuke, "--no-input")["exit_code"] == 2
    assert set(codes) == {0, 2, 3, 4, 5, 6, 7}


def test_a_usage_error_is_told_on_standard_error(run: Callable[..., Outcome]) -> None:
    outcome = run("nuke_schema", "--database", "auth", "--plan", "--undo")
    assert (outcome.out, outcome.code) == ("", 2)
    assert "not allowed with argument" in outcome.err
