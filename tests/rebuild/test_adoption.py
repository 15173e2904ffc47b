"""Other programs may start first: what they have built is looked at, never stumbled over, and keeps its rows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import create_engine

from fltr_project.postgres import locks
from tests.conftest import ROOT, Databases, Outcome
from tests.drift.conftest import emptied
from tests.drift.test_sqlmodel_build import models

Run = Callable[..., Outcome]

# What a failing `drizzle-kit migrate` leaves.
DRIZZLES = "CREATE TABLE public.__drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at bigint)"
# The tables of Better Auth as its Drizzle generator makes them, with a user who was there before any credits.
BETTER_AUTH = """
    CREATE TABLE users (id text PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE,
        email_verified boolean DEFAULT false NOT NULL, image text,
        created_at timestamp DEFAULT now() NOT NULL, updated_at timestamp DEFAULT now() NOT NULL);
    CREATE TABLE sessions (id text PRIMARY KEY, expires_at timestamp NOT NULL, token text NOT NULL UNIQUE,
        created_at timestamp DEFAULT now() NOT NULL, updated_at timestamp NOT NULL, ip_address text,
        user_agent text, user_id text NOT NULL REFERENCES users ON DELETE CASCADE);
    INSERT INTO users (id, name, email) VALUES ('u1', 'Ada', 'ada@example.org');
    INSERT INTO sessions (id, expires_at, token, updated_at, user_id)
        VALUES ('s1', '2030-01-01', 't', '2026-01-01', 'u1');
"""
# As SQLModel makes them from plain strings and aware times.
SQLMODELS = """
    CREATE TABLE datasets (id uuid PRIMARY KEY, owner_id varchar NOT NULL, name varchar NOT NULL,
        slug varchar NOT NULL UNIQUE, created_at timestamptz NOT NULL);
    CREATE INDEX ix_datasets_owner_id ON datasets (owner_id)
