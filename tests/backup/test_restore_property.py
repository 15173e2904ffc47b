"""Random databases come back: proven, over what is there, and into a new database."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from hypothesis import HealthCheck, Phase, given, settings
from psycopg import sql

from tests.conftest import Databases, Outcome, drop_role
from tests.samples import extension

from .comparing import data, dumped
from .random_databases import databases as drawn_databases
from .random_databases import statements

pytestmark = pytest.mark.slow

# Each is a database of six schemas: 5 are the 30 that belong to every run of the tests, 84 are 500.
EXAMPLES = int(os.environ.get("RESTORE_EXAMPLES", "5"))


@pytest.fixture
def roles(databases: Databases) -> Iterator[tuple[str, str]]:
    name = databases.names["auth"]
    named = (f"r_{name}", f'data "team" {name}')
    quoted = ['"' + role.replace('"', '""') + '"' for role in named]
    for role in quoted:
        databases.execute("auth", f"CREATE ROLE {role}")
    yield named
    for role in quoted:
        drop_role(databases, role)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    # An example takes seconds; shrinking one would take minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(drawn=drawn_databases)
def test_a_random_database_comes_back(
    databases: Databases,
    run: Callable[..., Outcome],
    roles: tuple[str, str],
    drawn: dict[str, Any],
) -> None:
    name = databases.names["auth"]
    create_anew(databases, name)
    it = extension(databases)
    with databases.connect("auth") as session:
        for statement in statements(drawn, roles, it, name):
            session.execute(statement)
    schema, rows = dumped(name), data()
    with tempfile.TemporaryDirectory() as directory:
        here = ("--database", "auth", "--backup-dir", directory)
        outcome = run("backup_database", *here, "--proof")
        assert (outcome.err, outcome.code) == ("", 0)
        assert "found equal" in outcome.out
        restore = ("restore_database", *here, "--from", "latest", "--no-input", "--no-backup")
        for over_it in (True, False):
            if not over_it:
                create_anew(databases, name)
            outcome = run(*restore)
            assert (outcome.err, outcome.code) == ("", 0)
            assert data() == rows
            assert dumped(name) == schema


def create_anew(databases: Databases, name: str) -> None:
    connections["auth"].close()
    with databases.connect("fltr") as server:
        for statement in ("DROP DATABASE {} WITH (FORCE)", "CREATE DATABASE {} TEMPLATE template0"):
            server.execute(sql.SQL(statement).format(sql.Identifier(name)))
    databases.mark("auth", "test")
