"""Read what a live database holds from pg_catalog, in one round trip.

PostgreSQL 15 to 18 give the same facts for the same schema.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.rows import namedtuple_row

from .facts import (
    KINDS,
    NEEDED_BY,
    OF_SOURCE,
    SETTINGS,
    SOURCES,
    TRACKING_TABLES,
    Catalog,
    Fact,
    Rows,
    Table,
    Unread,
)
from .facts.unknown import strange

# Milliseconds a catalog query may take or wait; a catalog of 5,000 tables takes about a second.
TIMEOUT = 30_000
# Those of plpgsql, which every database has, are of no interest.
EXTENSION_MEMBERS = """
    SELECT classid::regclass::text AS catalog, objid AS oid FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
      AND refobjid <> (SELECT oid FROM pg_extension WHERE extname = 'plpgsql')
"""
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


def read_what_can_be_read(
    raw: psycopg.Connection[Any], contract_tables: Iterable[str] = ()
) -> Catalog:
    """As ``read_from``, without the kinds of things that this role or this server refuses to tell.

    They are named in the catalog. Raises psycopg.Error where it is more than that.
    """
    try:
        return read_from(raw, contract_tables)
    except psycopg.ProgrammingError:
        refused = _refused(raw)
        if not refused or "tables" in refused:
            raise
        return read_from(raw, contract_tables, refused=refused)


def _refused(raw: psycopg.Connection[Any]) -> dict[str, str]:
    """The sources whose query the server refuses, each with why, and those that need one of them."""
    version = raw.info.server_version // 10000
    refused = {}
    for source in SOURCES:
        try:
            with raw.transaction():
                raw.execute("SET LOCAL search_path = ''")
                raw.execute(f"EXPLAIN {source.query(version)}".encode())
        except psycopg.ProgrammingError as error:
            refused[source.name] = error.diag.message_primary or str(error)
    for needed, by in NEEDED_BY.items():
        if needed in refused:
            refused |= {name: refused.get(name, refused[needed]) for name in by}
    return refused


def read_from(
    raw: psycopg.Connection[Any],
    contract_tables: Iterable[str] = (),
    timeout: int | None = None,
    nested: bool = False,
    refused: Mapping[str, str] = MappingProxyType({}),
) -> Catalog:
    """Read the facts of schema ``public`` over a psycopg connection.

    One consistent snapshot, read-only, one round trip. ``contract_tables`` are compared even where
    a tracking program keeps them; ``timeout`` is in milliseconds, ``TIMEOUT`` by default; ``refused``
    are the sources not to ask, each with why. Raises psycopg.Error.
    """
    version = raw.info.server_version // 10000
    milliseconds = timeout or TIMEOUT
    asked = [source for source in SOURCES if source.name not in refused]
    statements = [
        "SAVEPOINT read_catalog"
        if nested
        else "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        # An empty search_path makes the server print every name with its schema.
        "SET LOCAL search_path = ''",
        f"SET LOCAL lock_timeout = {milliseconds:d}",
        f"SET LOCAL statement_timeout = {milliseconds:d}",
        *PRINTING,
        EXTENSION_MEMBERS,
        *(source.query(version) for source in asked),
        "SET LOCAL TimeZone TO DEFAULT",
        SETTINGS.query(version),
        "ROLLBACK TO SAVEPOINT read_catalog" if nested else "ROLLBACK",
    ]
    results = []
    with psycopg.Cursor(raw, row_factory=namedtuple_row) as cursor, _left_clean(raw, nested):
        # One message of several statements: in a pipeline each would be described besides.
        cursor.execute("; ".join(statements), prepare=False)
        more: bool | None = True
        while more:
            if cursor.description:
                results.append(cursor.fetchall())
            more = cursor.nextset()
    members, *answers = results
    with _without_garbage_collection():
        told = zip((*asked, SETTINGS), answers, strict=True)
        rows = Rows(
            {name: [] for name in refused} | {source.name: answer for source, answer in told}
        )
        catalog = _catalog(rows, members, TRACKING_TABLES - frozenset(contract_tables))
    unread = (
        *(Unread(name, why, OF_SOURCE[name]) for name, why in refused.items()),
        *strange(rows, version),
    )
    return replace(catalog, unread=unread) if unread else catalog


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """For many small objects that all stay: the collector would walk them again and again."""
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


def _catalog(rows: Rows, members: list[Any], tracking: frozenset[str]) -> Catalog:
    (database,) = rows["settings"]
    of_extensions = _leave_out(rows, members)
    rows.owner = _usual_owner(rows["tables"], database.owner)
    left_out = tracking | of_extensions
    groups: dict[type[Fact], list[Fact]] = {kind: [] for kind in KINDS}
    tracked = set()
    for source in (*SOURCES, SETTINGS):
        for fact in source.read(rows):
            if fact.table not in left_out:
                groups[type(fact)].append(fact)
            elif type(fact) is Table and fact.table in tracking:
                tracked.add(fact.table)
    # Stable, whatever the order of the server's rows: by identity, and equal things by name.
    for kind, group in groups.items():
        group.sort(key=attrgetter(*kind.key, "name" if hasattr(kind, "name") else "table"))
    return Catalog(
        facts=tuple(chain.from_iterable(groups.values())),
        tracking_tables=tuple(sorted(tracked)),
        extension_objects=len(members),
        owner=rows.owner,
        database=database.database,
    )


def _leave_out(rows: Rows, members: list[Any]) -> frozenset[str]:
    """Take the members of extensions out of the rows; the names of those that are tables."""
    if not members:
        return frozenset()
    ids = {(member.catalog, member.oid) for member in members}
    tables = frozenset(row.name for row in rows["tables"] if ("pg_class", row.oid) in ids)
    for source in SOURCES:
        if source.catalog != "":
            rows.results[source.name] = [
                row
                for row in rows[source.name]
                if (source.catalog or row.catalog, row.oid) not in ids
            ]
    return tables


def _usual_owner(tables: list[Any], database_owner: str) -> str:
    """The role that owns most tables; of several the database's own, or the first by name."""
    owners = Counter(row.owner for row in tables)
    most = max(owners.values(), default=0)
    return min(
        (owner for owner, count in owners.items() if count == most),
        key=lambda owner: (owner != database_owner, owner),
        default=database_owner,
    )
