"""A database built by the real `drizzle-kit migrate` from the contract's tables is no drift."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Databases, Outcome
from tests.drift.conftest import emptied

from . import drizzle_folder

Node = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("alias", ["auth", "fltr"])
def test_a_database_built_by_drizzle_kit_has_no_errors(
    alias: str,
    databases: Databases,
    node: Node,
    clients: Path,
    run: Callable[..., Outcome],
    tmp_path: Path,
) -> None:
    emptied(databases, alias)
    out, url = tmp_path / "drizzle", databases.environment()[f"{alias.upper()}_DATABASE_URL"]
    settings = drizzle_folder.variables(alias, clients, out, url)

    def kit(*arguments: str) -> None:
        done = node(drizzle_folder.KIT, *arguments, **settings)
        assert done.returncode == 0, done.stdout + done.stderr

    drizzle_folder.generate(alias, clients, out, kit)
    kit("migrate", drizzle_folder.CONFIG)

    outcome = run("verify_schema", "--database", alias, "--format", "json")
    assert outcome.code == 0, outcome.out
    (database,) = json.loads(outcome.out)["databases"]
    assert {finding["severity"] for finding in database["findings"]} == {"note"}
    assert len(database["findings"]) <= 3
    assert run("verify_schema", "--database", alias, "--strict").code == 0
