"""What others have hung on the tables outlives them, and what will not is in the plan."""

from __future__ import annotations

import difflib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import connections

from fltr_project.backup import archive
from fltr_project.rebuild import attachments, schema_properties
from tests.conftest import ALIASES, Databases, Outcome
from tests.samples import read_plan

from .test_nuke_act import connected_as, hand_over

# What hangs on objects that the migrations make again: all of it comes back.
HANGING = """
    GRANT USAGE ON SCHEMA public TO {app}, {auditor}, {lead};
    GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {app};
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {app};
    GRANT EXECUTE ON FUNCTION consume_credits_many(jsonb) TO {app};
    GRANT SELECT (id, name) ON users TO {auditor};
    GRANT SELECT ON users TO {lead} WITH GRANT OPTION;
    SET ROLE {lead};
    GRANT SELECT ON public.users TO {auditor};
    RESET ROLE;
    REVOKE INSERT ON sessions FROM {app};
    REVOKE TRUNCATE ON sessions FROM CURRENT_USER;
    ALTER TABLE accounts OWNER TO {app};
    COMMENT ON TABLE users IS E'people\\nand "others"';
    COMMENT ON COLUMN users.email IS 'unique';
    COMMENT ON FUNCTION consume_credits_many(jsonb) IS 'of a batch';
    COMMENT ON INDEX users_email_unique IS 'one each';
    COMMENT ON CONSTRAINT users_pkey ON users IS 'the key';
    COMMENT ON TRIGGER users_open_credit_account ON users IS 'the bonus';
    ALTER TABLE users ALTER COLUMN email SET STATISTICS 500;
    ALTER TABLE users ALTER COLUMN name SET (n_distinct = -0.5);
    ALTER TABLE users ALTER COLUMN name SET STORAGE EXTERNAL;
    ALTER TABLE users ALTER COLUMN name SET COMPRESSION pglz;
    ALTER TABLE users SET (fillfactor = 80, toast.autovacuum_enabled = false);
    ALTER TABLE users CLUSTER ON users_pkey;
    ALTER INDEX users_pkey SET (fillfactor = 70);
    ALTER TABLE users REPLICA IDENTITY FULL;
    CREATE STATISTICS pair (ndistinct) ON name, email FROM users;
    ALTER STATISTICS pair SET STATISTICS 77;
    COMMENT ON STATISTICS pair IS 'for the planner';
    CREATE VIEW names WITH (security_barrier) AS SELECT id, name FROM users;
    CREATE VIEW initials AS SELECT id, left(name, 1) AS initial FROM names;
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS users FROM names;
    CREATE UNIQUE INDEX counted_once ON counted (users);
    GRANT SELECT ON initials TO {auditor};
    COMMENT ON VIEW names IS 'for the mails';
    COMMENT ON COLUMN names.name IS 'in full';
    ALTER VIEW initials OWNER TO {app};
    ALTER TABLE teams ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON teams AS RESTRICTIVE FOR UPDATE TO {app}
        USING (owner_id = CURRENT_USER::text) WITH CHECK (name <> '');
    CREATE POLICY all_of_them ON teams USING (true);
    COMMENT ON POLICY own ON teams IS 'its owner''s';
    ALTER TABLE verifications FORCE ROW LEVEL SECURITY;
    CREATE PUBLICATION everything FOR ALL TABLES;
    CREATE SCHEMA reports;
    CREATE TABLE reports.mine (id int);
    GRANT SELECT ON reports.mine TO {auditor};
"""
# What others have made: none of it comes back, and nothing that refers to it.
MADE = """
    CREATE TABLE audit_log (id serial PRIMARY KEY, what text CHECK (what <> ''));
    INSERT INTO audit_log (what) VALUES ('a'), ('b');
    CREATE TABLE days (day date) PARTITION BY RANGE (day);
    CREATE TABLE days_2026 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE DOMAIN positive AS integer CHECK (value > 0);
    CREATE SEQUENCE tickets;
    CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';
    CREATE PROCEDURE tidy() LANGUAGE sql AS 'SELECT 1';
    CREATE AGGREGATE joined(text) (SFUNC = textcat, STYPE = text);
    CREATE FUNCTION noticed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER noticing AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION noticed();
    CREATE RULE quiet AS ON DELETE TO sessions WHERE (OLD.id = 'x') DO INSTEAD NOTHING;
    ALTER TABLE users ADD COLUMN banned boolean DEFAULT false;
    ALTER TABLE users ADD CONSTRAINT users_short_check CHECK (length(name) < 999);
    ALTER TABLE sessions ADD COLUMN log_id integer REFERENCES audit_log;
    CREATE INDEX users_shout_idx ON users (public.shout(name));
    ALTER TABLE sessions ADD CONSTRAINT sessions_log_key UNIQUE (log_id);
    CREATE STATISTICS banning ON banned, name FROM users;
    CREATE POLICY unbanned ON users USING (NOT banned);
    CREATE VIEW banned_users AS SELECT * FROM users WHERE banned;
    CREATE VIEW their_names AS SELECT name FROM banned_users;
    CREATE MATERIALIZED VIEW shouted AS SELECT public.shout(name) AS name FROM users;
    CREATE OPERATOR === (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text);
    CREATE COLLATION german (LOCALE = 'C');
    CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);
    CREATE PUBLICATION logs FOR TABLE audit_log, sessions;
    CREATE VIEW plain_names AS SELECT name FROM users;
"""


