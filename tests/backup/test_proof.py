"""A backup that does not come back is found before anything is emptied, and where it is tried."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import connections
from pytest_django import Settings

from fltr_project.backup import directory, manifest, places
from fltr_project.backup.manifest import Proof
from fltr_project.postgres import addresses
from fltr_project.postgres.target import connect, identify
from tests.conftest import Databases, Outcome, drop_role
from tests.samples import full_fingerprint

Run = Callable[..., Outcome]
NUKE = ("nuke_schema", "--database", "auth")
LOSSES = [
    part
    for kind in ("tables", "types", "views", "functions", "indexes")
    for part in ("--accept-loss", kind)
]
USER = "INSERT INTO users (id, name, email) VALUES ('u', 'Ada', 'ada@example.com');"
# Databases whose archive is written and read without a word, and does not come back.
BROKEN = {
    # Since 17 an index is built with a search_path of its own, so the bare name is not found.
    "index_on_a_function_that_calls_by_bare_name": (
        17,
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';"
        "CREATE FUNCTION two(text) RETURNS int LANGUAGE plpgsql IMMUTABLE SET search_path = public"
        " AS 'BEGIN RETURN one(); END';"
        "CREATE INDEX odd ON users (two(name));"
        "CREATE OR REPLACE FUNCTION two(text) RETURNS int LANGUAGE plpgsql IMMUTABLE"
        " AS 'BEGIN RETURN one(); END';" + USER,
        "odd",
    ),
    "index_on_a_function_that_now_fails": (
        15,
        "CREATE FUNCTION half(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 / 2';"
        "CREATE TABLE halves (n int); INSERT INTO halves VALUES (0); CREATE INDEX odd ON halves (half(n));"
        "CREATE OR REPLACE FUNCTION half(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1 / $1'",
        "odd",
    ),
    "orphans_under_a_valid_key": (
        15,
        USER + "SET session_replication_role = replica;"
        "INSERT INTO sessions (user_id, token, expires_at) VALUES ('nobody', 't', now())",
        "sessions_user_id_users_id_fk",
    ),
    "check_that_reads_another_table_and_fails": (
        15,
        "CREATE TABLE allowed (n int); INSERT INTO allowed VALUES (1);"
        "CREATE FUNCTION is_allowed(m int) RETURNS bool LANGUAGE sql STABLE AS"
        " 'SELECT EXISTS (SELECT FROM public.allowed WHERE n = m)';"
        "CREATE TABLE uses (n int CONSTRAINT known CHECK (is_allowed(n))); INSERT INTO uses VALUES (1);"
        "DELETE FROM allowed",
        "uses",
    ),
    "duplicates_under_a_unique_index": (
        15,
        "CREATE TABLE d (n int); CREATE UNIQUE INDEX once ON d (n); INSERT INTO d VALUES (1);"
        "UPDATE pg_index SET indisready = false, indislive = false WHERE indexrelid = 'once'::regclass;"
        "INSERT INTO d VALUES (1);"
        "UPDATE pg_index SET indisready = true, indislive = true WHERE indexrelid = 'once'::regclass",
        "once",
    ),
    "domain_that_its_values_do_not_keep": (
        15,
        "CREATE DOMAIN small AS int; CREATE TABLE s (n small); INSERT INTO s VALUES (9);"
        "ALTER DOMAIN small ADD CONSTRAINT few CHECK (VALUE < 9) NOT VALID;"
        "UPDATE pg_constraint SET convalidated = true WHERE conname = 'few'",
        "small",
    ),
    "view_with_a_function_that_runs_while_it_is_filled": (
        15,
        "CREATE TABLE n (i int); INSERT INTO n VALUES (2);"
        "CREATE MATERIALIZED VIEW quotient AS SELECT 1 / (i - 1) AS q FROM n; UPDATE n SET i = 1",
        "quotient",
    ),
}


def consent(databases: Databases, run: Run) -> tuple[str, ...]:
    planned = json.loads(run(*NUKE, "--plan", "--format", "json").out)
    return ("--no-input", "--confirm", databases.names["auth"], "--token", planned["token"])


@pytest.fixture
def role(databases: Databases) -> Iterator[str]:
    """A plain owner of database ``auth``, who may not create databases."""
    name = f"{databases.names['auth']}_plain"
    database = databases.names["auth"]
    databases.execute("auth", f"CREATE ROLE {name}")
    databases.execute("auth", f"ALTER DATABASE {database} OWNER TO {name}")
    databases.execute(
        "auth",
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT oid::regclass AS c, relkind FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') LOOP"
        f" EXECUTE format('ALTER TABLE %s OWNER TO {name}', r.c); END LOOP;"
        " FOR r IN SELECT oid::regprocedure AS c FROM pg_proc WHERE pronamespace = 'public'::regnamespace LOOP"
        f" EXECUTE format('ALTER ROUTINE %s OWNER TO {name}', r.c); END LOOP; END $$",
    )
    databases.execute("auth", f"ALTER SCHEMA public OWNER TO {name}")
    options = connections["auth"].settings_dict["OPTIONS"]
    connections["auth"].close()
    options["assume_role"] = name
    yield name
    connections["auth"].close()
    del options["assume_role"]
    databases.execute("auth", f"ALTER DATABASE {database} OWNER TO CURRENT_USER")
    databases.execute("auth", f"REASSIGN OWNED BY {name} TO CURRENT_USER")
    drop_role(databases, name)


def no_server_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "programs", SimpleNamespace(SUPPORTED_MAJORS=()))


@pytest.mark.parametrize("kind", BROKEN)
def test_error_what_does_not_come_back_is_not_emptied(
    databases: Databases, run: Run, tmp_path: Path, kind: str
) -> None:
    since, statements, named = BROKEN[kind]
    if connect("auth").connection.info.server_version < since * 10000:
        pytest.skip(f"it fails since PostgreSQL {since}")
    databases.mark("auth", "production")
    databases.execute("auth", statements)
    before = full_fingerprint()
    outcome = run(*NUKE, "--backup-dir", str(tmp_path), *consent(databases, run), *LOSSES)
    assert outcome.code == 6, outcome
    assert "does not come back" in outcome.err
    assert named in outcome.err
    assert full_fingerprint() == before
    # The archive stays for whoever wants to look into it, and is not called proven.
    (stored,) = directory.stored(tmp_path)
    assert stored.manifest is not None
    assert stored.manifest.proof is None
    assert "read, not proven" in run("backup_database", "--list", "--backup-dir", str(tmp_path)).out


def test_an_old_archive_is_proven_at_any_time(
    databases: Databases, run: Run, tmp_path: Path
) -> None:
    databases.execute("auth", USER)
    here = ("--database", "auth", "--backup-dir", str(tmp_path))
    assert "read" in run("backup_database", *here, "--no-proof").out
    path = directory.stored(tmp_path)[0].path
    outcome = run("backup_database", *here, "--prove", "latest")
    assert (outcome.err, outcome.code) == ("", 0)
    assert f"Proven: {path} was restored into a scratch database on the same server" in outcome.out
    document = json.loads(
        run("backup_database", *here, "--prove", str(path), "--format", "json").out
    )
    (proven,) = document["proven"]
    major = str(connect("auth").connection.info.server_version // 10000)
    assert (proven["rows"], proven["proof"]["server"]) == (
        1 + databases.execute("auth", "SELECT count(*) FROM django_migrations")[0][0] + 2,
        major,
    )
    listed = run("backup_database", *here, "--list").out
    assert "proven just now" in listed


def test_error_a_proof_that_fails_forgets_the_older_one(
    databases: Databases, run: Run, tmp_path: Path
) -> None:
    databases.execute("auth", BROKEN["index_on_a_function_that_now_fails"][1])
    here = ("--database", "auth", "--backup-dir", str(tmp_path))
    assert run("backup_database", *here, "--no-proof").code == 0
    ((path, made),) = [(each.path, each.manifest) for each in directory.stored(tmp_path)]
    assert made is not None
    once = Proof("2026-01-01T00:00:00+00:00", "a server that is no more", "15", "18", 1.0)
    manifest.write(replace(made, proof=once), path.with_suffix(".json"))
    assert "proven" in run("backup_database", *here, "--list").out
    outcome = run("backup_database", *here, "--prove", str(path))
    assert outcome.code == 6, outcome
    assert "INDEX odd cannot be restored: division by zero" in outcome.err
    assert "read, not proven" in run("backup_database", *here, "--list").out


def test_who_may_not_create_databases_proves_on_a_server_of_its_own(
    role: str, databases: Databases, run: Run, tmp_path: Path, settings: Settings
) -> None:
    databases.execute("auth", f"SET ROLE {role}; {USER}")
    settings.PROOF_DIR = tmp_path / "proofs"
    here = ("--database", "auth", "--backup-dir", str(tmp_path / "backups"))
    outcome = run("backup_database", *here, "--proof")
    assert (outcome.err, outcome.code) == ("", 0)
    assert "restored into a server of its own, PostgreSQL" in outcome.out
    assert "apart from" not in outcome.out
    assert list((tmp_path / "proofs").iterdir()) == []


def test_or_at_another_address_without_its_roles(
    role: str,
    databases: Databases,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> None:
    no_server_here(monkeypatch)
    elsewhere = {**connections["fltr"].settings_dict, "NAME": "postgres"}
    settings.PROOF_DATABASE_URL = addresses.url_of(elsewhere)
    here = ("--database", "auth", "--backup-dir", str(tmp_path))
    outcome = run("backup_database", *here, "--proof")
    assert (outcome.err, outcome.code) == ("", 0)
    assert "restored into a scratch database at PROOF_DATABASE_URL" in outcome.out
    assert "apart from owners and grants, as its roles are not there" in outcome.out
    settings.PROOF_DATABASE_URL = "postgresql://nobody@127.0.0.1:1/none"
    outcome = run("backup_database", *here, "--proof")
    assert outcome.code == 0
    assert "Not proven: in a scratch database at PROOF_DATABASE_URL" in outcome.out


def test_error_nowhere_to_prove_is_said_before_a_protected_database_is_emptied(
    role: str, databases: Databases, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_server_here(monkeypatch)
    databases.mark("auth", "production")
    databases.execute("auth", f"SET ROLE {role}; {USER}")
    nuke = (*NUKE, "--backup-dir", str(tmp_path), *consent(databases, run))
    outcome = run(*nuke)
    assert outcome.code == 3, outcome
    assert "Guard 'proof'" in outcome.err
    assert "--accept-unproven" in outcome.err
    assert databases.execute("auth", "SELECT count(*) FROM users") == [(1,)]
    outcome = run(*nuke, "--accept-unproven")
    assert outcome.code == 0, outcome
    assert databases.execute("auth", "SELECT to_regclass('users')") == [(None,)]


def test_places_are_for_the_version_or_a_newer_one() -> None:
    target = identify(connect("auth"))
    names = [place.name for place in places.places("auth", target.major, [])]
    assert names[0] == "a scratch database on the same server"
    majors = [int(name.rpartition(" ")[2]) for name in names[1:]]
    assert majors == sorted(majors)
    assert all(major >= target.major for major in majors)


def test_the_plan_tells_when_a_backup_last_came_back(
    databases: Databases, run: Run, tmp_path: Path
) -> None:
    here = ("--database", "auth", "--backup-dir", str(tmp_path))
    planned = run("nuke_schema", *here, "--plan").out
    assert "None there is proven to come back." in planned
    assert run("backup_database", *here, "--proof").code == 0
    # A newer one that was only read takes nothing from it, and one of the other database adds nothing.
    assert run("backup_database", *here, "--no-proof").code == 0
    other = ("--database", "fltr", "--backup-dir", str(tmp_path))
    assert "None there is proven to come back." in run("nuke_schema", *other, "--plan").out
    assert "One there came back just now." in run("nuke_schema", *here, "--plan").out
    document = json.loads(run("nuke_schema", *here, "--plan", "--format", "json").out)
    (proof,) = (
        each.manifest.proof
        for each in directory.stored(tmp_path)
        if each.manifest and each.manifest.proof
    )
    assert document["plan"]["last_proven_at"] == proof.at
