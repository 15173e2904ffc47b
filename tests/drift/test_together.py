"""Several drifts at once, on a database with things of others: what is printed runs, and nothing is left to run.

FLTR_TEST_EXAMPLES says how many combinations are drawn; a few by default, always the same ones.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator, Sequence

import psycopg
import pytest
from django.db import connections

from fltr_project.drift.repair.statement import Hazard
from fltr_project.postgres import programs
from tests.conftest import Databases, Outcome, drop_role

from .drift import CREATE_ROLE, DRIFT
from .test_hazards import OTHERS, live
from .test_standing import WAY

pytestmark = pytest.mark.slow

Run = Callable[..., Outcome]

EXAMPLES = int(os.environ.get("FLTR_TEST_EXAMPLES", "4"))
CASES = [
    each.sql
    for each in DRIFT
    if each.alias == "auth" and CREATE_ROLE not in each.sql and "pg_index SET" not in each.sql
]
# What makes the others harder.
TYPES_AND_NAMES = [
    "ALTER TABLE users ALTER name TYPE varchar(90)",
    "ALTER TABLE sessions ALTER ip_address TYPE varchar",
    "ALTER TABLE teams ALTER credits TYPE bigint",
    "ALTER TABLE users RENAME name TO full_name",
    'ALTER TABLE sessions RENAME ip_address TO "ipAddress"',
]
ROWS = """
    INSERT INTO users (id, name, email) VALUES ('u', 'n', 'e'); INSERT INTO teams (id, name) VALUES ('t', 't');
    INSERT INTO sessions (user_id, token, expires_at) VALUES ('u', 't', now());
    INSERT INTO verifications (identifier, value, expires_at) VALUES ('i', 'v', now());
"""
# Those of which one repair was once in another's way.
COMBINED = [
    # Two indexes that are alike have one id, beside a column with another name.
    (
        "CREATE INDEX one ON users (name); CREATE INDEX two ON users (name);"
        'ALTER TABLE sessions RENAME ip_address TO "ipAddress"',
        ("drop-others",),
    ),
    # What is made anew gets the rights that everybody gets here.
    (
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES"
        " TO PUBLIC; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO PUBLIC;"
        "DROP TABLE credit_transactions CASCADE; DROP TABLE verifications; DROP FUNCTION open_credit_account",
        (),
    ),
    # And those that nobody gets any more.
    (
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC; DROP FUNCTION uuid7_text CASCADE",
        (),
    ),
    # A plain index has the name that a key needs.
    (
        "ALTER TABLE users DROP CONSTRAINT users_email_unique; CREATE INDEX users_email_unique ON users (email)",
        (),
    ),
    # A check that cannot be made before its column has its type.
    (
        "ALTER TABLE teams DROP CONSTRAINT teams_credits_check, ALTER credits DROP DEFAULT,"
        "ALTER credits TYPE text USING credits::text; DROP INDEX sessions_user_id_idx",
        (),
    ),
]


@pytest.fixture
def role(databases: Databases) -> Iterator[str]:
    name = f"others_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {name}")
    databases.mark("auth", "test")
    databases.execute("auth", ROWS)
    yield name
    connections["auth"].close()
    drop_role(databases, name)


@pytest.mark.parametrize(("drift", "allowed"), COMBINED)
def test_repairs_that_meet(
    databases: Databases, run: Run, role: str, drift: str, allowed: Sequence[str]
) -> None:
    databases.execute("auth", drift)
    script = repaired(databases, run, allowed, by_hand=False)
    assert live(script)
    assert "No repair is offered" not in script


@pytest.mark.parametrize("seed", range(EXAMPLES))
def test_any_drifts_together(databases: Databases, run: Run, role: str, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    databases.execute("auth", OTHERS.format(role))
    if draw.random() < 0.7:
        databases.execute("auth", f'DROP VIEW "audit.log"; {WAY.format(role)}')
    for drift in draw.sample(CASES, draw.randint(1, 5)) + draw.sample(
        TYPES_AND_NAMES, draw.randint(0, 3)
    ):
        with databases.connect("auth") as connection:
            try:
                connection.execute(f"BEGIN; {drift}; COMMIT")
            except psycopg.Error:
                # One of before has taken away what it is about, or this server is too old for it.
                continue
    words = [each for each in Hazard if each is not Hazard.LOSES_ROWS and draw.random() < 0.4]
    users = "SELECT to_jsonb(u) - 'name' - 'full_name' FROM users u"
    before = databases.execute("auth", users)
    repaired(databases, run, words, by_hand=draw.random() < 0.5)
    after = databases.execute("auth", users)
    assert [row[0]["id"] for row in after] == [row[0]["id"] for row in before] == ["u"]


def repaired(databases: Databases, run: Run, allowed: Sequence[str], *, by_hand: bool) -> str:
    """Repair with psql or --apply; the script. Afterwards there is nothing left to run."""
    options = [option for word in allowed for option in ("--allow", word)]
    script = run("verify_schema", "--database", "auth", "--sql", *options).out
    if by_hand:
        psql = programs.find("psql", at_least=15)
        assert psql
        url = databases.environment()["AUTH_DATABASE_URL"]
        done = subprocess.run(
            [psql.path, "-Xq", "-v", "ON_ERROR_STOP=1", url],
            input=script,
            text=True,
            capture_output=True,
        )
        assert (done.returncode, done.stderr) == (0, ""), script
    else:
        outcome = run("verify_schema", "--database", "auth", "--apply", "--no-input", *options)
        assert outcome.err == "", script
    again = run("verify_schema", "--database", "auth", "--sql", *options).out
    assert live(again) == [], script
    return script
