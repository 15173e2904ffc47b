"""What is printed as the repair of a drift repairs it, and loses no rows."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from pytest_django.plugin import DjangoDbBlocker

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Catalog
from fltr_project.catalog.read import read_from
from fltr_project.drift.compare import Difference, Severity, differences
from fltr_project.drift.repair import executor, renaming
from fltr_project.drift.repair.repair import Repair, together
from fltr_project.drift.repair.script import comment, script
from fltr_project.drift.repair.statement import Hazard
from fltr_project.drift.report import verify
from fltr_project.drift.trial import Limits, tried
from fltr_project.postgres.target import connect, identify
from tests.conftest import ALIASES, Databases, _clone, _reaching, _server

from .drift import DRIFT, DRIFT_ROLE, Case

pytestmark = pytest.mark.slow

BUT_ROWS = frozenset(Hazard) - {Hazard.LOSES_ROWS, Hazard.CHANGES_VALUES}

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
        _clone(alias, _templates[alias], names[alias])
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
            _server("auth", f"DROP ROLE IF EXISTS {DRIFT_ROLE}")


def look(connection: psycopg.Connection[Any], alias: str) -> tuple[Catalog, list[Difference]]:
    """The catalog and its differences above a note."""
    found = read_from(connection, contract.tables(alias))
    differs = differences(contract.load(alias), found)
    return found, [each for each in differs if each.finding.severity is not Severity.NOTE]


def repairs(connection: psycopg.Connection[Any], alias: str) -> list[Repair]:
    found, drift = look(connection, alias)
    return renaming.repairs(drift, contract.load(alias), found)


def trial(connection: psycopg.Connection[Any], alias: str) -> set[str]:
    """Try the repairs; the ids of findings of which some is left to a person."""
    found = look(connection, alias)[0]
    with _reaching({alias: connection.info.dbname}):
        target = identify(connect(alias))
        verified = verify(target, contract.load(alias), found, {})
        proven = tried(verified, BUT_ROWS, Limits())
    assert (proven.untried, proven.forbidden) == ("", ())
    assert not [each for each in proven.verified.entries if each.repair.obstacle]
    assert look(connection, alias)[0] == found
    held = [each for each in verified.wrong if each.repair.is_held_in_part(BUT_ROWS)]
    return {id_ for each in held for id_ in each.ids}


def apply(connection: psycopg.Connection[Any], alias: str, every: list[Repair]) -> None:
    """As `--apply` does, through the alias's own connection."""
    with _reaching({alias: connection.info.dbname}):
        executor.apply(identify(connect(alias)), every, allowed=BUT_ROWS)


@pytest.mark.parametrize("case", DRIFT, ids=lambda case: case.name)
def test_its_repair_repairs(case: Case, fresh: Fresh) -> None:
    connection = fresh(case.alias)
    if connection.info.server_version < case.since * 10000:
        with pytest.raises(psycopg.Error), connection.transaction():
            connection.execute(case.sql)
        return
    connection.execute(f"DROP ROLE IF EXISTS {DRIFT_ROLE}")
    with connection.transaction():
        connection.execute(case.sql)
    every = repairs(connection, case.alias)
    assert all(each.statements for each in every)
    for cost in {each.cost for each in together(every) if each.hazards and each.cost}:
        connection.execute(cost)
    expected_left = trial(connection, case.alias)
    apply(connection, case.alias, every)
    _, left = look(connection, case.alias)
    # What a trial promises is what is there.
    assert {each.finding.id for each in left} <= expected_left
    if not case.destructive:
        assert left == []
        assert not any(Hazard.LOSES_ROWS in each.hazards for each in every)
        return
    # What is left needs rows to be lost, so somebody has to take the comments off.
    remaining = repairs(connection, case.alias)
    assert remaining
    statements = [each for each in together(remaining) if each.is_held(BUT_ROWS)]
    assert statements
    text = script(remaining, case.name, "", BUT_ROWS)
    for statement in statements:
        assert f"{comment(statement.sql)}\n" in text
        if statement.cost:
            assert f"{comment(statement.cost)}\n" in text
        connection.execute(statement.sql)
    apply(connection, case.alias, repairs(connection, case.alias))
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
        every = renaming.repairs(drift, contract.load(case.alias), found)
        connection.execute("ROLLBACK")
        text = script(every, case.name, "")
        live = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
        assert not re.search(r"DROP (TABLE|COLUMN)|TRUNCATE|DELETE FROM|CASCADE;", live), live
        assert re.search(r"^-- SELECT ", text, re.MULTILINE), text
