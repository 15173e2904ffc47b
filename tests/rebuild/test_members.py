"""A schema that cannot be renamed: what is in it is moved, and what holds it stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fltr_project.errors import CannotRun
from fltr_project.rebuild import preflight
from tests.conftest import Databases, Outcome
from tests.samples import extension, full_fingerprint, read_plan

from .test_nuke_act import USER, connected_as, difference, hand_over, prepare, roles, snapshot

__all__ = ["roles"]

# As a managed server has it: all of it is somebody else's.
OF_OTHERS = """
    CREATE PUBLICATION whole FOR TABLES IN SCHEMA public;
    CREATE FUNCTION noticing() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END';
    CREATE EVENT TRIGGER notices ON ddl_command_end EXECUTE FUNCTION noticing();
"""
# One of each thing that has a schema.
EVERY_KIND = """
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE DOMAIN positive AS integer CHECK (value > 0);
    CREATE TYPE pair AS (a integer, b mood);
    CREATE TYPE span AS RANGE (SUBTYPE = integer);
    CREATE TABLE kinds (id serial PRIMARY KEY, n integer GENERATED ALWAYS AS IDENTITY, m mood, p pair);
    CREATE TABLE days (day date) PARTITION BY RANGE (day);
    CREATE TABLE days_2026 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE VIEW a_few AS SELECT * FROM kinds;
    CREATE MATERIALIZED VIEW filled AS SELECT * FROM kinds;
    CREATE SEQUENCE tickets;
    CREATE FUNCTION feel(mood, kinds) RETURNS mood LANGUAGE sql AS 'SELECT $1';
    CREATE PROCEDURE tidy() LANGUAGE sql AS 'SELECT 1';
    CREATE AGGREGATE joined(text) (SFUNC = textcat, STYPE = text);
    CREATE OPERATOR === (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text);
    CREATE COLLATION german (LOCALE = 'C');
    CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple);
    CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);
    CREATE STATISTICS both_of ON id, m FROM kinds;
"""


@pytest.mark.parametrize("maker", ["superuser", "owner"])
def test_an_extension_of_others_stays_and_holds_up_nothing(
    databases: Databases,
    run: Callable[..., Outcome],
    roles: tuple[str, str],
    maker: str,
) -> None:
    """The owner's own holds it too: its functions are the superuser's who lets owners make it."""
    owner, it = roles[0], extension(databases)
    databases.mark("auth", "test")
    if maker == "owner":
        make_trusted(databases, owner, it.name)
    prepare(databases, roles[1], OF_OTHERS if maker == "superuser" else None)
    databases.execute("auth", USER)
    databases.execute(
        "auth", f"ALTER TABLE users ADD COLUMN v public.{it.type} DEFAULT '{it.value}'"
    )
    hand_over(databases, owner)
    if maker == "superuser":
        databases.execute("auth", "ALTER FUNCTION noticing() OWNER TO CURRENT_USER")
    with databases.connect("auth", user=owner) as session:
        session.execute(EVERY_KIND)

    def as_owner(*words: str) -> str:
        with connected_as(owner):
            outcome = run(*words, "--database", "auth")
        assert (outcome.err, outcome.code) == ("", 0), outcome
        return outcome.out

    def kept() -> dict[str, Any]:
        """All but which tables there are, and so are published with the schema."""
        return {**snapshot(databases), "published tables": None}

    before, content = kept(), full_fingerprint()
    planned = as_owner("clean_slate", "--plan")
    assert f"The schema stays, because {owner} cannot carry over extension {it.name}" in planned
    as_owner("clean_slate", "--no-input", "--keep", "--no-backup")
    assert difference(before, kept()) == {}
    assert databases.execute("auth", "SELECT count(*) FROM users") == [(0,)]
    gone = "SELECT to_regtype('mood'), to_regproc('tidy'), to_regclass('kinds_id_seq')"
    assert databases.execute("auth", gone) == [(None, None, None)]
    as_owner("verify_schema")
    as_owner("nuke_schema", "--undo", "--no-input")
    assert full_fingerprint() == content
    assert difference(before, kept()) == {}
    # And for good.
    nuked = as_owner("nuke_schema", "--no-input", "--no-backup")
    assert read_plan().waiting == (), nuked
    assert read_plan().tables == ()
    as_owner("migrate", "--verbosity", "0")
    as_owner("verify_schema")
    assert difference(before, kept()) == {}


def make_trusted(databases: Databases, owner: str, name: str) -> None:
    """An extension as CREATE EXTENSION by an owner makes it, where that is allowed: its functions are a superuser's."""
    maker = f"maker_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {maker} LOGIN SUPERUSER")
    with databases.connect("auth", user=maker) as session:
        session.execute(f"CREATE EXTENSION {name} SCHEMA public")
        session.execute(f"REASSIGN OWNED BY {maker} TO {owner}")
    databases.execute("auth", f"DROP ROLE {maker}")
    ((statement,),) = databases.execute(
        "auth",
        "SELECT format('ALTER FUNCTION %s OWNER TO CURRENT_USER', d.objid::regprocedure) FROM pg_depend d"
        " WHERE d.deptype = 'e' AND d.classid = 'pg_proc'::regclass AND d.refobjid ="
        " (SELECT oid FROM pg_extension WHERE extname <> 'plpgsql') ORDER BY d.objid LIMIT 1",
    )
    databases.execute("auth", statement)


def test_error_what_a_plain_owner_may_not_move_is_named(
    databases: Databases,
    run: Callable[..., Outcome],
    roles: tuple[str, str],
) -> None:
    prepare(databases, roles[1], None)
    databases.execute(
        "auth", "CREATE PUBLICATION parts FOR TABLE users; CREATE TYPE mood AS ENUM ('ok')"
    )
    hand_over(databases, roles[0])
    with connected_as(roles[0]):
        outcome = run("clean_slate", "--database", "auth", "--no-input")
        assert outcome.code == 2
        for thing in ("publication parts of role ", "type public.mood of role "):
            assert thing in outcome.err


def test_error_more_locks_than_there_are(databases: Databases) -> None:
    planned = read_plan()
    locks = replace(planned.locks, set_aside=900, guaranteed=1000, taken=200)
    with pytest.raises(CannotRun, match="takes 900 locks, and the server has room for 800"):
        preflight.require_possible(
            replace(planned, held_by=("extension x of role y",), locks=locks), moves_members=True
        )
