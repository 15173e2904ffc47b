"""A repair does what was asked for, and nothing to what others made, own or may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from fltr_project.drift.repair.statement import Hazard
from tests.conftest import Databases, Outcome

from .drift import EXTENSION

pytestmark = pytest.mark.slow

Run = Callable[..., Outcome]

# What others have made on a database; {0} is a role of theirs.
OTHERS = """
    GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {0};
    GRANT UPDATE (name) ON users TO {0};
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {0};
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {0};
    CREATE SCHEMA audit CREATE TABLE log (i integer) CREATE VIEW of_users AS SELECT id FROM public.users;
    CREATE VIEW "audit.log" AS SELECT count(*) FROM users;
    CREATE FUNCTION note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
    CREATE EVENT TRIGGER note_ddl ON ddl_command_end EXECUTE FUNCTION note_ddl();
    CREATE PUBLICATION theirs FOR TABLE users;
    CREATE INDEX users_of_theirs ON users (name);
    CREATE POLICY theirs ON sessions USING (true);
    CREATE SEQUENCE invoices; CREATE TYPE mood AS ENUM ('a');
    ALTER TABLE users ADD CHECK (email <> 'x'), REPLICA IDENTITY FULL;
    ALTER TABLE subscriptions OWNER TO {0}, SET (fillfactor = 70), ENABLE ROW LEVEL SECURITY;
"""


@pytest.fixture
def others(databases: Databases) -> Iterator[str]:
    """A role of somebody else's, with all of ``OTHERS``."""
    role = f"others_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}")
    databases.execute("auth", OTHERS.format(role))
    databases.execute("auth", EXTENSION)
    yield role
    connections["auth"].close()
    databases.execute("auth", f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}")
    databases.execute("auth", f"DROP ROLE {role}")


def live(script: str) -> list[str]:
    """The statements of a script that psql would run, without its own BEGIN, SET and COMMIT."""
    lines = [line for line in script.splitlines() if line and not line.startswith("--")]
    ours = ("BEGIN;", "COMMIT;", "SET ", "RESET ", "DO $$ BEGIN IF NOT pg_try_advisory")
    return [line for line in lines if not line.startswith(ours)]


def kept(databases: Databases) -> list[tuple[Any, ...]]:
    """Everything that others could miss, in the server's words."""
    return databases.execute(
        "auth",
        "SELECT 'class', relname::text, relowner::regrole::text, relacl::text, reloptions::text,"
        " relreplident::text || relrowsecurity FROM pg_class WHERE relnamespace IN"
        " ('public'::regnamespace, to_regnamespace('audit')) AND relname <> 'sessions_user_id_idx'"
        " UNION ALL SELECT 'proc', proname, proacl::text, '', '', '' FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace"
        " UNION ALL SELECT 'acl', defaclacl::text, '', '', '', '' FROM pg_default_acl"
        " UNION ALL SELECT 'column', attname, attacl::text, '', '', '' FROM pg_attribute"
        " WHERE attacl IS NOT NULL AND attrelid >= 16384"
        " UNION ALL SELECT 'constraint', conname, '', '', '', '' FROM pg_constraint"
        " UNION ALL SELECT 'extension', extname, '', '', '', '' FROM pg_extension"
        " UNION ALL SELECT 'event', evtname, '', '', '', '' FROM pg_event_trigger"
        " UNION ALL SELECT 'published', pubname, tablename, '', '', '' FROM pg_publication_tables"
        " UNION ALL SELECT 'policy', polname, '', '', '', '' FROM pg_policy"
        " UNION ALL SELECT 'schema', nspname, '', '', '', '' FROM pg_namespace"
        " WHERE nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2, 3, 4, 5, 6",
    )


def test_a_missing_index_is_all_that_is_repaired(
    databases: Databases, run: Run, others: str
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", "DROP INDEX sessions_user_id_idx")
    before = kept(databases)
    script = run("verify_schema", "--database", "auth", "--sql").out
    assert live(script) == [
        'CREATE INDEX CONCURRENTLY "sessions_user_id_idx" ON public."sessions"'
        " USING btree (user_id);"
    ]
    assert f'"{others}"' not in "\n".join(
        line for line in script.splitlines() if line.startswith(("-- GRANT", "-- REVOKE"))
    )
    outcome = run("verify_schema", "--database", "auth", "--apply", "--no-input")
    assert outcome.err == ""
    assert "with 1 statement." in outcome.out
    assert kept(databases) == before
    assert run("verify_schema", "--database", "auth", "--sql").out.count("\nBEGIN;") == 0


def test_rights_of_roles_that_the_contract_does_not_know_are_a_note(
    databases: Databases, run: Run, others: str
) -> None:
    databases.execute("auth", f"GRANT SELECT ON users TO {others} WITH GRANT OPTION")
    outcome = run("verify_schema", "--database", "auth", "-v2")
    (note,) = [line for line in outcome.out.splitlines() if "note grants on" in line]
    assert "more" in note
    for hazard in Hazard:
        script = run("verify_schema", "--database", "auth", "--sql", "--allow", hazard).out
        assert not [line for line in script.splitlines() if "REVOKE" in line and others in line]


@pytest.mark.parametrize(
    ("drift", "allowed", "left"),
    [
        ("CREATE VIEW v AS SELECT 1 AS one", ["drop-others"], "take-rights"),
        ("GRANT UPDATE ON users TO PUBLIC", ["take-rights"], "drop-others"),
        ("ALTER TABLE users ADD COLUMN c text", ["lose-rows"], "drop-others"),
        (
            "ALTER TABLE teams ALTER credits TYPE bigint",
            ["rewrite-tables", "block-writers"],
            "block-writers",
        ),
        ("ALTER TABLE users ALTER name TYPE varchar(90)", [], None),
    ],
)
def test_what_is_allowed_is_run_and_nothing_else(
    databases: Databases, run: Run, drift: str, allowed: list[str], left: str | None
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", drift)
    for words, repaired in (([left], False), (allowed, True)):
        options = [option for word in words if word for option in ("--allow", word)]
        if repaired or left:
            apply = ("verify_schema", "--database", "auth", "--apply", "--no-input")
            assert run(*apply, *options).err == ""
            strict = run("verify_schema", "--database", "auth", "--strict")
            assert strict.code == (0 if repaired else 1), (words, strict)
