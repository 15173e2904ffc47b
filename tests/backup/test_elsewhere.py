"""A backup of one server comes back on another: of an older or newer version, and to another owner."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from fltr_project.postgres import programs
from fltr_project.postgres.embedded.postmaster import SUPERUSER
from fltr_project.postgres.embedded.server import EmbeddedServer
from fltr_project.postgres.target import connect, identify
from tests.conftest import ROOT, Databases, Outcome, drop_role

from .comparing import data

Run = Callable[..., Outcome]
# Roles of production that nobody has on his own machine, one of them with a name that needs quotes.
PRODUCTION = """
    CREATE ROLE web_rt_{suffix}; CREATE ROLE "data team {suffix}"; CREATE ROLE keeper_{suffix};
    ALTER DATABASE {database} SET custom.region = 'eu''west';
    ALTER DATABASE {database} SET TimeZone = 'Asia/Tokyo';
    CREATE TABLE notes (id int PRIMARY KEY, body text, at timestamptz DEFAULT '2026-11-01 09:00+00');
    INSERT INTO notes (id, body) VALUES (1, 'it''s'), (2, E'a\\tb'), (3, NULL);
    CREATE FUNCTION shout(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(t)';
    CREATE INDEX notes_shouted ON notes (shout(body));
    CREATE VIEW short AS SELECT id, body FROM notes WHERE body IN ('it''s', 'b');
    CREATE POLICY own ON notes FOR SELECT TO web_rt_{suffix} USING (true);
    ALTER TABLE notes OWNER TO "data team {suffix}"; ALTER FUNCTION shout(text) OWNER TO keeper_{suffix};
    GRANT SELECT, INSERT ON users, notes TO web_rt_{suffix}; GRANT UPDATE (name) ON users TO web_rt_{suffix};
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO keeper_{suffix} WITH GRANT OPTION;
    ALTER DEFAULT PRIVILEGES FOR ROLE keeper_{suffix} GRANT SELECT ON TABLES TO web_rt_{suffix};
    SELECT lo_from_bytea(77, '\\x00ff');
    INSERT INTO users (id, name, email) VALUES ('u', 'Ada', 'ada@example.com')
"""


@dataclass(frozen=True)
class Elsewhere:
    """A server of its own, and `manage.py` that uses it."""

    major: int
    address: str

    def url(self, database: str, role: str = SUPERUSER) -> str:
        return self.address.format(role=role, database=database)

    def execute(
        self, statement: str, database: str = "fltr_auth", role: str = SUPERUSER
    ) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url(database, role), autocommit=True) as session:
            cursor = session.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def manage(self, *arguments: str, role: str = SUPERUSER) -> Outcome:
        named = {"AUTH": "fltr_auth", "FLTR": "fltr", "CONTROL": "control"}
        urls = {
            f"{name}_DATABASE_URL": self.url(database, role) for name, database in named.items()
        }
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**os.environ, **urls, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Outcome(done.stdout, done.stderr, done.returncode)


@pytest.fixture(scope="module", params=programs.SUPPORTED_MAJORS, ids=lambda major: f"with_{major}")
def elsewhere(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Elsewhere]:
    major = request.param
    if programs.server_bin(major) is None:
        pytest.skip(f"PostgreSQL {major} is not installed here")
    server = EmbeddedServer(tmp_path_factory.mktemp("e"), major, quiet=True)
    server.join()
    try:
        place = f"host={server.socket_directory}"
        found = Elsewhere(major, f"postgresql://{{role}}@/{{database}}?{place}")
        for name in ("fltr_auth", "fltr", "control"):
            found.execute(f"CREATE DATABASE {name}", "postgres")
        yield found
    finally:
        server.leave()
        server.remove()


@pytest.fixture(autouse=True)
def _other_version(elsewhere: Elsewhere, databases: Databases) -> None:
    if major_here() == elsewhere.major:
        pytest.skip("the same version is tested elsewhere")


@pytest.fixture
def of_production(databases: Databases) -> Iterator[Mapping[str, str]]:
    """The names in PRODUCTION; its roles are dropped from the tests' server afterwards."""
    suffix = databases.names["auth"]
    yield {"suffix": suffix, "database": suffix}
    for role in roles(suffix):
        if databases.execute("auth", "SELECT FROM pg_roles WHERE rolname = %s", role.strip('"')):
            databases.execute("auth", f"REASSIGN OWNED BY {role} TO CURRENT_USER")
            drop_role(databases, role)


def roles(suffix: str) -> tuple[str, ...]:
    return f"web_rt_{suffix}", f'"data team {suffix}"', f"keeper_{suffix}"


def major_here() -> int:
    return identify(connect("auth")).major


def test_production_of_here_on_ones_own_machine_there(
    databases: Databases,
    run: Run,
    elsewhere: Elsewhere,
    of_production: Mapping[str, str],
    tmp_path: Path,
) -> None:
    databases.execute("auth", PRODUCTION.format(**of_production))
    databases.mark("auth", "production")
    here = ("--database", "auth", "--backup-dir", str(tmp_path))
    outcome = run("backup_database", *here)
    assert (outcome.err, outcome.code) == ("", 0)
    assert "found equal" in outcome.out
    rows = data()
    # A plain owner of an empty database, as one makes it for oneself.
    for statement in (
        "DROP DATABASE IF EXISTS fltr_auth WITH (FORCE)",
        "DROP ROLE IF EXISTS ada",
        "CREATE ROLE ada LOGIN",
        "CREATE DATABASE fltr_auth OWNER ada TEMPLATE template0",
    ):
        elsewhere.execute(statement, "postgres")
    elsewhere.execute("GRANT CREATE, USAGE ON SCHEMA public TO ada", "control")
    # As it stands it is refused, with what to say.
    restore = ("restore_database", *here, "--from", "latest", "--no-input", "--no-backup")
    refused = elsewhere.manage(*restore, role="ada")
    assert (refused.out, refused.code) == ("", 2), refused
    assert f"the server has no role 'data team {of_production['suffix']}'" in refused.err
    assert "--no-owner" in refused.err
    assert elsewhere.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    named = elsewhere.manage(*restore, "--no-owner", role="ada")
    assert named.code == 2, named
    assert "a policy or a user mapping is for it: say --role-map OLD=NEW" in named.err
    planned = elsewhere.manage(*restore, "--no-owner", "--plan", role="ada")
    assert planned.code == 0, planned
    assert f"rights of role web_rt_{of_production['suffix']}" in planned.out
    # A policy is for a role that is not there: it must be said whom it is for then.
    mapped = ("--no-owner", "--role-map", f"web_rt_{of_production['suffix']}=ada")
    restored = elsewhere.manage(*restore, *mapped, role="ada")
    assert restored.code == 0, restored
    # Both are told: what was asked to change, and the setting that only a superuser may make up.
    assert "Not as in the backup: owners and grants, which were asked to change" in restored.out
    assert "setting custom.region of the database: permission denied" in restored.out.replace(
        '"', ""
    )
    assert elsewhere.execute(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    ) == [("ada",)]
    assert elsewhere.execute("SELECT id, body FROM notes ORDER BY id", role="ada") == [
        (1, "it's"),
        (2, "a\tb"),
        (3, None),
    ]
    assert elsewhere.execute("SHOW TimeZone", role="ada") == [("Asia/Tokyo",)]
    assert elsewhere.execute("SELECT polroles::regrole[]::text FROM pg_policy") == [("{ada}",)]
    checked = elsewhere.manage("verify_schema", "--database", "auth", "--data", role="ada")
    assert "notes" in checked.out
    # And what is done there comes back here: everything in it is equal again.
    back = elsewhere.manage("backup_database", *here, "--no-proof", role="ada")
    assert back.code == 0, back
    databases.execute("auth", "DROP TABLE notes CASCADE; DELETE FROM users")
    databases.mark("auth", "test")
    outcome = run(*restore, "--no-owner", "--role-map", f"ada=web_rt_{of_production['suffix']}")
    assert (outcome.err, outcome.code) == ("", 0)
    assert data() == rows


def test_production_of_there_on_ones_own_machine_here(
    databases: Databases,
    run: Run,
    elsewhere: Elsewhere,
    of_production: Mapping[str, str],
    tmp_path: Path,
) -> None:
    for statement in (
        "DROP DATABASE IF EXISTS fltr_auth WITH (FORCE)",
        "CREATE DATABASE fltr_auth TEMPLATE template0",
    ):
        elsewhere.execute(statement, "postgres")
    assert elsewhere.manage("migrate", "--database", "auth").code == 0
    elsewhere.execute(PRODUCTION.format(**{**of_production, "database": "fltr_auth"}))
    here = ("--database", "auth", "--backup-dir", str(tmp_path))
    backup = elsewhere.manage("backup_database", *here, "--proof")
    assert backup.code == 0, backup
    assert "found equal" in backup.out
    # The same roles under other names: everything has an owner and its rights.
    suffix = of_production["suffix"]
    for role in roles(suffix)[:2]:
        databases.execute("auth", f"CREATE ROLE {role}")
    databases.mark("auth", "test")
    restore = ("restore_database", *here, "--from", "latest", "--no-input", "--no-backup")
    outcome = run(*restore)
    assert outcome.code == 2
    assert f"the server has no role 'keeper_{suffix}'" in outcome.err
    outcome = run(*restore, "--role-map", f"keeper_{suffix}=data team {suffix}")
    assert (outcome.err, outcome.code) == ("", 0)
    assert databases.execute(
        "auth",
        "SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'shout' "
        "UNION ALL SELECT relowner::regrole::text FROM pg_class WHERE relname = 'notes'",
    ) == [(f'"data team {suffix}"',), (f'"data team {suffix}"',)]
    assert databases.execute("auth", "SELECT body FROM notes ORDER BY id") == [
        ("it's",),
        ("a\tb",),
        (None,),
    ]
    granted = databases.execute(
        "auth",
        "SELECT count(*) FROM information_schema.role_table_grants WHERE grantee = %s AND table_name = 'notes'",
        f"web_rt_{suffix}",
    )
    assert granted == [(2,)]


def test_what_the_older_one_does_not_know_is_named(
    databases: Databases, run: Run, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    if not (major_here() == 18 > elsewhere.major):
        pytest.skip("18 has what an older one does not know")
    databases.execute(
        "auth", "CREATE TABLE newest (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL)"
    )
    here = ("--database", "auth", "--backup-dir", str(tmp_path))
    assert run("backup_database", *here, "--no-proof").code == 0
    elsewhere.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE mine (a int)")
    assert elsewhere.manage("mark_environment", "--database", "auth", "test").code == 0
    restore = ("restore_database", *here, "--from", "latest", "--no-input", "--no-backup")
    refused = elsewhere.manage(*restore)
    assert refused.code == 7, refused
    assert "TABLE newest" in refused.err
    assert "Traceback" not in refused.err
    assert elsewhere.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ) == [("mine",)]