@pytest.fixture
def roles(databases: Databases) -> Iterator[dict[str, str]]:
    suffix = databases.names["auth"]
    names = {name: f"{name}_{suffix}" for name in ("app", "auditor", "lead", "owner")}
    for role in names.values():
        databases.execute("auth", f"CREATE ROLE {role} LOGIN")
    databases.execute("auth", f"GRANT CREATE ON SCHEMA public TO {names['app']}")
    yield names
    connections["auth"].close()
    databases.execute("auth", f"ALTER DATABASE {suffix} OWNER TO CURRENT_USER")
    for alias in ALIASES:
        databases.execute(alias, f"DROP OWNED BY {', '.join(names.values())} CASCADE")
    databases.execute("auth", f"DROP ROLE {', '.join(names.values())}")


def dumped(databases: Databases) -> list[str]:
    """The schema as pg_dump writes it, which knows what hangs on an object."""
    program = archive.pg_dump(read_plan().target.major).path
    address = databases.environment()["AUTH_DATABASE_URL"]
    words = [
        str(program),
        "--schema-only",
        "--exclude-schema=public_aside_*",
        f"--dbname={address}",
    ]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    # With a random word each time.
    return [
        line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))
    ]


def difference(before: list[str], after: list[str]) -> list[str]:
    lines = difflib.unified_diff(before, after, lineterm="", n=0)
    return [line for line in lines if line[:1] in "+-" and line[:3] not in {"+++", "---"}]


def plan_of(run: Callable[..., Outcome]) -> dict[str, Any]:
    document = run("clean_slate", "--database", "auth", "--plan", "--format", "json").out
    planned: dict[str, Any] = json.loads(document)["plans"][0]
    return planned


def empty_and_build(run: Callable[..., Outcome], how: str) -> None:
    if how == "clean_slate":
        outcome = run("clean_slate", "--database", "auth", "--no-input", "--no-backup")
        assert (outcome.err, outcome.code) == ("", 0), outcome
        return
    assert run("nuke_schema", "--database", "auth", "--no-input", "--no-backup").code == 0
    outcome = run("migrate", "--database", "auth", "--verbosity", "0")
    assert (outcome.err, outcome.code) == ("", 0)


