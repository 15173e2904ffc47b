"""A migrated pair of databases that the tests of one module share: each undoes what it does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pytest_django.plugin import DjangoDbBlocker

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Catalog, Column, Function, Grants, Trigger
from fltr_project.catalog.read import read_from
from tests.conftest import ALIASES, Databases, _clone, _reaching, _server

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
                _clone(alias, _templates[alias], name)
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


def revocations(alias: str) -> list[str]:
    """What takes the rights to its functions from PUBLIC, which gets them when they are made."""
    return [
        f"REVOKE {', '.join(entry.revoked)} ON {entry.on} FROM PUBLIC"
        for entry in contract.load(alias).of(Grants)
        if entry.role == "PUBLIC" and entry.on.startswith("FUNCTION ")
    ]


def comes_first(function: Function, alias: str) -> bool:
    """Whether a column's default calls it; every other one may name a table and comes after it."""
    defaults = [column.default or "" for column in contract.load(alias).of(Column)]
    return any(f"{function.name}(" in default for default in defaults)
