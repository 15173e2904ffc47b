"""Statements that repair a column: its type with its rows, its default, numbers and NULLs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .facts import Column
from .statements import (
    Stage,
    Statement,
    alter,
    column_definition,
    literal,
    make_sequence,
    name,
    not_null,
    own_sequence,
    public,
)

type Act = Callable[[str], Statement]
_NUMBERS = frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision"})


def add_column(column: Column) -> Iterator[Statement]:
    """A column that must not be NULL and has no default cannot be added to rows in one step."""
    yield from make_sequence(column)
    fills_itself = column.default or column.identity_kind or column.generated
    at_once = column.nullable or bool(fills_itself)
    definition = column_definition(column, not_null=at_once)
    yield Statement(Stage.COLUMN, alter(column.table, f"ADD COLUMN {definition}"))
    yield from own_sequence(column, Stage.COLUMN)
    if not at_once:
        yield from not_null(column)


def rename_column(column: Column, found: str) -> Iterator[Statement]:
    """A column that stands there under another name keeps its rows."""
    action = f"RENAME COLUMN {name(found)} TO {name(column.name)}"
    yield Statement(Stage.COLUMN, alter(column.table, action))


def drop_column(column: Column) -> Iterator[Statement]:
    """Only as a comment; what can be done at once is to let rows in without a value."""
    if not column.nullable and column.default is None and not column.identity_kind:
        yield Statement(
            Stage.COLUMN, alter(column.table, f"ALTER COLUMN {name(column.name)} DROP NOT NULL")
        )
    counted = f"SELECT count({name(column.name)}) FROM {public(column.table)};"
    yield Statement(Stage.LOSE, counted, destructive=True)
    dropped = alter(column.table, f"DROP COLUMN {name(column.name)}")
    yield Statement(Stage.LOSE, dropped, destructive=True)


def change_column(want: Column, have: Column, changed: Sequence[str]) -> Iterator[Statement]:
    """From ``have`` to ``want``, of which ``changed`` are the fields that differ."""
    if "generated" in changed or "virtual" in changed:
        yield from _change_expression(want, have)
        return
    column = f"ALTER COLUMN {name(want.name)}"

    def act(action: str, stage: Stage = Stage.COLUMN) -> Statement:
        return Statement(stage, alter(want.table, f"{column} {action}"))

    new_type = "type" in changed or "collation" in changed
    renumbered = "identity_kind" in changed
    if renumbered and have.identity_kind in {"always", "by default"}:
        yield act("DROP IDENTITY")
    elif (have.default is not None and (new_type or renumbered or want.default is None)) or (
        have.identity_kind == "serial" and (new_type or renumbered)
    ):
        yield act("DROP DEFAULT")
        if renumbered and have.identity_kind == "serial" and have.sequence_name:
            yield Statement(Stage.COLUMN, f"DROP SEQUENCE {have.sequence_name};")
    if new_type:
        yield from _change_type(want, have, act)
    if "nullable" in changed:
        if want.nullable:
            yield act("DROP NOT NULL")
        else:
            yield from not_null(want)
    elif "not_null_valid" in changed and have.not_null_name:
        action = f"VALIDATE CONSTRAINT {name(have.not_null_name)}"
        yield Statement(Stage.VALIDATE, alter(want.table, action))
    if want.default is not None and (new_type or renumbered or "default" in changed):
        yield act(f"SET DEFAULT {want.default}")
    if renumbered and want.identity_kind:
        yield from _number(want, act)
    elif "sequence" in changed and want.sequence and have.sequence_name:
        definition = want.sequence
        yield Statement(Stage.COLUMN, f"ALTER SEQUENCE {have.sequence_name} {definition};")


def _number(want: Column, act: Act) -> Iterator[Statement]:
    yield from make_sequence(want, Stage.COLUMN)
    if want.identity_kind == "serial":
        sequence = literal(public(f"{want.table}_{want.name}_seq"))
        # A sequence of that name may be there with other steps.
        if want.sequence:
            yield Statement(
                Stage.COLUMN,
                f"ALTER SEQUENCE {public(f'{want.table}_{want.name}_seq')} {want.sequence};",
            )
        yield act(f"SET DEFAULT nextval({sequence}::regclass)")
    else:
        yield act(f"ADD GENERATED {str(want.identity_kind).upper()} AS IDENTITY")
    yield from own_sequence(want, Stage.COLUMN)


def _change_type(want: Column, have: Column, act: Act) -> Iterator[Statement]:
    value = name(want.name)
    converted = _converted(want, have, value)
    if _may_lose(want.type, have.type):
        # Better to stop than to round somebody's numbers or cut somebody's texts.
        message = literal(f"{want.object} holds values that {want.type} cannot hold exactly")
        yield Statement(
            Stage.COLUMN,
            f"DO $repair$ BEGIN IF EXISTS (SELECT FROM {public(want.table)} WHERE "
            f"({converted})::{have.type} IS DISTINCT FROM {value}) THEN RAISE EXCEPTION USING "
            f"MESSAGE = {message}; END IF; END $repair$;",
        )
    collation = ""
    if want.collation or have.collation:
        collation = f" COLLATE {want.collation or 'pg_catalog."default"'}"
    yield act(f"TYPE {want.type}{collation} USING {converted}")


def _converted(want: Column, have: Column, value: str) -> str:
    wanted, found = want.type, have.type.partition("(")[0]
    if found.startswith("timestamp") and "with time zone" in have.type and "without" in wanted:
        return f"{value} AT TIME ZONE 'UTC'"
    if "without" in have.type and wanted.endswith("with time zone"):
        return f"{value} AT TIME ZONE 'UTC'"
    if wanted == "boolean" and found in _NUMBERS:
        return f"{value} <> 0"
    if found.endswith("[]") and wanted in {"text", "character varying"}:
        return f"array_to_string({value}, ' ')"
    if wanted.partition("(")[0] in _NUMBERS and found in _NUMBERS:
        return f"{value}::{wanted}"
    if found == "date":
        return f"{value}::{wanted}"
    return f"{value}::text::{wanted}" if wanted != "text" else f"{value}::text"


def _may_lose(wanted: str, found: str) -> bool:
    whole = {"smallint", "integer", "bigint"}
    if wanted in whole and found.partition("(")[0] in {"numeric", "real", "double precision"}:
        return True
    # A length or a precision.
    return "(" in wanted and found.partition("(")[0] != "json"


def _change_expression(want: Column, have: Column) -> Iterator[Statement]:
    if have.generated and not want.generated and not have.virtual:
        # The values that were computed stay as they are.
        yield Statement(
            Stage.COLUMN, alter(want.table, f"ALTER COLUMN {name(want.name)} DROP EXPRESSION")
        )
        if want.default is not None:
            action = f"ALTER COLUMN {name(want.name)} SET DEFAULT {want.default}"
            yield Statement(Stage.COLUMN, alter(want.table, action))
        return
    counted = f"SELECT count({name(want.name)}) FROM {public(want.table)};"
    yield Statement(Stage.LOSE, counted, destructive=True)
    definition = column_definition(want)
    action = f"DROP COLUMN {name(want.name)}, ADD COLUMN {definition}"
    yield Statement(Stage.LOSE, alter(want.table, action), destructive=True)
