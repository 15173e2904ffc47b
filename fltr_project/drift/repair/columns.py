"""Statements that make, change and drop a column: its type with its rows, default, numbers and NULLs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from fltr_project.catalog.facts import Column
from fltr_project.catalog.facts import sequence_of as taken_from

from .context import Context
from .conversions import converted, count_of_changed, guard, keeps, rewrites
from .names import PUBLIC, literal, name, named, public
from .statement import Hazard, Stage, Statement, Thing, dropping, hazards, held_together, losing

type Act = Callable[[str], Statement]

REWRITES = hazards(Hazard.REWRITES_TABLE, Hazard.BLOCKS_WRITERS)
# Functions in defaults that give all rows that are there one value, which is kept beside them.
COMPUTED_ONCE = frozenset({"now", "timezone", "transaction_timestamp", "statement_timestamp"})


def alter(table: str, action: str) -> str:
    return f"ALTER TABLE {public(table)} {action};"


def repair_column(want: Column | None, have: Column | None, here: Context) -> Iterator[Statement]:
    if want and have:
        yield from _change(want, have, here.difference.changed)
    elif want:
        yield from _add(want)
    elif have:
        yield from _drop(have)


def definition(column: Column, not_null: bool = True) -> str:
    """As in CREATE TABLE and ADD COLUMN."""
    words = [name(column.name), column.type]
    if column.collation:
        words.append(f"COLLATE {column.collation}")
    if column.generated:
        words.append(f"GENERATED ALWAYS AS ({column.generated})")
        words.append("VIRTUAL" if column.virtual else "STORED")
    elif column.identity_kind in {"always", "by default"}:
        words.append(f"GENERATED {column.identity_kind.upper()} AS IDENTITY")
    elif column.identity_kind == "serial":
        words.append(f"DEFAULT nextval({named(PUBLIC, _sequence_name(column))}::regclass)")
    elif column.default is not None:
        words.append(f"DEFAULT {column.default}")
    if not column.nullable and not_null:
        words.append("NOT NULL")
    return " ".join(words)


def sequence_of(column: Column) -> str:
    return public(_sequence_name(column))


def _sequence_name(column: Column) -> str:
    return f"{column.table}_{column.name}_seq"


def make_sequence(column: Column, stage: Stage = Stage.MAKE) -> Iterator[Statement]:
    """The sequence of a serial column, before the column uses it."""
    if column.identity_kind == "serial":
        steps = f" {column.sequence}" if column.sequence else ""
        yield Statement(stage, f"CREATE SEQUENCE IF NOT EXISTS {sequence_of(column)}{steps};")


def own_sequence(column: Column, stage: Stage) -> Iterator[Statement]:
    """Tie the sequence to its column and put it behind the rows that are there."""
    if not column.identity_kind:
        return
    table, quoted = public(column.table), name(column.name)
    if column.identity_kind == "serial":
        sequence = named(PUBLIC, _sequence_name(column))
        yield Statement(stage, f"ALTER SEQUENCE {sequence_of(column)} OWNED BY {table}.{quoted};")
    else:
        sequence = f"pg_get_serial_sequence({named(PUBLIC, column.table)}, {literal(column.name)})"
        if column.sequence:
            yield Statement(stage, alter(column.table, f"ALTER COLUMN {quoted} {_sets(column)}"))
    yield Statement(
        stage,
        f"SELECT setval({sequence}, (SELECT coalesce(max({quoted}), 0) + 1 FROM {table}), false);",
        rolls_back=False,
    )


def not_null_check(table: str, column: str) -> str:
    """The name of the check over which a column becomes NOT NULL."""
    return f"{table}_{column}_not_null_check"[-63:]


def not_null(column: Column) -> Iterator[Statement]:
    """Without a lock that lasts: the rows are looked at while others write."""
    constraint = name(not_null_check(column.table, column.name))
    quoted = name(column.name)
    check = f"ADD CONSTRAINT {constraint} CHECK ({quoted} IS NOT NULL) NOT VALID"
    yield Statement(Stage.CHECK, alter(column.table, check))
    yield Statement(Stage.VALIDATE, alter(column.table, f"VALIDATE CONSTRAINT {constraint}"))
    yield Statement(
        Stage.AFTER,
        alter(column.table, f"ALTER COLUMN {quoted} SET NOT NULL, DROP CONSTRAINT {constraint}"),
    )


def _sets(column: Column) -> str:
    """The options of an identity's sequence, without the type, which is the column's."""
    words = (column.sequence or "").split(" ", 2)[2]
    for option in ("INCREMENT", "MINVALUE", "MAXVALUE", "START", "CACHE", "NO CYCLE", "CYCLE"):
        if option == "CYCLE" and "NO CYCLE" in words:
            continue
        words = words.replace(option, f"SET {option}")
    return words


def _add(column: Column) -> Iterator[Statement]:
    """A column that must not be NULL and has no default cannot be added to rows in one step."""
    at_once = column.nullable or bool(column.default or column.identity_kind or column.generated)
    add = f"ADD COLUMN {definition(column, not_null=at_once)}"
    statements = [
        *make_sequence(column),
        Statement(Stage.COLUMN, alter(column.table, add)),
        *own_sequence(column, Stage.COLUMN),
        *([] if at_once else not_null(column)),
    ]
    costs = REWRITES if _is_computed(column) else ()
    yield from held_together(costs, count_rows(column.table), statements)


def _is_computed(column: Column) -> bool:
    """Whether adding the column computes a value for each row that is there."""
    if column.identity_kind or (column.generated and not column.virtual):
        return True
    calls = set(re.findall(r"(\w+)\(", column.default or ""))
    return not calls <= COMPUTED_ONCE


def count_rows(table: str) -> str:
    return f"SELECT count(*) FROM {public(table)};"


def _values(column: Column) -> str:
    return f"SELECT count({name(column.name)}) FROM {public(column.table)};"


def _drop(column: Column) -> Iterator[Statement]:
    """Only as a comment; what can be done at once is to let rows in without a value."""
    if not column.nullable and column.default is None and not column.identity_kind:
        action = f"ALTER COLUMN {name(column.name)} DROP NOT NULL"
        yield Statement(Stage.COLUMN, alter(column.table, action))
    yield losing(alter(column.table, f"DROP COLUMN {name(column.name)}"), _values(column))


def _change(want: Column, have: Column, changed: Sequence[str]) -> Iterator[Statement]:
    """From ``have`` to ``want``, of which ``changed`` are the fields that differ."""
    if "generated" in changed or "virtual" in changed:
        yield from _change_expression(want, have)
        return
    column = f"ALTER COLUMN {name(want.name)}"

    def act(action: str) -> Statement:
        return Statement(Stage.COLUMN, alter(want.table, f"{column} {action}"))

    new_type = "type" in changed or "collation" in changed
    renumbered = "identity_kind" in changed
    costs = costs_of_type(want, have) if new_type else ()
    counted = count_of_changed(want, have) if new_type else ""
    new_value = list(_change_value(want, have, changed, act))
    yield from held_together(costs, counted, new_value)
    if "nullable" in changed:
        if want.nullable:
            yield act("DROP NOT NULL")
        else:
            yield from not_null(want)
    elif "not_null_valid" in changed and have.not_null_name:
        action = f"VALIDATE CONSTRAINT {name(have.not_null_name)}"
        yield Statement(Stage.VALIDATE, alter(want.table, action))
    if "sequence" in changed and not renumbered and want.sequence and have.sequence_name:
        yield Statement(Stage.COLUMN, f"ALTER SEQUENCE {have.sequence_name} {want.sequence};")


def _change_value(
    want: Column, have: Column, changed: Sequence[str], act: Act
) -> Iterator[Statement]:
    """Type, numbers and default, of which none can be changed without the others."""
    new_type = "type" in changed or "collation" in changed
    renumbered = "identity_kind" in changed
    if renumbered and have.identity_kind in {"always", "by default"}:
        yield act("DROP IDENTITY")
    elif (have.default is not None and (new_type or renumbered or want.default is None)) or (
        have.identity_kind == "serial" and (new_type or renumbered)
    ):
        yield act("DROP DEFAULT")
        left = public(taken) if (taken := taken_from(have.default or "")) else have.sequence_name
        if renumbered and left and left != sequence_of(want):
            last = f"SELECT last_value FROM {left};"
            yield dropping(Stage.CLEAN, f"DROP SEQUENCE {left};", last)
    if new_type:
        yield from _change_type(want, have)
    if want.default is not None and (new_type or renumbered or "default" in changed):
        yield act(f"SET DEFAULT {want.default}")
    if renumbered and want.identity_kind:
        yield from _number(want, act)


def _number(want: Column, act: Act) -> Iterator[Statement]:
    yield from make_sequence(want, Stage.COLUMN)
    if want.identity_kind == "serial":
        # A sequence of that name may be there with other steps.
        if want.sequence:
            sql = f"ALTER SEQUENCE {sequence_of(want)} {want.sequence};"
            yield Statement(Stage.COLUMN, sql)
        yield act(f"SET DEFAULT nextval({named(PUBLIC, _sequence_name(want))}::regclass)")
    else:
        yield act(f"ADD GENERATED {str(want.identity_kind).upper()} AS IDENTITY")
    yield from own_sequence(want, Stage.COLUMN)


def _change_type(want: Column, have: Column) -> Iterator[Statement]:
    if not keeps(want.type, have.type):
        yield Statement(Stage.COLUMN, guard(want, have), keeps_away=Hazard.CHANGES_VALUES)
    collation = ""
    if want.collation or have.collation:
        collation = f" COLLATE {want.collation or 'pg_catalog."default"'}"
    action = (
        f"ALTER COLUMN {name(want.name)} TYPE {want.type}{collation} "
        f"USING {converted(name(want.name), have.type, want.type)}"
    )
    disturbed = Thing("column", want.table, want.name)
    yield Statement(Stage.COLUMN, alter(want.table, action), disturbs=disturbed)


def costs_of_type(want: Column, have: Column) -> frozenset[Hazard]:
    """What giving the column its type may do besides."""
    return REWRITES if rewrites(want, have) else frozenset()


def _change_expression(want: Column, have: Column) -> Iterator[Statement]:
    if have.generated and not want.generated and not have.virtual:
        # The values that were computed stay as they are.
        column = f"ALTER COLUMN {name(want.name)}"
        yield Statement(Stage.COLUMN, alter(want.table, f"{column} DROP EXPRESSION"))
        if want.default is not None:
            action = f"{column} SET DEFAULT {want.default}"
            yield Statement(Stage.COLUMN, alter(want.table, action))
        return
    action = f"DROP COLUMN {name(want.name)}, ADD COLUMN {definition(want)}"
    disturbed = Thing("column", want.table, want.name)
    yield replace(losing(alter(want.table, action), _values(want)), disturbs=disturbed)
