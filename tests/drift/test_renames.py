"""What stands there under another name gets its name back, with its rows, indexes and keys."""

from __future__ import annotations

from typing import Any

import pytest

from fltr_project.catalog import contract
from fltr_project.catalog.read import read
from fltr_project.drift import renames
from fltr_project.drift.compare import Severity, differences
from fltr_project.drift.repair import executor, renaming
from fltr_project.drift.repair.statement import Hazard
from fltr_project.postgres.target import connect, identify
from tests.conftest import Databases

pytestmark = pytest.mark.slow

PEOPLE = """
    INSERT INTO users (id, name, email) VALUES ('u', 'n', 'e');
    INSERT INTO sessions (user_id, token, expires_at) VALUES ('u', 't', now());
    INSERT INTO verifications (identifier, value, expires_at) VALUES ('i', 'v', now());
"""
DATASETS = """
    INSERT INTO datasets (owner_id, name, slug) VALUES ('u', 'n', 's');
    INSERT INTO documents (dataset_id, filename, object_key) SELECT id, 'f', 'k' FROM datasets;
"""
# Every column of a table as the JavaScript programs call it.
CAMEL = """
    DO $$ DECLARE c text; BEGIN FOR c IN SELECT attname FROM pg_attribute
    WHERE attrelid = '{0}'::regclass AND attnum > 0 AND attname LIKE '%\\_%' LOOP
    EXECUTE format('ALTER TABLE {0} RENAME COLUMN %I TO %I', c,
        lower(left(c, 1)) || substr(replace(initcap(replace(c, '_', ' ')), ' ', ''), 2));
    END LOOP; END $$;
"""
# The drift, and what is left to somebody to decide on.
CASES = {
    "table and column": (
        "ALTER TABLE verifications RENAME TO verification;"
        "ALTER TABLE verification RENAME identifier TO ident",
        [],
    ),
    "old table with a column more": (
        "ALTER TABLE verifications RENAME TO verifications_old;"
        "ALTER TABLE verifications_old ADD COLUMN note text",
        ["verifications.note"],
    ),
    "old table with a column less": (
        "ALTER TABLE verifications RENAME TO verifications_old;"
        "ALTER TABLE verifications_old DROP COLUMN updated_at",
        [],
    ),
    "one camel": ('ALTER TABLE sessions RENAME user_id TO "userId"', []),
    "camels of other types, one beside another": (
        'ALTER TABLE sessions RENAME ip_address TO "ipAddress"; ALTER TABLE sessions ALTER "ipAddress" TYPE varchar;'
        'ALTER TABLE users RENAME image TO "Image"; ALTER TABLE users ADD COLUMN "IMAGE" integer',
        ["users.IMAGE"],
    ),
    "all camels": (CAMEL.format("sessions") + CAMEL.format("users") + CAMEL.format("teams"), []),
    "table that is pointed at": ('ALTER TABLE users RENAME TO "user"', []),
    "camels in a table with a word for a name": (
        CAMEL.format("credit_transactions") + CAMEL.format("users") + "ALTER TABLE users RENAME TO"
        ' "user"; ALTER TABLE credit_transactions RENAME TO "creditTransactions"',
        [],
    ),
    "renamed and without its index": (
        "ALTER TABLE sessions RENAME TO session; DROP INDEX sessions_user_id_idx;"
        "ALTER TABLE session ALTER ip_address SET NOT NULL",
        [],
    ),
}


def drift(alias: str) -> list[Any]:
    found = read(connect(alias), contract.tables(alias))
    differs = differences(contract.load(alias), found)
    return [each for each in differs if each.finding.severity is not Severity.NOTE]


def apply(alias: str, *allowed: Hazard) -> int:
    found = read(connect(alias), contract.tables(alias))
    every = renaming.repairs(drift(alias), contract.load(alias), found)
    return executor.apply(identify(connect(alias)), every, allowed=frozenset(allowed))


@pytest.mark.parametrize("case", CASES)
def test_rows_indexes_and_keys_stay(databases: Databases, case: str) -> None:
    statements, left = CASES[case]
    databases.execute("auth", PEOPLE)
    if "ip_address" in statements:
        databases.execute("auth", "UPDATE sessions SET ip_address = ''")
    before = databases.execute("auth", "SELECT id FROM verifications"), storage(databases)
    databases.execute("auth", statements)
    assert apply("auth") > 0
    assert [each.finding.object for each in drift("auth")] == left
    assert apply("auth") == 0
    for table in ("users", "sessions", "verifications", "user_credits", "credit_transactions"):
        assert databases.execute("auth", f"SELECT count(*) FROM {table}") == [(1,)]
    assert databases.execute("auth", "SELECT id FROM verifications") == before[0]
    # Nothing was built anew but what was gone.
    gone = {("sessions_user_id_idx",)} if "DROP INDEX" in statements else set()
    assert {each[:1] for each in set(before[1]) - set(storage(databases))} == gone


def storage(databases: Databases) -> list[tuple[Any, ...]]:
    """The files of all tables and indexes, by name."""
    return databases.execute(
        "auth",
        "SELECT relname, relfilenode FROM pg_class WHERE relkind IN ('r', 'i')"
        " AND relnamespace = 'public'::regnamespace",
    )


def test_it_is_the_same_in_the_other_database(databases: Databases) -> None:
    databases.execute("fltr", DATASETS)
    databases.execute(
        "fltr",
        CAMEL.format("documents") + 'ALTER TABLE documents RENAME TO "Document";'
        'ALTER TABLE datasets RENAME id TO "ID"',
    )
    assert apply("fltr") > 0
    assert drift("fltr") == []
    assert databases.execute("fltr", "SELECT count(*) FROM documents") == [(1,)]


def test_where_there_is_a_choice_nothing_is_renamed(databases: Databases) -> None:
    databases.execute(
        "auth",
        "ALTER TABLE verifications RENAME TO old; CREATE TABLE other (LIKE old INCLUDING DEFAULTS);"
        "ALTER TABLE users RENAME image TO picture; ALTER TABLE users ADD COLUMN photo text",
    )
    found = read(connect("auth"), contract.tables("auth"))
    assert not renames.find(contract.load("auth"), found)
    # Nor is it one of two that are called alike, both with another type.
    databases.execute("auth", 'ALTER TABLE sessions RENAME user_id TO "userId"')
    databases.execute("auth", 'ALTER TABLE sessions ALTER "userId" TYPE varchar(90)')
    databases.execute("auth", "ALTER TABLE sessions ADD COLUMN userid integer")
    found = read(connect("auth"), contract.tables("auth"))
    assert not renames.find(contract.load("auth"), found)


def test_a_view_in_the_place_of_the_table_is_for_a_person_to_drop(databases: Databases) -> None:
    databases.execute("auth", PEOPLE)
    databases.execute(
        "auth",
        "ALTER TABLE verifications RENAME TO verifications_data;"
        "CREATE VIEW verifications AS SELECT *, true AS more FROM verifications_data",
    )
    assert apply("auth") == 0
    assert apply("auth", Hazard.DROPS_OTHERS) == 2
    assert drift("auth") == []
    assert databases.execute("auth", "SELECT count(*) FROM verifications") == [(1,)]
