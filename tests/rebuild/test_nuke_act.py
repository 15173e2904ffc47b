from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections

from fltr_project.rebuild import attachments
from tests.conftest import ALIASES, Databases, Outcome
from tests.samples import extension, full_fingerprint

USER = "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com')"
# What DROP SCHEMA and CREATE SCHEMA lose of it, one query a kind (measured: 9 of 12 were lost).
SNAPSHOT = {
    "owner": "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'",
    "grants": "SELECT unnest(nspacl)::text FROM pg_namespace WHERE nspname = 'public' ORDER BY 1",
    "default privileges": "SELECT defaclrole::regrole::text, defaclnamespace::regnamespace::text,"
    " defaclobjtype::text, defaclacl::text FROM pg_default_acl"
    " WHERE defaclnamespace::regnamespace::text NOT LIKE 'public_aside_%' ORDER BY 1, 2, 3",
    "comment": "SELECT obj_description('public'::regnamespace)",
    "extensions": "SELECT extname, extnamespace::regnamespace::text, extowner::regrole::text"
    " FROM pg_extension ORDER BY 1",
    "columns of their types elsewhere": "SELECT id, v::text FROM other.vectors ORDER BY 1",
    "whole-schema publications": "SELECT pubname, pnnspid::regnamespace::text FROM pg_publication p"
    " JOIN pg_publication_namespace n ON n.pnpubid = p.oid ORDER BY 1",
    "published tables": "SELECT pubname, schemaname, tablename, attnames::text, rowfilter"
    " FROM pg_publication_tables WHERE pubname <> 'everything' ORDER BY 1, 2, 3",
    "publications": "SELECT pubname, puballtables FROM pg_publication ORDER BY 1",
    "event triggers": "SELECT evtname, evtenabled::text, evtfoid::regprocedure::text"
    " FROM pg_event_trigger ORDER BY 1",
    "database and role settings": "SELECT unnest(setconfig) FROM pg_db_role_setting s"
    " JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = current_database() ORDER BY 1",
    "large objects": "SELECT oid, encode(lo_get(oid), 'escape') FROM pg_largeobject_metadata",
}


def snapshot(databases: Databases, alias: str = "auth") -> dict[str, list[tuple[Any, ...]]]:
    return {kind: databases.execute(alias, query) for kind, query in SNAPSHOT.items()}


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {kind: (before[kind], after[kind]) for kind in before if before[kind] != after[kind]}


def prepare(databases: Databases, reader: str, tables: str | None) -> None:
    """Hang on the schema all that a superuser can; published by table where tables are made again."""
    it = extension(databases)
    statements = f"""
        GRANT USAGE ON SCHEMA public TO {reader} WITH GRANT OPTION;
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {reader};
        ALTER DEFAULT PRIVILEGES GRANT SELECT ON SEQUENCES TO {reader};
        COMMENT ON SCHEMA public IS 'the product''s tables';
        CREATE EXTENSION IF NOT EXISTS {it.name} SCHEMA public;
        CREATE SCHEMA other;
        CREATE TABLE other.vectors (id int, v public.{it.type});
        INSERT INTO other.vectors VALUES (1, '{it.value}');
        CREATE PUBLICATION everything FOR ALL TABLES;
        SELECT lo_from_bytea(4242, 'kept');
    """
    databases.execute("auth", statements)
    if tables:
        databases.execute("auth", tables)


@pytest.fixture
def roles(databases: Databases) -> Iterator[tuple[str, str]]:
    """A role that owns database ``auth`` and is no superuser, and one that owns nothing."""
    suffix = databases.names["auth"]
    owner, reader = f"owner_{suffix}", f"reader_{suffix}"
    databases.execute("auth", f"CREATE ROLE {owner} LOGIN; CREATE ROLE {reader} LOGIN")
    yield owner, reader
    connections["auth"].close()
    for alias in ALIASES:
        for role in (owner, reader):
            databases.execute(alias, f"DROP OWNED BY {role} CASCADE")
    databases.execute("auth", f"ALTER DATABASE {suffix} OWNER TO CURRENT_USER")
    databases.execute("auth", f"DROP ROLE {owner}; DROP ROLE {reader}")


@contextmanager
def connected_as(role: str, alias: str = "auth") -> Iterator[None]:
    connection = connections[alias]
    connection.close()
    before = connection.settings_dict["USER"]
    connection.settings_dict["USER"] = role
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["USER"] = before


def hand_over(databases: Databases, owner: str) -> None:
    """Give the database and everything in it to a role that is no superuser."""
    name = databases.names["auth"]
    databases.execute("auth", f"ALTER DATABASE {name} OWNER TO {owner}")
    tables = databases.execute(
        "auth",
        "SELECT format('ALTER %s %I.%I OWNER TO ', CASE relkind WHEN 'S' THEN 'SEQUENCE'"
        " ELSE 'TABLE' END, nspname, relname) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname IN ('public', 'other') AND (relkind = 'r' OR relkind = 'S' AND NOT EXISTS"
        " (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i')))",
    )
    routines = databases.execute(
        "auth",
        "SELECT format('ALTER ROUTINE %s OWNER TO ', p.oid::regprocedure) FROM pg_proc p"
        " WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS"
        " (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')",
    )
    for (statement,) in (*tables, *routines):
        databases.execute("auth", f"{statement}{owner}")


