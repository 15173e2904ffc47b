"""`drizzle-kit push` with the contract's natural declarations leaves the foreign keys alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Databases

from .drizzle_folder import KIT, schema
from .test_drizzle_build import Node


@pytest.mark.parametrize("alias", ["auth", "fltr"])
def test_push_has_nothing_to_do_for_them(
    alias: str, databases: Databases, node: Node, clients: Path
) -> None:
    declarations = clients / f"push_{alias}.mjs"
    declarations.write_text(schema(alias))

    def pushed() -> str:
        # It stops at its question, as there is no terminal: the checks and indexes that it would
        # make anew have other names here than Drizzle's.
        return node(
            KIT,
            *("push", "--verbose", "--config=contract.config.mjs"),
            DRIZZLE_SCHEMA=f"./{declarations.name}",
            DRIZZLE_OUT="./unused",
            DRIZZLE_URL=databases.environment()[f"{alias.upper()}_DATABASE_URL"],
        ).stdout

    found = pushed()
    assert "You are about to execute current statements" in found
    assert ("FOREIGN KEY" in found, '_fk"' in found) == (False, False), found

    # It would be seen: Django's own name for one of them.
    table = {"auth": "sessions", "fltr": "documents"}[alias]
    ((name,),) = databases.execute(
        alias,
        "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'",
        table,
    )
    databases.execute(alias, f"ALTER TABLE {table} RENAME CONSTRAINT {name} TO another_name")
    assert f'ADD CONSTRAINT "{name}" FOREIGN KEY' in pushed()