"""
TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"


def migrate(run: Run, alias: str) -> Outcome:
    return run("migrate", "--database", alias)


def test_a_drizzle_build_that_failed_leaves_nothing_that_is_in_the_way(
    databases: Databases, run: Run
) -> None:
    """It leaves an empty record; and a record that has rows keeps them."""
    for rows in ([], [("a", 1), ("b", 2)]):
        emptied(databases, "auth")
        databases.execute("auth", DRIZZLES)
        for row in rows:
            insert = "INSERT INTO public.__drizzle_migrations (hash, created_at) VALUES (%s, %s)"
            databases.execute("auth", insert, *row)
        outcome = migrate(run, "auth")
        assert (outcome.err, outcome.code) == ("", 0)
        assert "beside Drizzle's record" in outcome.out
        assert run("verify_schema", "--database", "auth", "--strict").code == 0
        kept = "SELECT hash, created_at FROM public.__drizzle_migrations ORDER BY id"
        assert databases.execute("auth", kept) == rows


def test_tables_as_the_contract_says_are_recorded_as_migrated(
    databases: Databases, run: Run
) -> None:
    emptied(databases, "auth")
    url = databases.environment()["AUTH_DATABASE_URL"]
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    models("auth").create_all(engine)
    engine.dispose()
    databases.execute("auth", "INSERT INTO public.users (id, name, email) VALUES ('u', 'U', 'u')")
    outcome = migrate(run, "auth")
    assert (outcome.err, outcome.code) == ("", 0)
    assert "as the contract says: its migrations are recorded" in outcome.out
    assert "No migrations to apply" in migrate(run, "auth").out
    assert run("verify_schema", "--database", "auth", "--strict").code == 0
    assert databases.execute("auth", "SELECT id FROM public.users") == [("u",)]


def test_a_database_that_drizzle_has_built_is_adopted_with_its_rows(
    databases: Databases, run: Run
) -> None:
    emptied(databases, "auth")
    databases.execute("auth", BETTER_AUTH)
    refused = migrate(run, "auth")
    assert refused.code == 2
    assert "has built 2 of the 9 tables" in refused.err
    assert "(sessions, users): no migration is recorded" in refused.err
    assert "Run `manage.py adopt --database auth`" in refused.err
    assert len(refused.err.splitlines()) == 1

    plan = run("adopt", "--database", "auth", "--plan")
    assert plan.code == 1
    assert 'CREATE TABLE public."user_credits"' in plan.out
    guarded = run("adopt", "--database", "auth", "--no-input")
    assert guarded.code == 3
    assert "its name was not given" in guarded.err
    assert databases.execute("auth", TABLES) == [(2,)]

    name = databases.names["auth"]
    adopted = run("adopt", "--database", "auth", "--no-input", "--confirm", name)
    assert (adopted.err, adopted.code) == ("", 0), adopted
    assert "Adopted: auth_app.0001_initial and auth_app.0002_functions are recorded" in adopted.out
    rows = "SELECT u.name, s.token FROM public.users u JOIN public.sessions s ON s.user_id = u.id"
    assert databases.execute("auth", rows) == [("Ada", "t")]
    assert run("smoke_credits").code == 0
    assert "No migrations to apply" in migrate(run, "auth").out
    assert "nothing to adopt" in run("adopt", "--database", "auth").out


def test_what_costs_something_is_for_a_person_unless_there_are_no_rows(
    databases: Databases, run: Run
) -> None:
    """Times with a zone become times without: the table is written anew, and writers wait."""
    databases.mark("fltr", "development")
    row = (
        "INSERT INTO datasets (id, owner_id, name, slug, created_at) VALUES"
        " (gen_random_uuid(), 'u1', 'n', 's', '2026-01-01 12:00:00+02')"
    )
    for statements, allowed, code in (
        (SQLMODELS, (), 0),
        (f"{SQLMODELS}; {row}", (), 1),
        (f"{SQLMODELS}; {row}", ("--allow", "block-writers", "--allow", "rewrite-tables"), 0),
    ):
        emptied(databases, "fltr")
        databases.execute("fltr", statements)
        assert migrate(run, "fltr").code == 2
        outcome = run("adopt", "--database", "fltr", "--no-input", *allowed)
        assert outcome.code == code, outcome
        assert ("Adopted: " in outcome.out) == (code == 0)
        if code:
            assert "Not adopted, and nothing recorded: " in outcome.out
            assert migrate(run, "fltr").code == 2
        else:
            assert migrate(run, "fltr").code == 0
            assert run("verify_schema", "--database", "fltr", "--strict").code == 0
        kept = databases.execute("fltr", "SELECT slug FROM public.datasets")
        assert kept == ([("s",)] if row in statements else [])


def test_what_others_have_besides_stays_and_is_told(databases: Databases, run: Run) -> None:
    databases.mark("auth", "development")
    emptied(databases, "auth")
    databases.execute(
        "auth",
        BETTER_AUTH + "ALTER TABLE users ADD nickname text; CREATE TABLE posts (id int);"
        "INSERT INTO posts VALUES (1); UPDATE users SET nickname = 'a'",
    )
    outcome = run("adopt", "--database", "auth", "--no-input", "--format", "json")
    document = json.loads(outcome.out)
    assert (outcome.code, document["verdict"]) == (1, "drift")
    assert document["recorded"] == ["auth_app.0001_initial", "auth_app.0002_functions"]
    (database,) = document["databases"]
    objects = {name for each in database["findings"] for name in each["objects"]}
    assert objects >= {"users.nickname", "posts"}
    assert databases.execute("auth", "SELECT nickname FROM public.users") == [("a",)]
    assert databases.execute("auth", "SELECT id FROM public.posts") == [(1,)]


def process(databases: Databases, *arguments: str) -> subprocess.Popen[str]:
    import os

    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env={
            **os.environ,
            **databases.environment(),
            "DJANGO_SETTINGS_MODULE": "fltr_project.settings",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(databases: Databases, condition: str) -> None:
    deadline = time.monotonic() + 60
    while databases.execute("fltr", f"SELECT EXISTS ({condition})") != [(True,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_two_releases_at_once_wait_for_each_other(databases: Databases) -> None:
    emptied(databases, "fltr")
    with databases.connect("fltr") as other:
        other.execute("BEGIN")
        other.execute("SELECT pg_advisory_xact_lock(%s)", [locks.OPERATION_KEY])
        started = [process(databases, "migrate", "--database", "fltr") for _ in range(2)]
        waits = (
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database()) HAVING count(*) = 2"
        )
        wait_for(databases, waits)
        assert databases.execute("fltr", TABLES) == [(0,)]
        other.execute("COMMIT")
    for each in started:
        out, err = each.communicate(timeout=60)
        assert each.returncode == 0, out + err


@pytest.mark.slow
def test_error_another_program_makes_the_same_at_the_same_time(
    databases: Databases, run: Run
) -> None:
    emptied(databases, "fltr")
    with databases.connect("fltr") as other:
        other.execute("BEGIN")
        other.execute(SQLMODELS)
        started = process(databases, "migrate", "--database", "fltr")
        waits = "SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
        wait_for(databases, waits)
        other.execute("COMMIT")
    _, err = started.communicate(timeout=60)
    assert started.returncode == 5, err
    (line,) = err.splitlines()
    assert "Another program makes the same in" in line
    assert line.endswith("Run the command again: it looks at what is there by then.")
    assert "has built 1 of the 3 tables" in migrate(run, "fltr").err


def test_error_it_cannot_be_adopted(databases: Databases, run: Run) -> None:
    emptied(databases, "auth")
    nothing = run("adopt", "--database", "auth")
    assert nothing.code == 2
    assert "Build it with `manage.py migrate --database auth`" in nothing.err
    for arguments, words in (
        (("--database", "default"), "never touch"),
        (("--database", "auth", "--plan", "--format", "json"), "Leave one of them out"),
    ):
        outcome = run("adopt", *arguments)
        assert outcome.code == 2
        assert words in outcome.err + outcome.out


def test_only_looking_and_faking_ask_nothing(databases: Databases, run: Run) -> None:
    emptied(databases, "auth")
    databases.execute("auth", BETTER_AUTH)
    for option, code in (("--plan", 0), ("--check", 1)):
        assert run("migrate", "--database", "auth", option).code == code
    assert run("migrate", "--database", "auth", "--fake").code == 0
    assert databases.execute("auth", TABLES) == [(3,)]


def test_a_role_that_may_not_read_the_record_is_told_by_django(
    databases: Databases, run: Run
) -> None:
    settings: dict[str, Any] = {"app": ["auth_app"]}
    databases.execute(
        "auth", "DELETE FROM public.django_migrations WHERE app = ANY (%s)", settings["app"]
    )
    assert "its migrations are recorded" in migrate(run, "auth").out
