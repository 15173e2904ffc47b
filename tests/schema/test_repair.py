"""What is printed as the repair of a drift repairs it, and loses no rows."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from pytest_django.plugin import DjangoDbBlocker

from fltr_project.schema import contract
from fltr_project.schema.catalog import read_from
from fltr_project.schema.compare import Difference, Severity, differences
from fltr_project.schema.facts import Catalog
from fltr_project.schema.repair import Repair, repair, script, script_text
from tests.conftest import ALIASES, Databases, _copy_settings, _reaching, _server

from .drift import DRIFT, Case

Fresh = Callable[[str], psycopg.Connection[Any]]


@pytest.fixture(scope="module")
def fresh(_templates: dict[str, str], django_db_blocker: DjangoDbBlocker) -> Iterator[Fresh]:
    """A connection to a database as it was migrated; the one of before, where that is clean again."""
    names: dict[str, str] = {}
    connections: dict[str, psycopg.Connection[Any]] = {}

    def connect(alias: str) -> psycopg.Connection[Any]:
        if alias in names and look(connections[alias], alias)[1] == []:
            return connections[alias]
        forget(alias)
        names[alias] = f"cs_repair_{alias}_{uuid.uuid4().hex[:8]}"
        _server(alias, "CREATE DATABASE {} TEMPLATE {}", names[alias], _templates[alias])
        _copy_settings(alias, _templates[alias], names[alias])
        connections[alias] = Databases(names).connect(alias)
        return connections[alias]

    def forget(alias: str) -> None:
        if alias in names:
            connections[alias].close()
            _server(alias, "DROP DATABASE {} WITH (FORCE)", names.pop(alias))

    with django_db_blocker.unblock(), _reaching({}):
        try:
            yield connect
        finally:
            for alias in ALIASES:
                forget(alias)
            _server("auth", "DROP ROLE IF EXISTS cs_drift_role")


def look(connection: psycopg.Connection[Any], alias: str) -> tuple[Catalog, list[Difference]]:
    """The catalog and its differences above a note."""
    found = read_from(connection, contract.tables(alias))
    differs = differences(contract.load(alias), found)
    return found, [each for each in differs if each.finding.severity is not Severity.NOTE]


def repairs(connection: psycopg.Connection[Any], alias: str) -> list[Repair]:
    found, drift = look(connection, alias)
    return [repair(difference, contract.load(alias), found) for difference in drift]


def apply(connection: psycopg.Connection[Any], every: list[Repair]) -> None:
    inside, outside = script(every)
    with connection.transaction():
        connection.execute("SET LOCAL search_path = ''")
        connection.execute("SET LOCAL check_function_bodies = off")
        for statement in inside:
            connection.execute(statement)
    for statement in outside:
        connection.execute(statement)


@pytest.mark.parametrize("case", DRIFT, ids=lambda case: case.name)
def test_its_repair_repairs(case: Case, fresh: Fresh) -> None:
    connection = fresh(case.alias)
    if connection.info.server_version < case.since * 10000:
        with pytest.raises(psycopg.Error), connection.transaction():
            connection.execute(case.sql)
        return
    connection.execute("DROP ROLE IF EXISTS cs_drift_role")
    with connection.transaction():
        connection.execute(case.sql)
    every = repairs(connection, case.alias)
    assert all(each.statements for each in every)
    apply(connection, every)
    _, left = look(connection, case.alias)
    if not case.destructive:
        assert left == []
        assert not any(each.destructive for each in every)
        return
    # What is left needs rows to be lost, so somebody has to take the comments off.
    remaining = repairs(connection, case.alias)
    assert remaining
    statements = [each for one in remaining for each in one.statements if each.destructive]
    assert statements
    for statement in statements:
        assert statement.text.startswith("-- ")
        connection.execute(statement.sql)
    apply(connection, repairs(connection, case.alias))
    assert look(connection, case.alias)[1] == []


def test_no_script_drops_a_table_or_a_column(fresh: Fresh) -> None:
    for case in DRIFT:
        if not case.destructive:
            continue
        connection = fresh(case.alias)
        if connection.info.server_version < case.since * 10000:
            continue
        connection.execute("BEGIN")
        connection.execute(case.sql)
        found = read_from(connection, contract.tables(case.alias), nested=True)
        drift = differences(contract.load(case.alias), found)
        every = [repair(each, contract.load(case.alias), found) for each in drift]
        connection.execute("ROLLBACK")
        text = script_text(every, case.name, case.alias)
        live = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
        assert not re.search(r"DROP (TABLE|COLUMN)|TRUNCATE|DELETE FROM|CASCADE;", live), live
        assert re.search(r"^-- SELECT ", text, re.MULTILINE), text
