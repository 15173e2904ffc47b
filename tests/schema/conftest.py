"""A migrated pair of databases that the tests of one module share: each undoes what it does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pytest_django.plugin import DjangoDbBlocker

from fltr_project.schema import contract
from fltr_project.schema.catalog import read_from
from fltr_project.schema.facts import Catalog, Function, Trigger
from tests.conftest import ALIASES, Databases, _copy_settings, _reaching, _server

# Which tables stand in the contract of the other database.
ELSEWHERE = {
    alias: dict.fromkeys(contract.tables(other), f"database {other}")
    for alias, other in (("auth", "fltr"), ("fltr", "auth"))
}


class Shared(Databases):
    """The pair, with an open connection to each for statements that are rolled back."""

    def __init__(self, names: dict[str, str]) -> None:
        super().__init__(names)
        object.__setattr__(self, "open", {alias: self.connect(alias) for alias in ALIASES})

    open: dict[str, psycopg.Connection[Any]]

    def read(self, alias: str) -> Catalog:
        """The catalog as the open transaction of the alias sees it."""
        return read_from(self.open[alias], contract.tables(alias), nested=True)


@pytest.fixture(scope="module")
def shared(_templates: dict[str, str], django_db_blocker: DjangoDbBlocker) -> Iterator[Shared]:
    """One migrated pair for a module."""
    run_id = uuid.uuid4().hex[:8]
    names = {alias: f"cs_shared_{alias}_{run_id}" for alias in ALIASES}
    with django_db_blocker.unblock():
        try:
            for alias, name in names.items():
                _server(alias, "CREATE DATABASE {} TEMPLATE {}", name, _templates[alias])
                _copy_settings(alias, _templates[alias], name)
            with _reaching(names):
                pair = Shared(names)
                yield pair
                for connection in pair.open.values():
                    connection.close()
        finally:
            for alias, name in names.items():
                _server(alias, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def emptied(databases: Databases, alias: str) -> None:
    """A schema public as CREATE DATABASE makes it."""
    databases.execute(
        alias,
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner;"
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
    )


def functions_and_triggers(alias: str) -> tuple[tuple[Function, ...], tuple[Trigger, ...]]:
    """What the contract wants beyond tables, which other tools carry along as SQL."""
    expected = contract.load(alias)
    return expected.of(Function), expected.of(Trigger)
