from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from auth_app.smoke import run as smoke
from tests.catalog.contract_words import AUTH_FOREIGN_KEYS, FLTR_FOREIGN_KEYS, sizes, words
from tests.conftest import Databases, Outcome

EXPECTED = {
    "auth": (words("auth").tables | {"django_migrations"}, AUTH_FOREIGN_KEYS, sizes("auth")),
    "fltr": (words("fltr").tables | {"django_migrations"}, FLTR_FOREIGN_KEYS, sizes("fltr")),
}


def test_it_rebuilds_both_and_reports_every_table_and_foreign_key(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    outcome = run("clean_slate", "--no-input", "--format", "json")
    assert (outcome.err, outcome.code) == ("", 0)
    document = json.loads(outcome.out)
    assert document["verdict"] == "clean"
    # What was set aside is gone by now.
    assert [database["findings"] for database in document["databases"]] == [[], []]
    for database in document["databases"]:
        tables, foreign_keys, _ = EXPECTED[database["alias"]]
        assert set(database["tables"]) == tables
        keys = {
            (
                f"{k['table']}.{k['columns'][0]}",
                f"{k['target']}.{k['target_columns'][0]}",
                k["on_delete"],
            )
            for k in database["foreign_keys"]
        }
        assert keys == foreign_keys
        assert len(database["foreign_keys"]) == len(foreign_keys)
        assert database["database"] == databases.names[database["alias"]]
        assert database["server"]
    for step in document["steps"]:
        assert step["ok"]
        assert step["server"]
        assert step["milliseconds"] >= 0


def test_it_tells_the_same_to_a_person(databases: Databases, run: Callable[..., Outcome]) -> None:
    outcome = run("clean_slate", "--no-input")
    assert (outcome.err, outcome.code) == ("", 0)
    for alias, (tables, foreign_keys, sizes_) in EXPECTED.items():
        name = databases.names[alias]
        assert f"{name}: {sizes_[0]}" in outcome.out
        assert f"{name}: {sizes_[1]}" in outcome.out
        for table in tables:
            assert table in outcome.out
        for column, target, rule in foreign_keys:
            (line,) = [line for line in outcome.out.splitlines() if line.split()[:1] == [column]]
            assert line.endswith(f"{target} ON DELETE {rule}")
    assert outcome.out.splitlines()[-1].startswith("Clean slate: ")
    assert "rebuilt, verified and proven" in outcome.out
    assert "\x1b" not in outcome.out


def test_it_leaves_nothing_of_what_was_there(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.mark("auth", "development")
    databases.execute("auth", "CREATE TABLE notes (id int); CREATE TYPE mood AS ENUM ('ok')")
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org')")
    assert run("clean_slate", "--no-input").code == 0
    assert databases.execute("auth", "SELECT count(*) FROM users") == [(0,)]
    assert databases.execute("auth", "SELECT to_regclass('notes'), to_regtype('mood')") == [
        (None, None)
    ]
    assert (
        databases.execute("auth", "SELECT nspname FROM pg_namespace WHERE nspname ~ 'aside'") == []
    )


def test_it_rebuilds_one_database_and_leaves_the_other(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    for alias, table in (("auth", "notes"), ("fltr", "notes")):
        databases.execute(alias, f"CREATE TABLE {table} (id int)")
    outcome = run("clean_slate", "--no-input", "--database", "fltr")
    assert outcome.code == 0
    # There are no credits to prove in it.
    assert "rebuilt and verified in" in outcome.out
    assert databases.execute("auth", "SELECT to_regclass('notes') IS NULL") == [(False,)]
    assert databases.execute("fltr", "SELECT to_regclass('notes') IS NULL") == [(True,)]


def test_error_a_failed_proof_brings_everything_back(
    databases: Databases, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.mark("auth", "development")
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org')")
    databases.execute("fltr", "CREATE TABLE notes (id int)")
    failed = smoke.Smoke((smoke.CheckResult("cascade", False, "something is left", 1),))
    monkeypatch.setattr(smoke, "run", lambda alias: failed)
    outcome = run("clean_slate", "--no-input")
    assert outcome.code == 7
    assert "cascade: something is left" in outcome.err
    assert "every database is as it was" in outcome.err
    assert databases.execute("auth", "SELECT name FROM users") == [("Ada",)]
    assert databases.execute("fltr", "SELECT to_regclass('notes') IS NULL") == [(False,)]


def test_error_rows_in_an_unmarked_database_count_as_production(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org')")
    for command in (["clean_slate"], ["nuke_schema", "--database", "auth"]):
        outcome = run(*command, "--no-input")
        assert outcome.code == 3
        assert "Guard 'environment'" in outcome.err
        assert databases.names["auth"] in outcome.err
    assert databases.execute("auth", "SELECT name FROM users") == [("Ada",)]


def test_it_is_rebuilt_by_hand_too(databases: Databases, run: Callable[..., Outcome]) -> None:
    assert run("nuke_schema", "--database", "auth", "--no-input").code == 0
    assert run("verify_schema", "--database", "auth").code == 1
    assert run("migrate", "--database", "auth", "-v0").code == 0
    assert run("migrate", "--database", "fltr", "-v0").code == 0
    assert run("migrate", "-v0").code == 0
    assert run("verify_schema").code == 0


def test_it_restores_what_hung_on_the_schema(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    # The wheel's servers have the one, a distribution's the other.
    ((extension, type_, value),) = databases.execute(
        "fltr",
        "SELECT name, type, value FROM (VALUES ('vector', 'vector(2)', '[1,2]'),"
        " ('citext', 'citext', 'Ada')) AS known (name, type, value)"
        " JOIN pg_available_extensions USING (name) LIMIT 1",
    )
    role = f"reader_{databases.names['fltr']}"
    databases.execute("fltr", f"CREATE ROLE {role}")
    try:
        databases.execute(
            "fltr",
            f"COMMENT ON SCHEMA public IS 'data of FLTR';"
            f"GRANT USAGE ON SCHEMA public TO {role} WITH GRANT OPTION;"
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {role};"
            f"CREATE EXTENSION {extension} SCHEMA public",
        )
        databases.execute(
            "fltr", f"CREATE SCHEMA other; CREATE TABLE other.kept (e public.{type_})"
        )
        databases.execute("fltr", "INSERT INTO other.kept VALUES (%s)", value)
        before = databases.execute("fltr", HANGING)
        assert run("nuke_schema", "--database", "fltr", "--no-input").code == 0
        assert databases.execute("fltr", HANGING) == before
        assert databases.execute("fltr", "SELECT e::text FROM other.kept") == [(value,)]
    finally:
        databases.execute("fltr", f"DROP OWNED BY {role}; DROP ROLE {role}")


# Owner, comment (without what migrations are to put back), grants, default privileges and extensions, by name.
HANGING = r"""
    SELECT n.nspowner::regrole::text,
           regexp_replace(obj_description(n.oid, 'pg_namespace'), '\nput back: [^\n]*', ''),
           array(SELECT a::text FROM unnest(n.nspacl) a ORDER BY 1),
           array(SELECT d.defaclacl::text FROM pg_default_acl d WHERE d.defaclnamespace = n.oid),
           array(SELECT extname::text FROM pg_extension e WHERE e.extnamespace = n.oid)
    FROM pg_namespace n WHERE nspname = 'public'
"""


def test_it_undoes_a_nuke_until_it_is_purged(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org')")
    nuke = ["nuke_schema", "--database", "auth"]
    assert run(*nuke, "--no-input", "--keep").code == 0
    assert databases.execute("auth", "SELECT to_regclass('users')") == [(None,)]
    assert run(*nuke, "--undo").code == 0
    assert databases.execute("auth", "SELECT name FROM users") == [("Ada",)]
    assert run("verify_schema").code == 0
    assert run(*nuke, "--undo").code == 2
    assert run(*nuke, "--no-input", "--keep").code == 0
    assert run(*nuke, "--purge").code == 0
    assert run(*nuke, "--undo").code == 2
