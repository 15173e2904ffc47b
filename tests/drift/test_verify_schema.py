"""The drift that really happened, each found by `verify_schema` with exit code 1."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.db import connections

from tests.catalog import contract_words
from tests.catalog.contract_words import words
from tests.conftest import Databases, Outcome

TEAM_OWNER = "ALTER TABLE teams DROP CONSTRAINT {}; ALTER TABLE teams ADD FOREIGN KEY (owner_id) "

# alias, statement ({} is the name of the foreign key it is about), object found, part of `found`
DRIFTS = [
    ("auth", "ALTER TABLE users ADD credits integer", "users.credits", "integer NULL"),
    (
        "auth",
        "ALTER TABLE users ADD total_credits_purchased integer NOT NULL DEFAULT 0",
        "users.total_credits_purchased",
        "integer NOT NULL",
    ),
    ("auth", "ALTER TABLE users ADD team_id text", "users.team_id", "text NULL"),
    ("fltr", "CREATE TABLE users (id text PRIMARY KEY, credits integer)", "users", "table"),
    ("auth", "ALTER TABLE users ALTER image TYPE varchar", "users.image", "character varying"),
    (
        "fltr",
        "ALTER TABLE documents ALTER filename TYPE varchar(255)",
        "documents.filename",
        "character varying(255)",
    ),
    *(
        (
            "auth",
            f"ALTER TABLE {table} DROP CONSTRAINT {{}}; ALTER TABLE {table} ADD FOREIGN KEY"
            f" ({column}) REFERENCES user_credits (user_id) ON DELETE CASCADE",
            f"{table}.{column}",
            "user_credits.user_id",
        )
        for table, column in (
            ("credit_transactions", "user_id"),
            ("api_key_credits", "user_id"),
            ("teams", "owner_id"),
        )
    ),
    ("auth", "ALTER TABLE user_credits DROP CONSTRAINT {}", "user_credits.user_id", None),
    *(
        (
            "auth",
            TEAM_OWNER + f"REFERENCES users (id) {rule}",
            "teams.owner_id",
            found,
        )
        for rule, found in (
            ("", "ON DELETE NO ACTION"),
            ("ON DELETE SET NULL", "ON DELETE SET NULL"),
            ("ON DELETE RESTRICT", "ON DELETE RESTRICT"),
        )
    ),
    (
        "auth",
        "DROP TRIGGER users_open_credit_account ON users",
        "trigger users_open_credit_account of users",
        None,
    ),
    ("auth", "ALTER TABLE users DISABLE TRIGGER users_open_credit_account", "", "disabled"),
    (
        "auth",
        "CREATE OR REPLACE FUNCTION users_open_credit_account() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NULL; END'",
        "function users_open_credit_account()",
        "body",
    ),
    ("auth", "ALTER TABLE users ALTER created_at DROP DEFAULT", "users.created_at", "none"),
    ("auth", "ALTER TABLE users ALTER email DROP NOT NULL", "users.email", "yes"),
    ("auth", "ALTER TABLE users DROP CONSTRAINT users_email_unique", "unique of users", None),
    ("auth", "DROP INDEX sessions_user_id_idx", "index of sessions (user_id)", None),
    ("auth", "ALTER TABLE teams DROP CONSTRAINT teams_credits_check", "check of teams", None),
]


@pytest.mark.parametrize(("alias", "statement", "named", "found"), DRIFTS)
def test_it_finds_the_drift_that_happened(
    databases: Databases,
    run: Callable[..., Outcome],
    alias: str,
    statement: str,
    named: str,
    found: str | None,
) -> None:
    if "{}" in statement:
        table, _, column = named.partition(".")
        statement = statement.format(foreign_key(databases, table, column))
    databases.execute(alias, statement)
    outcome = run("verify_schema", "--format", "json")
    assert outcome.code == 1, outcome
    assert outcome.err == ""
    document = json.loads(outcome.out)
    assert document["verdict"] == "drift"
    (findings,) = [
        database["findings"] for database in document["databases"] if database["findings"]
    ]
    (finding,) = [finding for finding in findings if finding["severity"] == "error"]
    assert finding["object"].startswith(named)
    assert finding["meaning"].endswith(".")
    if found is None:
        assert finding["found"] is None
    else:
        assert found in finding["found"]
    text = run("verify_schema")
    assert text.code == 1
    assert finding["object"] in text.out


@pytest.mark.parametrize("alias", ["auth", "fltr"])
def test_it_names_every_missing_table(
    databases: Databases, run: Callable[..., Outcome], alias: str
) -> None:
    for table in sorted(words(alias).tables):
        outcome = run("verify_schema", "--database", alias, "--format", "json")
        assert outcome.code == 0, outcome
        databases.execute(alias, f'ALTER TABLE "{table}" RENAME TO elsewhere')
        outcome = run("verify_schema", "--database", alias, "--format", "json")
        assert outcome.code == 1
        objects = {f["object"] for f in json.loads(outcome.out)["databases"][0]["findings"]}
        assert {table, "elsewhere"} <= objects
        databases.execute(alias, f'ALTER TABLE elsewhere RENAME TO "{table}"')


def test_it_says_that_a_stray_table_belongs_to_the_other_database(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.execute("fltr", "CREATE TABLE users (id text PRIMARY KEY)")
    assert "belongs to" in run("verify_schema").out


def test_it_is_calm_about_a_clean_pair_and_says_what_it_looked_at(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    outcome = run("verify_schema")
    assert (outcome.code, outcome.err) == (0, "")
    auth, fltr = outcome.out.splitlines()
    assert databases.names["auth"] in auth
    for size in contract_words.sizes("auth"):
        assert size in auth
    assert databases.names["fltr"] in fltr
    for size in contract_words.sizes("fltr"):
        assert size in fltr


def test_it_reads_without_any_right_but_to_connect(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    role = f"reader_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}")
    databases.execute("auth", "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    options = connections["auth"].settings_dict["OPTIONS"]
    options["assume_role"] = role
    try:
        outcome = run("verify_schema", "--database", "auth")
    finally:
        del options["assume_role"]
        databases.execute("auth", f"DROP ROLE {role}")
    assert outcome.err == ""
    assert contract_words.sizes("auth")[0] in outcome.out
    assert outcome.code == 0


def foreign_key(databases: Databases, table: str, column: str) -> str:
    ((name,),) = databases.execute(
        "auth",
        "SELECT conname FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid"
        " AND attnum = conkey[1] WHERE contype = 'f' AND conrelid = %s::regclass AND attname = %s",
        table,
        column,
    )
    return f'"{name}"'
