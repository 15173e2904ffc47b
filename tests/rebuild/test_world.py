"""A database with all that others make goes the whole way, and differs by what the plan has said and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Databases, Outcome

from .test_nuke_act import USER
from .test_put_back import (
    HANGING,
    MADE,
    contents,
    difference,
    dumped,
    is_said,
    plan_of,
    roles,
)

__all__ = ["roles"]

# Of pg_dump's own kinds, what neither hangs on our tables nor is in the lists of test_put_back: none of it is in the way.
ELSEWHERE = """
    COMMENT ON SCHEMA public IS 'the product''s';
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {auditor};
    ALTER DEFAULT PRIVILEGES GRANT CREATE ON SCHEMAS TO {lead};
    CREATE FUNCTION reports.seen() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END';
    CREATE EVENT TRIGGER seeing ON ddl_command_end EXECUTE FUNCTION reports.seen();
    CREATE FUNCTION public.heard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END';
    CREATE EVENT TRIGGER hearing ON sql_drop EXECUTE FUNCTION public.heard();
    ALTER EVENT TRIGGER hearing DISABLE;
    CREATE FOREIGN DATA WRAPPER far;
    CREATE SERVER away FOREIGN DATA WRAPPER far;
    CREATE USER MAPPING FOR {app} SERVER away OPTIONS (name 'me');
    CREATE FOREIGN TABLE reports.remote (id integer) SERVER away;
    CREATE TYPE reports.colour AS ENUM ('red');
    CREATE TYPE reports.pair AS (a integer, b reports.colour);
    CREATE CAST (reports.pair AS text) WITH INOUT;
    CREATE CONVERSION reports.turned FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
    CREATE ACCESS METHOD heap_of_theirs TYPE TABLE HANDLER heap_tableam_handler;
    CREATE TABLE reports.theirs (id integer) USING heap_of_theirs;
    CREATE OPERATOR FAMILY reports.family USING btree;
    CREATE TEXT SEARCH TEMPLATE reports.template (LEXIZE = dsimple_lexize);
    CREATE TEXT SEARCH PARSER reports.parser (START = prsd_start, GETTOKEN = prsd_nexttoken,
        END = prsd_end, LEXTYPES = prsd_lextype);
    CREATE SUBSCRIPTION sub_{app} CONNECTION 'dbname=nowhere' PUBLICATION p
        WITH (connect = false, slot_name = NONE, enabled = false);
    SELECT lo_from_bytea(777, 'theirs');
    COMMENT ON LARGE OBJECT 777 IS 'kept';
    GRANT SELECT ON LARGE OBJECT 777 TO {auditor};
"""
# In schema public, beside what test_put_back has there.
HERE = """
    CREATE TYPE span AS RANGE (SUBTYPE = integer);
    CREATE TYPE duo AS (a integer, b text);
    CREATE FOREIGN TABLE remote (id integer) SERVER away;
    CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple);
    CREATE CONVERSION turned FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
    CREATE OPERATOR FAMILY family USING btree;
    CREATE OPERATOR CLASS likewise FOR TYPE text USING hash AS OPERATOR 1 =, FUNCTION 1 hashtext(text);
    CREATE TABLE kept_rows (id integer GENERATED ALWAYS AS IDENTITY, body jsonb, EXCLUDE USING gist (box(point(0, 0), point(1, 1)) WITH &&));
"""


@pytest.fixture
def world(databases: Databases, roles: dict[str, str]) -> Iterator[list[str]]:
    """All of it on database ``auth``, with a user in it; as pg_dump writes it."""
    databases.mark("auth", "test")
    try:
        for statements in (HANGING, MADE, ELSEWHERE, HERE):
            databases.execute("auth", statements.format(**roles))
        databases.execute("auth", USER)
        yield dumped(databases)
    finally:
        # Nobody drops a database that subscribes.
        databases.execute("auth", f"DROP SUBSCRIPTION IF EXISTS sub_{roles['app']}")


def test_the_world_goes_the_whole_way(
    databases: Databases, run: Callable[..., Outcome], world: list[str], tmp_path: Path
) -> None:
    before, planned = contents(databases), plan_of(run)
    assert planned["immovable"] == planned["dependants"] == []
    named = " ".join(loss["object"] for loss in planned["losses"])

    def done(*words: str) -> Outcome:
        outcome = run(*words)
        assert (outcome.err, outcome.code) == ("", 0), outcome
        return outcome

    def rebuild(*words: str) -> Outcome:
        every = sorted({loss["kind"].replace(" ", "-") for loss in planned["losses"]})
        accepted = [word for kind in every for word in ("--accept-loss", kind)]
        return done("clean_slate", "--database", "auth", "--no-input", *accepted, *words)

    rebuild("--keep", "--no-backup")
    after = contents(databases)
    assert [entry for entry in before - after if not is_said(entry, named)] == []
    # What the old schema keeps, it is still published from.
    assert [entry for entry in after - before if " public_aside_" not in entry] == []
    done("nuke_schema", "--database", "auth", "--undo", "--no-input")
    assert difference(world, dumped(databases)) == []
    assert databases.execute("auth", "SELECT name FROM users") == [("Ada",)]
    document = json.loads(rebuild("--backup-dir", str(tmp_path), "--format", "json").out)
    assert [entry for entry in after ^ contents(databases) if " public_aside_" not in entry] == []
    built = dumped(databases)
    repaired = run("verify_schema", "--database", "auth", "--apply", "--no-input")
    assert repaired.code in (0, 1), repaired
    # The owner has a right again that the contract wants; everybody else's things stay.
    assert [
        line
        for line in difference(built, dumped(databases))
        if " sessions " not in line.replace("public.", " ")
    ] == []
    (dump,) = tmp_path.glob("*.dump")
    assert document["verdict"]
    done("restore_database", "--database", "auth", "--from", str(dump), "--no-input")
    assert difference(world, dumped(databases)) == []
    assert databases.execute("auth", "SELECT name FROM users") == [("Ada",)]
