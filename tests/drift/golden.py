"""What is found in every case, word for word: ids are for files of decisions, so they stay.

With FLTR_WRITE_GOLDEN=1 the test that compares them writes golden.txt anew; a review shows what has changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Catalog
from fltr_project.catalog.read import read_from
from fltr_project.drift.compare import differences

from .drift import CHANGED, DRIFT, DRIFT_ROLE, SAME

PATH = Path(__file__).with_name("golden.txt")
ELSEWHERE = {
    alias: dict.fromkeys(contract.tables(other), f"database {other}")
    for alias, other in (("auth", "fltr"), ("fltr", "auth"))
}


@dataclass(frozen=True)
class State:
    """Two catalogs of one case."""

    name: str
    alias: str
    expected: Catalog
    found: Catalog

    def lines(self) -> Iterator[str]:
        for each in differences(self.expected, self.found, ELSEWHERE[self.alias]):
            # Whichever extension the server has: see EXTENSION.
            id_ = each.finding.id.replace("-pg_trgm-", "-vector-").replace(DRIFT_ROLE, "a_role")
            yield f"{self.name}: {each.finding.severity} {each.rule} {id_}"


def states(connections: dict[str, psycopg.Connection[Any]]) -> Iterator[State]:
    """Every case's catalogs, on databases as they were migrated; nothing is left behind."""

    def after(alias: str, statements: str) -> Catalog:
        connection = connections[alias]
        connection.execute("BEGIN")
        try:
            connection.execute(statements)
            return read_from(connection, contract.tables(alias), nested=True)
        finally:
            connection.execute("ROLLBACK")

    version = min(each.info.server_version for each in connections.values()) // 10000
    for case in DRIFT:
        if case.since <= version:
            found = after(case.alias, case.sql)
            yield State(case.name, case.alias, contract.load(case.alias), found)
    for alias, name, statements in SAME:
        yield State(name, alias, contract.load(alias), after(alias, statements))
    for change in CHANGED:
        if change.since <= version:
            expected, found = after("auth", change.before), after("auth", change.after)
            yield State(change.name, "auth", expected, found)


def golden() -> list[str]:
    return PATH.read_text(encoding="utf-8").splitlines()
