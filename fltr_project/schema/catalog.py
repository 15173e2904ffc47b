"""Read what a live database holds from pg_catalog, in one round trip.

PostgreSQL 15 to 18 give the same facts for the same schema.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from operator import attrgetter
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from .facts import KINDS, TRACKING_TABLES, Catalog, Fact, Other, Setting, Table
from .queries import queries
from .rows import (
    UTC,
    Rows,
    Usual,
    columns,
    constraints,
    grants,
    indexes,
    schemas,
    tables,
    triggers,
    types_and_functions,
)

# Milliseconds a catalog query may take or wait; a catalog of 5,000 tables takes about a second.
TIMEOUT = 30_000
# Constants in defaults and checks are printed by these, which a role or a database may have set.
PRINTING = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO, MDY'",
    "SET LOCAL IntervalStyle = 'postgres'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL quote_all_identifiers = off",
    "SET LOCAL jit = off",
)


def read(
    connection: BaseDatabaseWrapper, contract_tables: Iterable[str] = (), timeout: int | None = None
) -> Catalog:
    """Read the facts of schema ``public``; needs no right but CONNECT.

    As ``read_from`` on the connection's own transaction: inside one it sees what that has done,
    and leaves it as it was. Raises django.db.Error when the server cannot answer.
    """
    with connection.wrap_database_errors:
        return read_from(
            connection.connection, contract_tables, timeout, nested=connection.in_atomic_block
        )


def read_from(
    raw: psycopg.Connection[Any],
    contract_tables: Iterable[str] = (),
    timeout: int | None = None,
    nested: bool = False,
) -> Catalog:
    """Read the facts of schema ``public`` over a psycopg connection.

    One consistent snapshot, read-only, one round trip. ``contract_tables`` are compared even where
    a tracking program keeps them; ``timeout`` is in milliseconds, ``TIMEOUT`` by default. Raises
    psycopg.Error.
    """
    wanted = queries(raw.info.server_version // 10000)
    milliseconds = timeout or TIMEOUT
    statements = [
        "SAVEPOINT read_catalog"
        if nested
        else "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        # An empty search_path makes the server print every name with its schema.
        "SET LOCAL search_path = ''",
        f"SET LOCAL lock_timeout = {milliseconds:d}",
        f"SET LOCAL statement_timeout = {milliseconds:d}",
        *PRINTING,
        *list(wanted.values())[:-1],
        "SET LOCAL TimeZone TO DEFAULT",
        wanted["surroundings"],
        "ROLLBACK TO SAVEPOINT read_catalog" if nested else "ROLLBACK",
    ]
    rows: Rows = {}
    names = iter(wanted)
    with psycopg.Cursor(raw) as cursor, _left_clean(raw, nested):
        # One message of several statements: a pipeline costs a plan's description more for each.
        cursor.execute("; ".join(statements), prepare=False)
        more: bool | None = True
        while more:
            if cursor.description:
                rows[next(names)] = cursor.fetchall()
            more = cursor.nextset()
    with _uncollected():
        return _catalog(rows, TRACKING_TABLES - frozenset(contract_tables))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Make many objects that all stay, without looking among them for cycles again and again."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def _left_clean(raw: psycopg.Connection[Any], nested: bool) -> Iterator[None]:
    """End the transaction that a failed query left open; an enclosing one is its owner's to end."""
    try:
        yield
    except psycopg.Error:
        if not nested and not raw.closed:
            raw.rollback()
        raise


def _catalog(rows: Rows, tracking: frozenset[str]) -> Catalog:
    ((*classes, time_zone, database, database_owner),) = rows["surroundings"]
    extension_objects, foreign = _without_extensions(rows, *classes)
    owner = _usual_owner(rows["relations"], database_owner)
    usual = Usual(owner)
    facts: list[Fact] = [
        Setting("", "TimeZone", "UTC" if time_zone.upper() in UTC else time_zone),
        *schemas(rows, usual),
        *types_and_functions(rows, usual),
        *tables(rows, usual),
        *columns(rows, usual),
        *constraints(rows),
        *indexes(rows),
        *triggers(rows),
        *grants(rows, usual),
        *(Other("", *words) for _, _, *words in rows["others"]),
    ]
    left_out = tracking | foreign
    groups: dict[type[Fact], list[Fact]] = {kind: [] for kind in KINDS}
    for fact in facts:
        if fact.table not in left_out:
            groups[type(fact)].append(fact)
    # Stable, whatever the order of the server's rows: by identity, and equal things by name.
    for kind, group in groups.items():
        group.sort(key=attrgetter(*kind.key, "name" if hasattr(kind, "name") else "table"))
    kept = chain.from_iterable(groups.values())
    return Catalog(
        facts=tuple(kept),
        tracking_tables=tuple(
            sorted(fact.table for fact in facts if type(fact) is Table and fact.table in tracking)
        ),
        extension_objects=extension_objects,
        owner=owner,
        database=database,
    )


def _without_extensions(
    rows: Rows, classes: int, functions: int, types: int, schemas: int
) -> tuple[int, frozenset[str]]:
    """Take what belongs to an extension out of the rows; how much it is, and which tables."""
    members = set(rows["extension_members"])
    if not rows["extensions"]:
        return 0, frozenset()
    for name, catalog in (
        ("functions", functions),
        ("types", types),
        ("schemas", schemas),
        ("sequences", classes),
    ):
        rows[name] = [row for row in rows[name] if (catalog, row[0]) not in members]
    rows["others"] = [row for row in rows["others"] if row[:2] not in members]
    tables = frozenset(row[1] for row in rows["relations"] if (classes, row[0]) in members)
    rows["relations"] = [row for row in rows["relations"] if row[1] not in tables]
    return len(members), tables


def _usual_owner(relations: list[tuple[Any, ...]], database_owner: str) -> str:
    owners = Counter(row[-1] for row in relations)
    most = max(owners.values(), default=0)
    return min(
        (owner for owner, count in owners.items() if count == most),
        key=lambda owner: (owner != database_owner, owner),
        default=database_owner,
    )