def test_a_nuke_loses_nothing_that_hangs_on_the_schema_as_superuser(
    databases: Databases, roles: tuple[str, str], run: Callable[..., Outcome]
) -> None:
    prepare(
        databases,
        roles[1],
        """
        CREATE PUBLICATION whole FOR TABLES IN SCHEMA public;
        CREATE FUNCTION noticing() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END';
        CREATE EVENT TRIGGER notices ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
            EXECUTE FUNCTION noticing();
        """,
    )
    databases.mark("auth", "test")
    before, content = snapshot(databases), full_fingerprint()
    outcome = run("nuke_schema", "--database", "auth", "--no-input", "--keep")
    assert (outcome.err, outcome.code) == ("", 0)
    after = snapshot(databases)
    # What migrations are to put back is written down in the comment until then.
    ((comment,),) = after.pop("comment")
    assert attachments.with_kept(comment, ()) == before["comment"][0][0]
    # The tables of the schema are what it was to take.
    assert difference({**before, "comment": None}, {**after, "comment": None}) == {
        "published tables": (before["published tables"], [])
    }
    assert run("migrate", "--database", "auth", "--verbosity", "0").code == 0
    assert difference(before, snapshot(databases)) == {}
    # Bringing the old schema back is a nuke of the new one: nothing is lost either.
    assert run("nuke_schema", "--database", "auth", "--undo", "--no-input").code == 0
    assert difference(before, snapshot(databases)) == {}
    assert full_fingerprint() == content


def test_a_clean_slate_loses_nothing_that_hangs_on_the_schema_as_superuser(
    databases: Databases, roles: tuple[str, str], run: Callable[..., Outcome]
) -> None:
    prepare(
        databases,
        roles[1],
        """
        CREATE PUBLICATION parts FOR TABLE users (id, name), sessions, credit_transactions
            WHERE (id <> '');
        CREATE PUBLICATION whole FOR TABLES IN SCHEMA public;
        """,
    )
    databases.mark("auth", "test")
    before = snapshot(databases)
    outcome = run("clean_slate", "--database", "auth", "--no-input")
    assert (outcome.err, outcome.code) == ("", 0)
    assert difference(before, snapshot(databases)) == {}


def test_a_clean_slate_loses_nothing_that_hangs_on_the_schema_as_plain_owner(
    databases: Databases, roles: tuple[str, str], run: Callable[..., Outcome]
) -> None:
    owner, reader = roles
    databases.mark("auth", "test")
    it = extension(databases)
    maker = f"maker_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {maker} LOGIN SUPERUSER")
    with databases.connect("auth", user=maker) as session:
        # Only a superuser makes this extension; handing over all that a role owns includes it.
        session.execute(f"CREATE EXTENSION {it.name} SCHEMA public")
        session.execute(f"REASSIGN OWNED BY {maker} TO {owner}")
    databases.execute("auth", f"DROP ROLE {maker}")
    databases.execute(
        "auth",
        f"""
        GRANT USAGE ON SCHEMA public TO {reader} WITH GRANT OPTION;
        ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public
            GRANT SELECT ON TABLES TO {reader};
        COMMENT ON SCHEMA public IS 'the product''s tables';
        CREATE SCHEMA other;
        CREATE TABLE other.vectors (id int, v public.{it.type});
        INSERT INTO other.vectors VALUES (1, '{it.value}');
        CREATE FUNCTION other.noticing() RETURNS event_trigger LANGUAGE plpgsql
            AS 'BEGIN NULL; END';
        CREATE EVENT TRIGGER notices ON ddl_command_end EXECUTE FUNCTION other.noticing();
        CREATE PUBLICATION everything FOR ALL TABLES;
        """,
    )
    hand_over(databases, owner)
    databases.execute("auth", f"ALTER SCHEMA other OWNER TO {owner}")
    with connected_as(owner), databases.connect("auth", user=owner) as session:
        session.execute("CREATE PUBLICATION parts FOR TABLE users (id, name), sessions")
        session.execute("SELECT lo_from_bytea(4243, 'kept too')")
        before = snapshot(databases)
        outcome = run("clean_slate", "--database", "auth", "--no-input")
        assert (outcome.err, outcome.code) == ("", 0)
    assert difference(before, snapshot(databases)) == {}


def test_a_plain_owner_backs_up_and_restores(
    databases: Databases, roles: tuple[str, str], run: Callable[..., Outcome], tmp_path: Path
) -> None:
    owner, reader = roles
    databases.mark("auth", "test")
    databases.execute(
        "auth", f"GRANT SELECT ON users TO {reader}; GRANT USAGE ON SCHEMA public TO {reader}"
    )
    hand_over(databases, owner)
    databases.execute("auth", USER)
    with connected_as(owner):
        before = full_fingerprint()
        auth = ("--database", "auth", "--no-input")
        assert run("nuke_schema", *auth, "--backup-dir", str(tmp_path)).code == 0
        (path,) = tmp_path.glob("*.dump")
        outcome = run("restore_database", *auth, "--from", str(path), "--no-backup")
        assert (outcome.err, outcome.code) == ("", 0)
        assert full_fingerprint() == before


def test_a_third_role_cannot_create_in_the_new_schema(
    databases: Databases, roles: tuple[str, str], run: Callable[..., Outcome]
) -> None:
    run("nuke_schema", "--database", "auth", "--no-input")
    with (
        databases.connect("auth", user=roles[1]) as session,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        session.execute("CREATE TABLE public.mine ()")


def test_error_published_tables_are_not_dropped_in_silence(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.execute("auth", "CREATE PUBLICATION parts FOR TABLE users")
    outcome = run("nuke_schema", "--database", "auth", "--no-input")
    assert outcome.code == 3
    assert "Guard 'publications'" in outcome.err
    assert "parts (users)" in outcome.err
    databases.execute("auth", "CREATE TABLE gone (); ALTER PUBLICATION parts ADD TABLE gone")
    before = full_fingerprint()
    outcome = run("clean_slate", "--database", "auth", "--no-input")
    assert outcome.code == 3
    assert "parts (gone)" in outcome.err
    assert full_fingerprint() == before
