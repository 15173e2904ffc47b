"""Rows that the schema alone cannot keep right: numbers behind, rows that point at nothing.

Reads only, but reads whole tables, and needs SELECT on them. What follows from the facts of any schema is
here; what only an app knows of its own tables is registered by it (``registry.data_checks``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import psycopg
from django.db import Error as DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from fltr_project import registry
from fltr_project.catalog.facts import Catalog, Column, DisabledTrigger, ForeignKey, Table, Unread
from fltr_project.postgres.search_path import pinned
from fltr_project.words import counted

from .findings import Finding
from .repair.names import literal, name, names, public, target
from .repair.repair import Repair
from .repair.statement import Stage, Statement, losing
from .report import FindingWithRepair
from .rules import Severity

type Look = Callable[[], Iterable[FindingWithRepair]]


def check(
    connection: BaseDatabaseWrapper, catalog: Catalog
) -> tuple[list[FindingWithRepair], tuple[Unread, ...]]:
    """Findings about the rows of the database that ``catalog`` describes, and what the role may not read.

    Read-only. Raises django.db.Error when the server cannot answer.
    """
    found: list[FindingWithRepair] = []
    denied = []
    for what, look in _looks(connection, catalog):
        try:
            found += look()
        except DatabaseError as error:
            cause = error.__cause__
            if not isinstance(cause, psycopg.errors.InsufficientPrivilege):
                raise
            denied.append(Unread(what, cause.diag.message_primary or str(cause)))
    return found, tuple(denied)


def _looks(connection: BaseDatabaseWrapper, catalog: Catalog) -> Iterator[tuple[str, Look]]:
    """What is looked at, in words, and how; each needs the right to read its tables."""
    for column in catalog.of(Column):
        if column.sequence_name is not None:
            yield f"rows of {column.table}", partial(_sequence_behind, connection, column)
    off = {trigger.constraint for trigger in catalog.of(DisabledTrigger)}
    tables = {table.table for table in catalog.of(Table)}
    for key in catalog.of(ForeignKey):
        if key.target in tables and not (key.valid and key.enforced and key.name not in off):
            yield f"rows of {key.table}", partial(_orphans, connection, key)
    for each in registry.data_checks.of(connection.alias):
        subject = (each.__doc__ or each.__name__).partition(".")[0]
        yield f"rows ({subject[:1].lower()}{subject[1:]})", partial(each, connection, catalog)


def entry(
    id_: str, object_: str, expected: str, found: str, meaning: str, *statements: Statement
) -> FindingWithRepair:
    """An error about rows, with the statements that mend it; ``id_`` is for files of decisions."""
    finding = Finding(id_, Severity.ERROR, "data", object_, expected, found, meaning)
    return FindingWithRepair(finding, Repair(statements), (object_,), (id_,), id_.partition(".")[0])


def rows(connection: BaseDatabaseWrapper, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with pinned(connection) as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())


def _sequence_behind(
    connection: BaseDatabaseWrapper, column: Column
) -> Iterator[FindingWithRepair]:
    """A sequence restored or inserted past: the next number is taken already."""
    table, quoted = public(column.table), name(column.name)
    ((highest, next_number),) = rows(
        connection,
        f"SELECT (SELECT max({quoted}) FROM {table}),"
        f" (SELECT last_value + CASE WHEN is_called THEN 1 ELSE 0 END FROM {column.sequence_name})",
    )
    if highest is not None and next_number <= highest:
        yield entry(
            f"data-sequence-behind.{column.object}",
            column.object,
            f"the next number above {highest}",
            f"the next number is {next_number}",
            f"The next INSERT into {column.table} fails as a duplicate.",
            Statement(
                Stage.AFTER,
                f"SELECT setval({literal(str(column.sequence_name))}, "
                f"(SELECT max({quoted}) FROM {table}));",
                rolls_back=False,
            ),
        )


def _orphans(connection: BaseDatabaseWrapper, key: ForeignKey) -> Iterator[FindingWithRepair]:
    """Rows that point at nothing, under a key that did not or does not refuse them."""
    pairs = list(zip(key.columns, key.target_columns, strict=True))
    condition = (
        " AND ".join(f"child.{name(column)} IS NOT NULL" for column, _ in pairs)
        + f" AND NOT EXISTS (SELECT FROM {target(key.target)} AS parent WHERE "
        + " AND ".join(f"parent.{name(there)} = child.{name(here)}" for here, there in pairs)
        + ")"
    )
    child = f"{public(key.table)} AS child"
    count_them = f"SELECT count(*) FROM {child} WHERE {condition}"
    ((count,),) = rows(connection, count_them)
    if not count:
        return
    if key.on_delete.startswith("SET NULL"):
        cleared = ", ".join(f"{name(column)} = NULL" for column in key.columns)
        mend = f"UPDATE {child} SET {cleared} WHERE {condition};"
    else:
        mend = f"DELETE FROM {child} WHERE {condition};"
    yield entry(
        f"data-orphans.{key.object}",
        key.object,
        f"every row points at {key.target} ({names(key.target_columns)})",
        f"{counted(count, 'rows')} pointing at nothing",
        f"Joins lose {counted(count, 'rows')} of {key.table}, and the key cannot be validated.",
        losing(mend, f"{count_them};"),
    )
