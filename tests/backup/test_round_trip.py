"""A backup of a database as others have made it is proven, and comes back equal: over it and into a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connections

from fltr_project.postgres.target import connect
from tests.conftest import Databases, Outcome

from .comparing import data, dumped
from .world import TOGETHER, WORLDS, World, together


@pytest.fixture
def roles(databases: Databases) -> Iterator[dict[str, str]]:
    name = databases.names["auth"]
    named = {"role": f"{name}_role", "other": f'{name} data "team"'}
    for role in named.values():
        databases.execute("auth", f'CREATE ROLE "{_doubled(role)}"')
    yield {**named, "other": _doubled(named["other"]), "database": name}
    for database in ("auth", "fltr"):
        for role in named.values():
            databases.execute(database, f'DROP OWNED BY "{_doubled(role)}" CASCADE')
    for role in named.values():
        databases.execute("fltr", f'REASSIGN OWNED BY "{_doubled(role)}" TO CURRENT_USER')
        databases.execute("auth", f'REASSIGN OWNED BY "{_doubled(role)}" TO CURRENT_USER')
        databases.execute(
            "auth", f'DROP OWNED BY "{_doubled(role)}" CASCADE; DROP ROLE "{_doubled(role)}"'
        )


def _doubled(name: str) -> str:
    return name.replace('"', '""')


def test_every_world_is_in_a_group() -> None:
    assert sorted(name for names in TOGETHER.values() for name in names) == sorted(
        world.name for world in WORLDS
    )


@pytest.mark.parametrize(
    "world", [together(name) for name in TOGETHER], ids=lambda world: world.name
)
def test_it_comes_back_equal(
    databases: Databases,
    run: Callable[..., Outcome],
    roles: dict[str, str],
    tmp_path: Path,
    world: World,
) -> None:
    if connect("auth").connection.info.server_version < world.since * 10000:
        pytest.skip(f"PostgreSQL {world.since} knows this first")
    name = databases.names["auth"]
    databases.mark("auth", "test")
    filled = world.sql
    for key, value in roles.items():
        filled = filled.replace("{" + key + "}", value)
    databases.execute("auth", filled)
    connections["auth"].close()
    schema, rows = dumped(name), data()
    here = ("--database", "auth", "--backup-dir", str(tmp_path))
    outcome = run("backup_database", *here, "--proof")
    assert (outcome.err, outcome.code) == ("", 0)
    assert "found equal" in outcome.out
    # Over it, as it stands.
    databases.execute("auth", "DELETE FROM users")
    restore = ("restore_database", *here, "--from", "latest", "--no-input", "--no-backup")
    outcome = run(*restore)
    assert (outcome.err, outcome.code) == ("", 0)
    for kept in world.kept:
        assert f"Kept as it was there: {kept.format(**roles)}." in outcome.out
    # Nothing of what was there before is left.
    assert "is kept in" not in outcome.out
    assert data() == rows
    assert dumped(name) == schema
    # Into one that has nothing.
    with databases.connect("fltr") as server:
        connections["auth"].close()
        server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    databases.mark("auth", "test")
    outcome = run(*restore)
    assert (outcome.err, outcome.code) == ("", 0)
    assert data() == rows
    assert dumped(name) == schema