@pytest.mark.parametrize("how", ["clean_slate", "nuke_schema"])
def test_what_hangs_on_the_tables_outlives_them(
    databases: Databases, run: Callable[..., Outcome], roles: dict[str, str], how: str
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", HANGING.format(**roles))
    before, verified = dumped(databases), run("verify_schema", "--database", "auth").code
    planned = plan_of(run)
    assert planned["losses"] == []
    assert planned["put_back"]["grants"] > 10
    empty_and_build(run, how)
    assert difference(before, dumped(databases)) == []
    assert run("verify_schema", "--database", "auth").code == verified


@pytest.mark.parametrize("how", ["clean_slate", "nuke_schema"])
def test_what_new_objects_would_have_by_default_nobody_is_given(
    databases: Databases, run: Callable[..., Outcome], roles: dict[str, str], how: str
) -> None:
    """Default privileges are for what is made anew, which the schema and its tables are not."""
    databases.mark("auth", "test")
    databases.execute(
        "auth",
        """
        ALTER DEFAULT PRIVILEGES GRANT CREATE ON SCHEMAS TO {lead};
        ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO {app} WITH GRANT OPTION;
        ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO {app};
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {app};
        GRANT SELECT ON users TO {auditor};
        """.format(**roles),
    )
    before = dumped(databases)
    empty_and_build(run, how)
    assert difference(before, dumped(databases)) == []


def contents(databases: Databases) -> set[str]:
    """The entries of an archive: kind, name, and what pg_dump calls its table."""
    program = archive.pg_dump(read_plan().target.major).path
    address = databases.environment()["AUTH_DATABASE_URL"]
    options = ["--schema-only", "--format=custom", "--no-owner", "--exclude-schema=public_aside_*"]
    dump = subprocess.run(
        [str(program), *options, f"--dbname={address}"], capture_output=True, check=True
    ).stdout
    listed = subprocess.run(
        [str(program.with_name("pg_restore")), "--list"],
        input=dump,
        capture_output=True,
        check=True,
    ).stdout.decode()
    lines = [line.split("; ", 1)[1] for line in listed.splitlines() if not line.startswith(";")]
    # Without the numbers of the catalog and the row, and the owner at the end.
    return {" ".join(line.split()[2:-1]) for line in lines}


@pytest.mark.parametrize("how", ["clean_slate", "nuke_schema"])
def test_the_difference_is_what_the_plan_has_said(
    databases: Databases, run: Callable[..., Outcome], how: str
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", MADE)
    before = contents(databases)
    planned = plan_of(run)
    losses = {(loss["kind"], loss["object"]): loss["rows"] for loss in planned["losses"]}
    assert losses["tables", "audit_log"] == 2
    assert planned["put_back"] == {"views": 1}
    words = (how, "--database", "auth", "--no-input", "--no-backup")
    refused = run(*words)
    assert refused.code == 3
    assert "Guard 'publications'" in refused.err
    assert run(*words, "--accept-loss", "publications").code == 0
    if how == "nuke_schema":
        assert run("migrate", "--database", "auth", "--verbosity", "0").code == 0
    gone, new = before - contents(databases), contents(databases) - before
    if how == "nuke_schema":
        # It cannot keep a table in a publication that is to be made again.
        gone -= {"PUBLICATION TABLE public logs sessions"}
    named = " ".join(name for _, name in losses)
    assert [entry for entry in gone if not is_said(entry, named)] == []
    assert new == set()
    lost = " ".join(gone)
    assert [
        name for _, name in losses if name.split("(")[0].split()[-1].split(".")[-1] not in lost
    ] == []
    assert databases.execute("auth", "SELECT count(*) FROM plain_names") == [(0,)]


def is_said(entry: str, named: str) -> bool:
    """Whether the plan has named the entry of an archive, or the table, type or view that it is part of."""
    return any(word in named for word in entry.replace("(", " ").split() if len(word) > 3)


def test_error_a_protected_database_loses_nothing_that_was_not_named(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.mark("auth", "production")
    databases.execute("auth", "CREATE TABLE audit_log (); ALTER TABLE users ADD COLUMN banned bool")
    for command in ("clean_slate", "nuke_schema"):
        printed = run(command, "--database", "auth", "--plan")
        assert "  tables: audit_log with 0 rows" in printed.out
        assert "  columns: users.banned" in printed.out
        token = printed.out.rpartition("Token: ")[2].split()[0]
        consent = ("--no-input", "--token", token, "--confirm", databases.names["auth"])
        words = (command, "--database", "auth", *consent, "--accept-loss", "tables")
        refused = run(*words)
        assert refused.code == 3
        assert "Guard 'loss'" in refused.err
        assert "add --accept-loss columns." in refused.err
    outcome = run(*words, "--accept-loss", "columns")
    assert (outcome.err, outcome.code) == ("", 0)


def test_a_plain_owner_puts_back_what_it_may_and_says_the_rest_before(
    databases: Databases, run: Callable[..., Outcome], roles: dict[str, str]
) -> None:
    databases.mark("auth", "test")
    databases.execute(
        "auth",
        """
        GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {app};
        GRANT EXECUTE ON FUNCTION consume_credits_many(jsonb) TO {app} WITH GRANT OPTION;
        GRANT SELECT ON users TO {lead} WITH GRANT OPTION;
        COMMENT ON TABLE users IS 'people';
        CREATE VIEW names AS SELECT id, name FROM users;
        GRANT SELECT ON names TO {app};
        """.format(**roles),
    )
    hand_over(databases, roles["owner"])
    databases.execute(
        "auth",
        """
        GRANT CREATE ON SCHEMA public TO {owner};
        ALTER VIEW names OWNER TO {owner};
        SET ROLE {lead};
        GRANT SELECT ON public.users TO {auditor};
        """.format(**roles),
    )
    with connected_as(roles["owner"]):
        planned = plan_of(run)
        (loss,) = planned["losses"]
        assert loss["kind"] == "grantors"
        assert loss["object"] == f"SELECT on table users to {roles['auditor']}"
        assert loss["reason"] == f"granted by {roles['lead']}, and then by the owner"
        before = dumped(databases)
        empty_and_build(run, "clean_slate")
        gone = [
            line for line in difference(before, dumped(databases)) if "AUTHORIZATION" not in line
        ]
    # The right itself is there; what says who gave it is in the statement before.
    assert {line[1:] for line in gone if line.startswith("-")} <= {
        line[1:] for line in gone if line.startswith("+")
    } | {""}


def test_what_an_emptied_schema_remembers_runs_nothing_else(
    databases: Databases, run: Callable[..., Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever owns the schema may write into its comment, and a migration is run by somebody else."""
    databases.mark("auth", "test")
    databases.execute("auth", "CREATE VIEW names AS SELECT id, name FROM users")
    assert run("nuke_schema", "--database", "auth", "--no-input", "--no-backup").code == 0
    ((comment,),) = databases.execute("auth", "SELECT obj_description('public'::regnamespace)")
    assert comment.startswith("standard public schema\nput back: [[")
    evil = "SELECT 1 AS one; CREATE TABLE public.evil ()"
    hung = attachments.kept(comment)
    forged = [
        *(replace(each, value={**each.value, "definition": evil}) for each in hung),
        replace(hung[0], kind="comments", type="TABLE users IS ''; DROP TABLE sessions; --"),
        replace(hung[0], kind="grants", type="TABLE", name=("users",), value={"owner": 1}),
        replace(hung[0], kind="policies", type="POLICY", name=("users", "p"), value={}),
    ]
    with connections["auth"].cursor() as cursor:
        schema_properties.set_comment(cursor, "public", attachments.with_kept(comment, forged))
    outcome = run("migrate", "--database", "auth", "--verbosity", "0")
    assert outcome.code == 0
    assert "views of view names: not put back" in caplog.text
    assert "cannot insert multiple commands into a prepared statement" in caplog.text
    assert databases.execute("auth", "SELECT to_regclass('evil'), to_regclass('sessions')") == [
        (None, "sessions")
    ]
    assert databases.execute("auth", "SELECT obj_description('public'::regnamespace)") == [
        ("standard public schema",)
    ]
    assert run("verify_schema", "--database", "auth").code == 0
