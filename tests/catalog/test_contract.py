from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connections

from fltr_project.catalog import contract
from fltr_project.catalog.read import read
from tests.conftest import ALIASES, Databases

from . import contract_words


def differences(databases: Databases, alias: str) -> list[str]:
    return contract_words.differences(alias, lambda query: databases.execute(alias, query))


@pytest.mark.parametrize("alias", ALIASES)
def test_it_builds_what_the_contract_says_in_its_own_words(
    databases: Databases, alias: str
) -> None:
    assert differences(databases, alias) == []


@pytest.mark.parametrize(
    ("alias", "statement", "difference"),
    [
        (
            "auth",
            "ALTER TABLE users ALTER name TYPE varchar(255)",
            "column users.name is character varying null no, not text null no",
        ),
        ("auth", "ALTER TABLE teams DROP COLUMN name", "column teams.name is missing"),
        ("auth", "ALTER TABLE users ADD credits int", "column users.credits must not exist"),
        ("auth", "ALTER TABLE teams ADD plan text NOT NULL", "column teams.plan must not exist"),
        (
            "auth",
            "ALTER TABLE sessions ALTER id DROP DEFAULT",
            "column sessions.id has the default",
        ),
        (
            "auth",
            "DROP INDEX sessions_user_id_idx",
            "sessions.user_id has no index sessions_user_id_idx",
        ),
        (
            "auth",
            "ALTER TABLE users DROP CONSTRAINT users_email_unique",
            "users.email is not unique as",
        ),
        (
            "auth",
            "ALTER TABLE teams DROP CONSTRAINT teams_credits_check",
            "check teams_credits_check is None",
        ),
        (
            "auth",
            "DROP INDEX credit_transactions_user_id_created_at_idx",
            "credit_transactions.user_id has no index credit_transactions_user_id_created_at_idx",
        ),
        (
            "auth",
            "ALTER TABLE users RENAME CONSTRAINT users_email_unique TO users_email_key",
            "users.email is not unique as users_email_unique",
        ),
        (
            "auth",
            "ALTER TABLE sessions ALTER CONSTRAINT sessions_user_id_users_id_fk DEFERRABLE",
            "foreign key sessions_user_id_users_id_fk is deferrable",
        ),
        (
            "auth",
            "ALTER TABLE sessions RENAME CONSTRAINT sessions_user_id_users_id_fk TO sessions_fk",
            "foreign key sessions_user_id_users_id_fk is missing",
        ),
        ("auth", "CREATE UNIQUE INDEX one_name ON users (name)", "one_name makes users unique by"),
        ("auth", "DROP TRIGGER users_open_credit_account ON users", "no trigger opens"),
        ("auth", "ALTER TABLE users DISABLE TRIGGER ALL", "no trigger opens"),
        ("auth", "CREATE TABLE notes (id int)", "table notes is unexpected"),
        ("fltr", "CREATE TABLE users (id text)", "table users is unexpected"),
        ("fltr", "DROP TABLE documents", "foreign key ('documents.dataset_id', 'datasets.id', "),
        (
            "fltr",
            "ALTER TABLE datasets DROP CONSTRAINT datasets_pkey CASCADE",
            "the primary key of datasets is None, not id",
        ),
    ],
)
def test_its_words_would_catch_a_drifted_model(
    databases: Databases, alias: str, statement: str, difference: str
) -> None:
    databases.execute(alias, statement)
    assert any(found.startswith(difference) for found in differences(databases, alias))


@pytest.mark.parametrize("alias", ALIASES)
def test_its_contract_file_is_that_of_a_freshly_migrated_database(
    databases: Databases, alias: str
) -> None:
    connection = connections[alias]
    connection.ensure_connection()
    catalog = read(connection, contract.tables(alias))
    assert contract.dump(catalog) == contract.path(alias).read_text(encoding="utf-8"), (
        "run `manage.py verify_schema --write-contract`"
    )


@pytest.mark.django_db(databases=["default", "auth", "fltr"])
def test_its_models_have_no_change_without_a_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("alias", ALIASES)
def test_it_migrates_back_to_nothing(databases: Databases, alias: str) -> None:
    label = {"auth": "auth_app", "fltr": "data_app"}[alias]
    call_command("migrate", label, "zero", database=alias, verbosity=0)
    tables = {name for (name,) in databases.execute(alias, contract_words.TABLES)}
    functions = databases.execute(
        alias, "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )
    assert tables == {"django_migrations"}
    assert functions == []
    call_command("migrate", database=alias, verbosity=0)
    assert differences(databases, alias) == []
