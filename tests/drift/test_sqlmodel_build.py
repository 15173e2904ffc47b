"""A database built by the real SQLModel's `create_all` from the contract's tables is no drift."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel, create_engine

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Check, Column, ForeignKey, Index, Key, plain_columns
from fltr_project.drift.repair.routines import create_function, create_trigger
from tests.conftest import Databases, Outcome

from .conftest import comes_first, emptied, functions_and_triggers, revocations

TYPES: dict[str, Any] = {
    "text": sa.Text,
    "integer": sa.Integer,
    "bigint": sa.BigInteger,
    "boolean": sa.Boolean,
    "timestamp without time zone": sa.DateTime,
    "jsonb": JSONB,
    "uuid": sa.Uuid,
    "double precision": sa.Double,
    "date": sa.Date,
}


@cache
def models(alias: str) -> sa.MetaData:
    """SQLModel classes for the tables of the contract; their common metadata."""
    expected = contract.load(alias)
    metadata = sa.MetaData()
    functions, triggers = functions_and_triggers(alias)
    for function in functions:
        ddl = sa.DDL(create_function(function).replace("%", "%%"))  # type: ignore[no-untyped-call]
        when = "before_create" if comes_first(function, alias) else "after_create"
        sa.event.listen(metadata, when, ddl)
    for trigger in triggers:
        for statement in create_trigger(trigger):
            ddl = sa.DDL(statement.sql.replace("%", "%%"))  # type: ignore[no-untyped-call]
            sa.event.listen(metadata, "after_create", ddl)
    for revocation in revocations(alias):
        sa.event.listen(metadata, "after_create", sa.DDL(revocation))  # type: ignore[no-untyped-call]
    for table in (name for name in expected.tables if name != "django_migrations"):
        arguments: list[Any] = [
            sa.CheckConstraint(check.expression, name=f"ck_{table}_{place}")
            for place, check in enumerate(expected.of(Check))
            if check.table == table
        ]
        indexes: list[Index | Key] = [*expected.of(Index), *expected.of(Key)]
        for index in indexes:
            if index.table == table and not (isinstance(index, Key) and index.primary):
                listed, _, predicate = index.definition.partition(" WHERE ")
                # As alembic and people name them, and for an expression too.
                columns = plain_columns(listed) or (listed.removeprefix("btree (")[:-1],)
                named = "_".join(columns) if plain_columns(listed) else index.name
                arguments.append(
                    sa.Index(
                        f"ix_{table}_{named}",
                        *(each if plain_columns(listed) else sa.text(each) for each in columns),
                        unique=isinstance(index, Key),
                        postgresql_where=sa.text(predicate) if predicate else None,
                    )
                )
        columns_of = [column for column in expected.of(Column) if column.table == table]

        def body(
            namespace: dict[str, Any],
            table: str = table,
            columns: list[Column] = columns_of,
            arguments: list[Any] = arguments,
        ) -> None:
            namespace["__tablename__"] = table
            namespace["__table_args__"] = tuple(arguments)
            namespace["metadata"] = metadata
            # A field may not begin with an underscore, and pydantic has names of its own.
            fields = {f"field_{column.name}": column for column in columns}
            namespace["__annotations__"] = dict.fromkeys(fields, Any)
            for name, column in fields.items():
                namespace[name] = Field(default=None, sa_column=declared(column, alias))

        types.new_class(f"{alias}_{table}", (SQLModel,), {"table": True}, body)
    return metadata


def declared(column: Column, alias: str) -> sa.Column[Any]:
    expected = contract.load(alias)
    (primary,) = [key for key in expected.of(Key) if key.primary and key.table == column.table]
    references = [
        sa.ForeignKey(
            f"{key.target}.{key.target_columns[0]}",
            ondelete=None if key.on_delete == "NO ACTION" else key.on_delete,
        )
        for key in expected.of(ForeignKey)
        if (key.table, key.columns) == (column.table, (column.name,))
    ]
    is_primary = plain_columns(primary.definition) == (column.name,)
    return sa.Column(
        column.name,
        TYPES[column.type],
        *references,
        primary_key=is_primary,
        autoincrement=column.identity_kind is not None,
        nullable=column.nullable,
        server_default=sa.text(column.default) if column.default else None,
    )


@pytest.mark.parametrize("alias", ["auth", "fltr"])
def test_a_database_built_by_sqlmodel_has_no_errors(
    alias: str, databases: Databases, run: Callable[..., Outcome]
) -> None:
    emptied(databases, alias)
    url = databases.environment()[f"{alias.upper()}_DATABASE_URL"]
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    models(alias).create_all(engine)
    engine.dispose()

    outcome = run("verify_schema", "--database", alias, "--format", "json")
    assert outcome.code == 0, outcome.out
    (database,) = json.loads(outcome.out)["databases"]
    assert {finding["severity"] for finding in database["findings"]} == {"note"}
    assert len(database["findings"]) <= 3
    # PostgreSQL named the foreign keys, and checks them at once: neither is a difference.
    assert "foreign key" not in {finding["kind"] for finding in database["findings"]}
    assert run("verify_schema", "--database", alias, "--strict").code == 0
