"""What stands in the way of a repair is there afterwards as it was before, or the repair is not offered."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest
from django.db import connections

from fltr_project.postgres import programs
from tests.conftest import Databases, Outcome, drop_role

pytestmark = pytest.mark.slow

Run = Callable[..., Outcome]
ALLOW = ("--allow", "rewrite-tables", "--allow", "block-writers")

# {0} is a role of somebody else's. All of it hangs on users.name, sessions.ip_address or teams.credits.
WAY = """
    CREATE SCHEMA report;
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
    CREATE VIEW report.names WITH (security_barrier) AS SELECT id, name FROM users WHERE name <> 'x';
    COMMENT ON VIEW report.names IS E'the\\nnames'; COMMENT ON COLUMN report.names.name IS 'of a user';
    GRANT SELECT ON report.names TO {0} WITH GRANT OPTION; REVOKE SELECT ON report.names FROM PUBLIC;
    GRANT UPDATE (name) ON report.names TO {0};
    ALTER VIEW report.names ALTER COLUMN name SET DEFAULT 'nobody'::text;
    CREATE FUNCTION report.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER "instead" INSTEAD OF UPDATE ON report.names FOR EACH ROW EXECUTE FUNCTION report.note();
    COMMENT ON TRIGGER "instead" ON report.names IS 'instead';
    CREATE RULE more AS ON INSERT TO report.names DO INSTEAD NOTHING;
    CREATE VIEW "audit.log" WITH (security_invoker, check_option = local)
        AS SELECT * FROM report.names WHERE id > 'a';
    ALTER VIEW "audit.log" OWNER TO {0};
    CREATE VIEW report.on_top AS SELECT n.name, l.id FROM report.names n JOIN "audit.log" l USING (id);
    REVOKE ALL ON report.on_top FROM CURRENT_USER;
    CREATE MATERIALIZED VIEW report.kept WITH (fillfactor = 70) AS SELECT name, count(*) AS c
        FROM report.on_top GROUP BY 1;
    CREATE UNIQUE INDEX "By Name" ON report.kept (name) WITH (fillfactor = 60);
    COMMENT ON INDEX report."By Name" IS 'unique'; CREATE INDEX ON report.kept (c) WHERE c > 1;
    ALTER MATERIALIZED VIEW report.kept CLUSTER ON "By Name";
    CREATE MATERIALIZED VIEW report.empty AS SELECT * FROM report.kept WITH NO DATA;
    CREATE STATISTICS report.both ON name, c FROM report.kept;
    CREATE FUNCTION report.find(who text) RETURNS SETOF report.names STABLE LANGUAGE sql
        BEGIN ATOMIC SELECT * FROM report.names WHERE name = who; END;
    COMMENT ON FUNCTION report.find(text) IS 'finds'; REVOKE ALL ON FUNCTION report.find(text) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION report.find(text) TO {0};
    CREATE FUNCTION report.first() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT name FROM report.find('a'); END;
    CREATE TABLE report.log (who text DEFAULT report.first());
    CREATE POLICY seen ON report.log FOR SELECT TO {0} USING (who IN (SELECT name FROM "audit.log"));
    COMMENT ON POLICY seen ON report.log IS 'seen';
    CREATE POLICY named ON users AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (name <> '') WITH CHECK (name <> 'y');
    CREATE TRIGGER on_name BEFORE UPDATE OF name ON users FOR EACH ROW WHEN (NEW.name <> '')
        EXECUTE FUNCTION report.note();
    ALTER TABLE users ENABLE ALWAYS TRIGGER on_name;
    CREATE RULE told AS ON DELETE TO sessions WHERE OLD.ip_address = '' DO ALSO SELECT 1;
    ALTER TABLE sessions DISABLE RULE told;
    CREATE PUBLICATION partly FOR TABLE users (id, name) WHERE (name <> 'z'), TABLE teams;
    CREATE VIEW report.rich AS SELECT id FROM teams WHERE credits > 10;
"""
DRIFT = """
    ALTER TABLE users ALTER name TYPE varchar(200); ALTER TABLE sessions ALTER ip_address TYPE varchar;
    ALTER TABLE teams ALTER credits TYPE bigint; INSERT INTO teams (name, credits) VALUES ('t', 12);
"""
UNDO = """
    ALTER TABLE users ALTER name TYPE text; ALTER TABLE sessions ALTER ip_address TYPE text;
    ALTER TABLE teams ALTER credits TYPE integer;
