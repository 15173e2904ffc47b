"""Alembic, asked what the natural declarations of SQLModel would change, leaves the foreign keys alone."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import create_engine

from tests.conftest import ALIASES, Databases

from .test_sqlmodel_build import models


@pytest.mark.parametrize("alias", ALIASES)
def test_it_has_nothing_to_do_for_them(alias: str, databases: Databases) -> None:
    url = databases.environment()[f"{alias.upper()}_DATABASE_URL"]
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))

    def operations() -> list[str]:
        with engine.connect() as connection:
            changes: list[Any] = compare_metadata(
                MigrationContext.configure(connection), models(alias)
            )
        return [change[0] for change in changes if change[0].endswith("_fk")]

    assert operations() == []
    # It would be seen: a key as Django makes it.
    table = {"auth": "sessions", "fltr": "documents"}[alias]
    databases.execute(
        alias,
        "DO $$ DECLARE name text; BEGIN"
        f" SELECT conname INTO name FROM pg_constraint WHERE conrelid = '{table}'::regclass"
        " AND contype = 'f';"
        f" EXECUTE format('ALTER TABLE {table} ALTER CONSTRAINT %I DEFERRABLE', name); END $$",
    )
    assert sorted(operations()) == ["add_fk", "remove_fk"]
    engine.dispose()
