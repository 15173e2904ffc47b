"""Statements that make, change and drop tables and views, with all that the contract says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from fltr_project.catalog.facts import (
    Check,
    Column,
    ForeignKey,
    Index,
    Key,
    Policy,
    Table,
    Trigger,
)

from .columns import REWRITES, alter, count_rows, definition, make_sequence, own_sequence
from .context import Context, change_owner
from .keys import add_foreign_key, add_key, check_clause, create_index, replica_identity
from .names import PUBLIC, named, printed, public
from .others import granted_on, rights_on_new
from .routines import create_policy, create_trigger
from .statement import Stage, Statement, Thing, dropping, held_together, losing


def repair_table(want: Table | None, have: Table | None, here: Context) -> Iterator[Statement]:
    if want is None or have is None:
        if want:
            yield from create_table(want, here)
        elif have:
            yield from _drop(have)
        return
    changed = here.difference.changed
    if {"type", "partition_key", "partition_bound"}.intersection(changed):
        yield from _replace(want, have, here)
    elif "definition" in changed or (have.is_view and "options" in changed):
        disturbed = Thing("view", have.table)
        yield Statement(Stage.DETACH, _drop_view(have), disturbs=disturbed)
        yield Statement(Stage.ATTACH, _create_view(want))
    else:
        yield from _change(want, have, here)


def create_table(table: Table, here: Context) -> Iterator[Statement]:
    expected = here.expected
    if table.is_view:
        yield Statement(Stage.ATTACH, _create_view(table))
        return
    columns = [column for column in expected.of(Column) if column.table == table.table]
    for column in columns:
        yield from make_sequence(column)
    lines = [definition(column) for column in columns]
    lines += [check_clause(each) for each in expected.of(Check) if each.table == table.table]
    partition = f" PARTITION BY {table.partition_key}" if table.partition_key else ""
    unlogged = "UNLOGGED " if table.persistence == "unlogged" else ""
    yield Statement(
        Stage.TABLE,
        f"CREATE {unlogged}TABLE {public(table.table)} (\n    "
        + ",\n    ".join(lines)
        + f"\n){partition};",
    )
    for column in columns:
        yield from own_sequence(column, Stage.TABLE)
    for key in expected.of(Key):
        if key.table == table.table:
            yield from add_key(key, concurrently=False)
    for index in expected.of(Index):
        if index.table == table.table:
            yield create_index(index, concurrently=False)
    for foreign_key in expected.of(ForeignKey):
        if foreign_key.table == table.table:
            yield from add_foreign_key(foreign_key, Stage.FOREIGN_KEY)
    for trigger in expected.of(Trigger):
        if trigger.table == table.table:
            yield from create_trigger(trigger)
    if table.row_security:
        yield Statement(Stage.ATTACH, alter(table.table, "ENABLE ROW LEVEL SECURITY"))
    for policy in expected.of(Policy):
        if policy.table == table.table:
            yield create_policy(policy)
    yield from rights_on_new(granted_on("TABLE", table.table), here)
    for column in columns:
        if column.identity_kind == "serial":
            on = granted_on("SEQUENCE", f"{column.table}_{column.name}_seq")
            yield from rights_on_new(on, here)


def _create_view(view: Table) -> str:
    options = f" WITH ({', '.join(view.options)})" if view.options else ""
    return f"CREATE {view.type.upper()} {public(view.table)}{options} AS {view.definition};"


def _drop(have: Table) -> Iterator[Statement]:
    if have.is_view or have.type == "foreign table":
        users = (
            "SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_class'::regclass "
            f"AND refobjid = {named(PUBLIC, have.table)}::regclass;"
        )
        yield dropping(Stage.DETACH, _drop_view(have), users)
        return
    yield losing(f"DROP TABLE {public(have.table)};", count_rows(have.table))


def _drop_view(have: Table) -> str:
    """Of a view, a materialized view or a foreign table, whose rows are kept elsewhere."""
    return f"DROP {have.type.upper()} {public(have.table)};"


def _replace(want: Table, have: Table, here: Context) -> Iterator[Statement]:
    """Make a table in the place of something else; what is there has to be given up for it."""
    making: Iterable[Statement] = create_table(want, here)
    (drop,) = _drop(have)
    # What comes after a drop that is not run is not run either.
    if not have.is_view:
        making = [replace(each, stage=Stage.LOSE) for each in making]
    yield from held_together(drop.hazards, "", [drop, *making])


def _change(want: Table, have: Table, here: Context) -> Iterator[Statement]:
    changed = here.difference.changed
    if "persistence" in changed:
        action = "SET LOGGED" if want.persistence == "permanent" else "SET UNLOGGED"
        rows = count_rows(want.table)
        yield Statement(Stage.ATTACH, alter(want.table, action), REWRITES, rows)
    if "row_security" in changed:
        word = "ENABLE" if want.row_security else "DISABLE"
        action = f"{word} ROW LEVEL SECURITY"
        yield _change_of_others(have.row_security, want, Stage.ATTACH, action)
    if "force_row_security" in changed:
        word = "" if want.force_row_security else "NO "
        action = f"{word}FORCE ROW LEVEL SECURITY"
        yield _change_of_others(have.force_row_security, want, Stage.ATTACH, action)
    if "replica_identity" in changed:
        # After its index, which is built outside the transaction.
        stage = Stage.AFTER if want.replica_identity == "index" else Stage.ATTACH
        # Somebody who follows the changes may need what is there.
        action = replica_identity(want, here.expected)
        yield _change_of_others(have.replica_identity != "default", want, stage, action)
    for parent in sorted(set(have.inherits) - set(want.inherits)):
        yield _change_of_others(True, want, Stage.ATTACH, f"NO INHERIT {printed(parent)}")
    for parent in sorted(set(want.inherits) - set(have.inherits)):
        yield Statement(Stage.ATTACH, alter(want.table, f"INHERIT {printed(parent)}"))
    if "options" in changed:
        extra = {option.partition("=")[0] for option in set(have.options) - set(want.options)}
        if extra:
            action = f"RESET ({', '.join(sorted(extra))})"
            yield _change_of_others(True, want, Stage.ATTACH, action)
        if want.options:
            yield Statement(Stage.ATTACH, alter(want.table, f"SET ({', '.join(want.options)})"))
    yield from change_owner(f"TABLE {public(want.table)}", want, have, here)


def _change_of_others(theirs: bool, table: Table, stage: Stage, action: str) -> Statement:
    """A change of what somebody has chosen on purpose where it is ``theirs``."""
    sql = alter(table.table, action)
    return dropping(stage, sql, count_rows(table.table)) if theirs else Statement(stage, sql)