"""


def dump(databases: Databases) -> str:
    """The schema as pg_dump tells it, without what it makes up for each dump."""
    pg_dump = programs.find("pg_dump", at_least=18)
    assert pg_dump
    url = databases.environment()["AUTH_DATABASE_URL"]
    text = subprocess.run(
        [pg_dump.path, "--schema-only", url], check=True, capture_output=True, text=True
    ).stdout
    return "\n".join(line for line in text.splitlines() if "restrict " not in line)


@pytest.fixture
def role(databases: Databases) -> Iterator[str]:
    name = f"other_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {name}")
    yield name
    connections["auth"].close()
    drop_role(databases, name)


def test_everything_is_put_back_as_it_was(databases: Databases, run: Run, role: str) -> None:
    """The dump of a database whose columns never had another type is the measure."""
    databases.mark("auth", "test")
    databases.execute("auth", "INSERT INTO users (id, name, email) VALUES ('b', 'n', 'e')")
    databases.execute("auth", WAY.format(role))
    expected = dump(databases)
    # What is built on a column is not there while it gets its wrong type.
    databases.execute(
        "auth",
        'DROP SCHEMA report CASCADE; DROP VIEW IF EXISTS "audit.log"; DROP PUBLICATION partly;'
        "DROP POLICY named ON users; DROP RULE told ON sessions; ALTER DEFAULT PRIVILEGES REVOKE SELECT"
        f" ON TABLES FROM PUBLIC; {DRIFT}; {WAY.format(role)}",
    )
    assert dump(databases) != expected
    rows = databases.execute("auth", "SELECT * FROM report.kept")
    outcome = run("verify_schema", "--database", "auth", "--apply", "--no-input", *ALLOW)
    assert outcome.err == ""
    assert "Repaired" in outcome.out
    assert dump(databases) == expected
    assert databases.execute("auth", "SELECT * FROM report.kept") == rows != []
    again = run("verify_schema", "--database", "auth", "--apply", "--no-input", *ALLOW)
    assert "Repaired" not in again.out


# What nobody here can put back as it was: the drift, and what is named.
OBSTACLES = [
    (
        "ALTER TABLE users ALTER name TYPE varchar(90);"
        "ALTER TABLE users ADD COLUMN upper text GENERATED ALWAYS AS (upper(name)) STORED",
        "users.name",
        'column public."users"."upper" is generated',
    ),
    (
        "ALTER TABLE users ALTER name TYPE varchar(90); CREATE VIEW v AS SELECT name FROM users;"
        "CREATE TABLE of_view (row v)",
        "users.name",
        "column row of table public.of_view is in the way",
    ),
    (
        "ALTER TABLE users ALTER name TYPE varchar(90); CREATE VIEW v AS SELECT name FROM users;"
        "GRANT SELECT ON v TO {0} WITH GRANT OPTION; SET ROLE {0}; GRANT SELECT ON v TO PUBLIC; RESET ROLE",
        "users.name",
        'view public."v" has rights that somebody has passed on',
    ),
    (
        "CREATE VIEW v AS SELECT id, value FROM verifications GROUP BY id; ALTER VIEW v RENAME TO w;"
        "DROP VIEW w; ALTER TABLE verifications DROP CONSTRAINT verifications_pkey,"
        "ADD CONSTRAINT pk PRIMARY KEY (id, identifier);"
        "CREATE VIEW v AS SELECT id, value FROM verifications GROUP BY id, identifier",
        "primary key of verifications",
        'view public."v" needs it',
    ),
]


@pytest.mark.parametrize(("drift", "object_", "obstacle"), OBSTACLES)
def test_what_cannot_be_put_back_is_named_and_the_repair_not_offered(
    databases: Databases, run: Run, role: str, drift: str, object_: str, obstacle: str
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", drift.format(role))
    document = json.loads(run("verify_schema", "--database", "auth", "--format", "json").out)
    (finding,) = [
        each for each in document["databases"][0]["findings"] if each["object"].startswith(object_)
    ]
    assert obstacle in finding["obstacle"]
    assert finding["repair"] == []
    before = dump(databases)
    outcome = run("verify_schema", "--database", "auth", "--apply", "--no-input", *ALLOW)
    assert outcome.code == 1, outcome
    assert f"no repair is offered: {finding['obstacle']}" in outcome.out
    assert dump(databases) == before


def test_the_return_type_of_a_function_behind_everything(databases: Databases, run: Run) -> None:
    databases.mark("auth", "test")
    before = dump(databases)
    databases.execute(
        "auth",
        "CREATE TEMPORARY TABLE t AS SELECT pg_get_functiondef('uuid7_text'::regproc) AS body;"
        "ALTER TABLE users ALTER id DROP DEFAULT; ALTER TABLE teams ALTER id DROP DEFAULT;"
        "DO $$ DECLARE d record; BEGIN FOR d IN SELECT c.relname, a.attname FROM pg_attrdef x"
        " JOIN pg_class c ON c.oid = adrelid JOIN pg_attribute a ON attrelid = c.oid AND attnum = adnum"
        " WHERE pg_get_expr(adbin, adrelid) LIKE '%uuid7_text%' LOOP"
        " EXECUTE format('ALTER TABLE %I ALTER %I DROP DEFAULT', d.relname, d.attname); END LOOP;"
        " DROP FUNCTION uuid7_text();"
        " EXECUTE (SELECT replace(body, 'RETURNS text', 'RETURNS character varying') FROM t); END $$;"
        "ALTER TABLE sessions ALTER id SET DEFAULT uuid7_text();"
        "CREATE VIEW next_id AS SELECT uuid7_text() AS id;"
        "CREATE POLICY fresh ON users USING (id < uuid7_text())",
    )
    outcome = run("verify_schema", "--database", "auth", "--apply", "--no-input")
    assert outcome.err == ""
    assert databases.execute("auth", "SELECT count(*) FROM next_id") == [(1,)]
    databases.execute("auth", "DROP VIEW next_id; DROP POLICY fresh ON users")
    # A contract keeps a body without the spaces around it.
    assert dump(databases).split() == before.split()
