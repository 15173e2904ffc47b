"""A verification of a live database: read it, compare it, and look at its rows where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Catalog, Table
from fltr_project.catalog.read import read, read_from, read_what_can_be_read
from fltr_project.errors import CannotRun
from fltr_project.postgres.target import ALIASES, Target

from .ignore import Ignore
from .pending import with_pending
from .repair import standing
from .report import FindingWithRepair, Verified, verify


def verify_live(
    connection: BaseDatabaseWrapper,
    target: Target,
    *,
    expected: Catalog | None = None,
    ignores: Sequence[Ignore] = (),
    with_data: bool = False,
) -> Verified:
    """What differs from the contract of the database, or from ``expected``. Read-only.

    What could not be read is named in it. Raises CannotRun where nothing is expected, so that nothing could
    differ, and django.db.Error when the server cannot answer.
    """
    tables = contract.tables(target.alias)
    if connection.in_atomic_block:
        found = read(connection, tables)
    else:
        with connection.wrap_database_errors:
            found = read_what_can_be_read(connection.connection, tables)
    wanted = contract.load(target.alias) if expected is None else expected
    if not wanted.of(Table):
        raise CannotRun(f"There is nothing to compare {target} with: no table is expected there.")
    rows: Sequence[FindingWithRepair] = ()
    if with_data:
        # Most runs look at the schema only.
        from . import data

        rows, denied = data.check(connection, found)
        found = replace(found, unread=(*found.unread, *denied))
    verified = verify(
        target,
        wanted,
        found,
        elsewhere(target.alias),
        ignores,
        rows,
        cleared=partial(standing.cleared, connection),
    )
    return with_pending(verified, connection)


def elsewhere(alias: str) -> dict[str, str]:
    """The tables of the contracts of the other databases, and whose they are."""
    return {
        table: f"database {other!r}"
        for other in ALIASES
        if other != alias
        for table in contract.tables(other)
    }


def read_address(settings: dict[str, Any], alias: str) -> Catalog:
    """The catalog of a database that is none of the project's own, to compare ``alias`` with. Read-only.

    ``settings`` are its address as Django has it. Raises psycopg.Error.
    """
    known = {
        "host": settings["HOST"],
        "port": settings["PORT"],
        "user": settings["USER"],
        "password": settings["PASSWORD"],
        "dbname": settings["NAME"],
        **settings["OPTIONS"],
    }
    parameters = {key: value for key, value in known.items() if value}
    with psycopg.connect(**parameters, autocommit=True) as raw:
        return read_from(raw, contract.tables(alias))
