"""A repair is tried before it is printed or run; what is not proven is said, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from django.db import connections

from fltr_project.drift import trial
from fltr_project.postgres import target
from tests.conftest import Databases, Outcome, drop_role

from .test_standing import dump

pytestmark = pytest.mark.slow

Run = Callable[..., Outcome]
PROVEN = "-- Tried on this server in a transaction that was rolled back"
INDEX = "DROP INDEX sessions_user_id_idx"


def sql(run: Run, *options: str) -> str:
    return run("verify_schema", "--database", "auth", "--sql", *options).out


def apply(run: Run, *options: str) -> Outcome:
    return run("verify_schema", "--database", "auth", "--apply", "--no-input", *options)


@pytest.fixture
def role(databases: Databases) -> Iterator[str]:
    """A role of no rights, as which the commands connect once a test says so."""
    name = f"tries_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {name}")
    yield name
    connections["auth"].settings_dict["OPTIONS"].pop("assume_role", None)
    connections["auth"].close()
    drop_role(databases, name)


def become(role: str) -> None:
    connections["auth"].close()
    connections["auth"].settings_dict["OPTIONS"]["assume_role"] = role


def test_a_proven_script_says_so_and_a_trial_leaves_nothing(databases: Databases, run: Run) -> None:
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('n', 'e')")
    databases.execute(
        "auth",
        f"{INDEX}; ALTER TABLE users DROP CONSTRAINT users_email_unique, ALTER name DROP NOT NULL,"
        "ALTER email TYPE varchar(90); DROP TABLE verifications; DROP FUNCTION open_credit_account",
    )
    before = (
        dump(databases),
        databases.execute(
            "auth", "SELECT pg_sequence_last_value(oid) FROM pg_class WHERE relkind = 'S'"
        ),
    )
    assert PROVEN in sql(run)
    assert before[0] == dump(databases)
    assert before[1] == databases.execute(
        "auth", "SELECT pg_sequence_last_value(oid) FROM pg_class WHERE relkind = 'S'"
    )
    untried = sql(run, "--no-trial")
    assert "-- NOT TRIED on this server: --no-trial was given\n" in untried
    lines = [line for line in sql(run).splitlines() if "ried on this" not in line.lower()]
    assert lines == [line for line in untried.splitlines() if "tried on this" not in line.lower()]


# What is wrong, part of why it is not repaired, and what is allowed. The index is repaired all the same.
REFUSED = [
    # An index has the name of one that a new table needs.
    (
        "ALTER TABLE verifications RENAME TO other; ALTER TABLE other DROP value, DROP identifier, DROP expires_at",
        'relation "verifications_pkey" already exists',
        (),
    ),
    # A schema that is not empty, whose function a trigger was made of.
    (
        "CREATE SCHEMA audit; CREATE FUNCTION audit.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE TRIGGER own AFTER INSERT ON users EXECUTE FUNCTION audit.f()",
        "cannot drop schema audit because other objects depend on it: function audit.f() depends",
        ("--allow", "drop-others"),
    ),
    # Rows that break what is missing.
    (
        "ALTER TABLE teams DROP CONSTRAINT teams_credits_check;"
        "INSERT INTO teams (name, credits) VALUES ('t', -1)",
        'check constraint "teams_credits_check" of relation "teams" is violated by some row',
        (),
    ),
    # A right that its owner has not given cannot be taken by him.
    (
        "GRANT SELECT ON users TO {0} WITH GRANT OPTION; SET ROLE {0}; GRANT SELECT ON users TO PUBLIC;"
        "RESET ROLE",
        "it would be found as before after all of it has run",
        ("--allow", "take-rights"),
    ),
]


@pytest.mark.parametrize(("drift", "reason", "allowed"), REFUSED)
def test_what_would_not_mend_is_not_offered_and_the_rest_is(
    databases: Databases,
    run: Run,
    role: str,
    drift: str,
    reason: str,
    allowed: tuple[str, ...],
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", f"{INDEX}; {drift}".format(role))
    script = sql(run, *allowed)
    assert PROVEN in script
    assert reason in script.partition("No repair is offered for ")[2]
    outcome = apply(run, *allowed)
    assert outcome.err == ""
    assert "CREATE INDEX CONCURRENTLY" in outcome.out
    assert f"no repair is offered: {reason}" in outcome.out
    again = apply(run, *allowed)
    assert "Repaired" not in again.out
    assert f"no repair is offered: {reason}" in again.out


def test_a_role_that_may_not_is_told_so(databases: Databases, run: Run, role: str) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", INDEX)
    become(role)
    script = sql(run)
    assert PROVEN not in script
    assert (
        f"-- NOT TRIED on this server, for role {role} may not run it: index of sessions" in script
    )
    assert "CREATE INDEX CONCURRENTLY" in script
    outcome = apply(run)
    assert outcome.code == 2
    assert f"Role {role} may not repair " in outcome.err
    assert "Connect as the role that owns the tables." in outcome.err
    assert "in the way" not in outcome.err


def test_a_plain_owner_repairs_what_he_may(databases: Databases, run: Run, role: str) -> None:
    databases.mark("auth", "test")
    databases.execute(
        "auth",
        f"{INDEX}; ALTER TABLE teams DISABLE TRIGGER ALL;"
        f"DO $$ DECLARE t record; BEGIN FOR t IN SELECT relname FROM pg_class WHERE relkind = 'r' AND"
        f" relnamespace = 'public'::regnamespace LOOP EXECUTE format('ALTER TABLE %I OWNER TO {role}',"
        f" t.relname); END LOOP; END $$; GRANT CREATE, USAGE ON SCHEMA public TO {role}",
    )
    become(role)
    outcome = apply(run)
    assert outcome.err == ""
    assert f"no repair is offered: role {role} may not: permission denied" in outcome.out
    found = databases.execute("auth", "SELECT to_regclass('sessions_user_id_idx') IS NOT NULL")
    assert found == [(True,)]


def test_locked_rows_are_no_proof(databases: Databases, run: Run) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", "ALTER TABLE users ALTER image TYPE varchar")
    short = ("--lock-timeout", "0.2")
    with databases.connect("auth", application_name="a report") as reader, reader.transaction():
        reader.execute("SELECT FROM users")
        script = sql(run, *short)
        assert "-- NOT TRIED on this server: Waited 0.2 s for a lock" in script
        assert "a report" in script
        assert apply(run, *short).code == 5
    assert PROVEN in sql(run, *short)


def test_a_trial_that_takes_too_long_is_no_proof(
    databases: Databases, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", "ALTER TABLE users ALTER image TYPE varchar")
    clock = count(step=11)
    monkeypatch.setattr(trial, "monotonic", lambda: next(clock))
    assert "-- NOT TRIED on this server: it takes longer than 10 s\n" in sql(run)
    outcome = apply(run)
    assert outcome.code == 2
    assert "could not be tried: it takes longer than 10 s. Nothing was changed." in outcome.err
    assert "--no-trial" in outcome.err
    assert apply(run, "--trial-timeout", "0").code == 2
    assert apply(run, "--trial-timeout", "30").code == 0


def test_a_standby_is_no_place_for_a_trial(
    databases: Databases, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.mark("auth", "test")
    databases.execute("auth", INDEX)
    # As the server says it there, which no session of ours can be made to on a primary.
    standby = target.IDENTIFY.replace("pg_is_in_recovery()", "true")
    monkeypatch.setattr(target, "IDENTIFY", standby)
    assert "-- NOT TRIED on this server: it is read-only here\n" in sql(run)
    outcome = apply(run)
    assert outcome.code == 2
    assert (
        "could not be tried: it is read-only here. Nothing was changed. Connect to" in outcome.err
    )
