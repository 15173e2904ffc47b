"""What README and docs/ tell people to type, typed by a role that owns its databases and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import Databases, Outcome

from .plain_owner import PlainOwner, plain_owner

pytestmark = pytest.mark.slow


@pytest.fixture
def owner(databases: Databases) -> Iterator[PlainOwner]:
    with plain_owner(databases) as role:
        yield role


def test_a_plain_owner_needs_nobodys_help(
    owner: PlainOwner, manage: Callable[..., Outcome], tmp_path: Path
) -> None:
    environment = owner.environment()
    backups = ("--backup-dir", str(tmp_path / "backups"))

    def typed(*command: str, code: int = 0) -> Outcome:
        outcome = manage(*command, **environment)
        assert (outcome.code, outcome.err.replace("Interrupted", "")) == (code, ""), (
            command,
            outcome,
        )
        return outcome

    # The release step.
    typed("migrate", "--verbosity", "0")
    typed("migrate", "--database", "auth", "--verbosity", "0")
    typed("migrate", "--database", "fltr", "--verbosity", "0")
    typed("verify_schema", "--strict")
    typed("check", "--database", "auth", "--database", "fltr")
    typed("smoke_credits", "--concurrency", "2")
    typed("verify_schema", "--data")
    with psycopg.connect(environment["AUTH_DATABASE_URL"], autocommit=True) as client:
        assert client.execute(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone() == (False,)
        # As another program signs up.
        client.execute("INSERT INTO users (id, name, email) VALUES ('ada', 'Ada', 'a@example.org')")
        balance = "SELECT credits FROM user_credits WHERE user_id = 'ada'"
        assert client.execute(balance).fetchone() == (50,)

    # The application's own role, by docs/roles.md.
    typed("grant_access", "--role", owner.application, "--as", "app")
    address = environment["AUTH_DATABASE_URL"].replace(owner.role, owner.application, 1)
    with psycopg.connect(address, autocommit=True) as client:
        client.execute("INSERT INTO users (id, name, email) VALUES ('bob', 'Bob', 'b@example.org')")
        spent = client.execute("SELECT balance_after FROM consume_credits('bob', 5, 'q')")
        assert spent.fetchone() == (45,)
        for refused in ("DELETE FROM credit_transactions", "UPDATE user_credits SET credits = 9"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                client.execute(refused)

    # A copy of production on the way to being emptied, marked and confirmed.
    typed("mark_environment", "production", "--no-input")
    assert "production" in typed("mark_environment").out
    plan = json.loads(typed("clean_slate", "--plan", "--format", "json", *backups).out)
    names = [each["database"]["database"] for each in plan["plans"]]
    confirmed = [word for name in names for word in ("--confirm", name)]
    rebuild = ("clean_slate", "--no-input", *confirmed, *backups)
    assert manage(*rebuild, **environment).code != 0
    typed(*rebuild, "--token", plan["token"])
    typed("verify_schema", "--strict")
    assert "production" in typed("mark_environment").out
    with psycopg.connect(address, autocommit=True) as client:
        client.execute("INSERT INTO users (id, name, email) VALUES ('bob', 'Bob', 'b@example.org')")
        assert client.execute("SELECT count(*) FROM consume_credits('bob', 5, 'q')").fetchone() == (
            1,
        )
    with psycopg.connect(environment["AUTH_DATABASE_URL"], autocommit=True) as client:
        client.execute("INSERT INTO users (id, name, email) VALUES ('ada', 'Ada', 'a@example.org')")
        # The rebuild keeps the bonus.
        assert client.execute(balance).fetchone() == (50,)

    # No longer production: as guarded as what production guards against.
    plan = json.loads(typed("clean_slate", "--plan", "--format", "json", *backups).out)
    typed("mark_environment", "test", "--no-input", *confirmed, "--token", plan["token"])
    made = typed("backup_database", "--database", "auth", *backups).out
    dump = re.search(r"\S+\.dump", made)
    assert dump
    typed("nuke_schema", "--database", "auth", "--no-input", "--keep", *backups)
    typed("nuke_schema", "--database", "auth", "--undo", "--no-input")
    typed("nuke_schema", "--database", "auth", "--no-input", "--keep", *backups)
    typed("nuke_schema", "--database", "auth", "--purge", "--no-input")
    typed("restore_database", "--from", dump[0], "--database", "auth", "--no-input")
    typed("verify_schema", "--strict", "--data")
    typed("reconcile_credits", "--release-expired")
    typed("reconcile_credits", "--repair")
    with psycopg.connect(environment["AUTH_DATABASE_URL"], autocommit=True) as client:
        assert client.execute(balance).fetchone() == (50,)
        client.execute("INSERT INTO users (id, name, email) VALUES ('eve', 'Eve', 'e@example.org')")
        assert client.execute(balance.replace("ada", "eve")).fetchone() == (50,)
        client.execute("ALTER TABLE sessions DROP CONSTRAINT sessions_user_id_users_id_fk")
    assert typed("verify_schema", "--database", "auth", "--sql", code=1).out.count("FOREIGN KEY")
    typed("verify_schema", "--database", "auth", "--apply", "--no-input")
    typed("verify_schema", "--self-test")
    typed("smoke_credits")
