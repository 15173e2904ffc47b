"""Statements that make, change and drop keys, foreign keys, checks and indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fltr_project.catalog.facts import (
    Catalog,
    Check,
    Column,
    DisabledTrigger,
    ForeignKey,
    Index,
    Key,
    Table,
    plain_columns,
)
from fltr_project.drift.findings import Difference

from .columns import alter, costs_of_type, count_rows, not_null_check
from .context import Context
from .names import PUBLIC, bare, name, named, names, public, target
from .statement import PATIENCE, Hazard, Stage, Statement, Thing, dropping, hazards, held_together


def repair_key(want: Key | None, have: Key | None, here: Context) -> Iterator[Statement]:
    if want and have and here.differs("valid"):
        yield _reindex(have)
        return
    # A key cannot go while foreign keys point at it; those of the contract come back afterwards.
    pointing = [
        key
        for key in here.found.of(ForeignKey)
        if have and key.target == have.table and _names_columns(have, key.target_columns)
    ]
    again = [key for each in pointing for key in _again(each, want, here)]
    statements = [
        *(Statement(Stage.DROP_FOREIGN_KEY, drop_constraint(key)) for key in pointing),
        *([_drop(have)] if have else []),
        *(add_key(want) if want else _index_in_its_place(have, here)),
        *(each for key in again for each in add_foreign_key(key, Stage.LATE_FOREIGN_KEY)),
    ]
    # A key of nobody's contract, or one that a foreign key of others needs as it is.
    others = want is None or len(again) < len(pointing)
    costs = hazards(Hazard.DROPS_OTHERS) if others else hazards()
    yield from held_together(costs, count_rows(have.table) if have else "", statements)


def _again(key: ForeignKey, want: Key | None, here: Context) -> list[ForeignKey]:
    """What a foreign key that had to go comes back as: the contract's, or as it was."""
    told = [each for each in here.expected.of(ForeignKey) if each.identity == key.identity]
    return told or ([key] if want and _names_columns(want, key.target_columns) else [])


def _drop(key: Key) -> Statement:
    if not key.constraint:
        return Statement(Stage.DROP, drop_index(key))
    # A view that groups by a primary key holds on to it.
    disturbed = Thing("constraint", key.table, key.name)
    return Statement(Stage.DROP, drop_constraint(key), disturbs=disturbed)


def _index_in_its_place(have: Key | None, here: Context) -> Iterator[Statement]:
    """The plain index of the contract that a unique one has taken the place of."""
    standing = {index.identity for index in here.found.of(Index)}
    for index in here.expected.of(Index):
        if have and index.identity == have.identity and index.identity not in standing:
            yield create_index(index)


def repair_check(want: Check | None, have: Check | None, here: Context) -> Iterator[Statement]:
    if want and have and here.differs("valid"):
        yield validate(have)
        return
    if have and want is None and not _is_ours(have):
        yield dropping(Stage.DROP, drop_constraint(have), count_rows(have.table))
        return
    statements = [
        *([Statement(Stage.DROP, drop_constraint(have))] if have else []),
        *(_add_check(want) if want else ()),
    ]
    words = re.findall(r"\w+", want.expression) if want else []
    named = {(want.table, word) for word in words} if want else set()
    costs, counted = _costs_of_types(named, here)
    yield from held_together(costs, counted, statements)


def _is_ours(check: Check) -> bool:
    """Whether it was left by a repair that stopped before its column was NOT NULL."""
    column = bare(check.expression.strip("()").removesuffix(" IS NOT NULL"))
    return check.name == not_null_check(check.table, column)


def repair_foreign_key(
    want: ForeignKey | None, have: ForeignKey | None, here: Context
) -> Iterator[Statement]:
    if want and have and here.differs("valid", "deferrable"):
        if want.deferrable != have.deferrable:
            action = f"ALTER CONSTRAINT {name(have.name)} {want.deferrable}"
            yield Statement(Stage.FOREIGN_KEY, alter(want.table, action))
        if not have.valid:
            yield validate(have)
        return
    if have and want is None:
        yield dropping(Stage.DROP_FOREIGN_KEY, drop_constraint(have), count_rows(have.table))
    elif want:
        named = {(want.table, column) for column in want.columns}
        named |= {(want.target, column) for column in want.target_columns}
        costs, counted = _costs_of_types(named, here)
        yield from held_together(costs, counted, _replace_foreign_key(want, have, here))


def _replace_foreign_key(
    want: ForeignKey, have: ForeignKey | None, here: Context
) -> Iterator[Statement]:
    if have:
        yield Statement(Stage.DROP_FOREIGN_KEY, drop_constraint(have))
    # What it points at may have to be made unique first, which is done outside a transaction.
    ready = any(
        key.table == want.target and key.valid and _names_columns(key, want.target_columns)
        for key in here.found.of(Key)
    ) or all(table.table != want.target for table in here.found.of(Table))
    yield from add_foreign_key(want, Stage.FOREIGN_KEY if ready else Stage.LATE_FOREIGN_KEY)


def _costs_of_types(named: set[tuple[str, str]], here: Context) -> tuple[frozenset[Hazard], str]:
    """What a constraint waits for whose columns, by table and name, have yet to get their types."""
    found = {each.identity: each for each in here.found.of(Column)}
    for want in here.expected.of(Column):
        have = found.get(want.identity)
        if not have or want.identity not in named:
            continue
        if (want.type, want.collation) != (have.type, have.collation):
            return costs_of_type(want, have), count_rows(want.table)
    return hazards(), ""


def repair_index(want: Index | None, have: Index | None, here: Context) -> Iterator[Statement]:
    if want and have and here.differs("valid"):
        yield _reindex(have)
        return
    if have and want is None and not _has_our_name(have, here):
        used = f"SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelid = {named(PUBLIC, have.name)}::regclass;"
        yield dropping(Stage.DROP, drop_index(have), used)
    elif have:
        yield Statement(Stage.DROP, drop_index(have))
    if want:
        yield create_index(want)


def _has_our_name(index: Index, here: Context) -> bool:
    """Whether it was made in the place of a key of the contract, which needs the name."""
    return any(key.name == index.name for key in here.expected.of(Key))


def repair_disabled_trigger(
    want: DisabledTrigger | None, have: DisabledTrigger | None, here: Context
) -> Iterator[Statement]:
    # PostgreSQL lets only a superuser do this.
    trigger = have or want
    if trigger:
        yield enable_trigger(trigger.table, trigger.name, want.enabled if want else "enabled")


def rename(difference: Difference) -> Iterator[Statement]:
    """Give what is there under another name the name of the contract."""
    want, have = difference.want, difference.have
    if isinstance(want, Index | Key) and isinstance(have, Index | Key) and want.name != have.name:
        sql = f"ALTER INDEX {public(have.name)} RENAME TO {name(want.name)};"
        yield Statement(Stage.ATTACH, sql)
    elif isinstance(want, Check | ForeignKey) and isinstance(have, Check | ForeignKey):
        action = f"RENAME CONSTRAINT {name(have.name)} TO {name(want.name)}"
        yield Statement(Stage.ATTACH, alter(want.table, action))


def enable_trigger(table: str, trigger: str, enabled: str) -> Statement:
    word = {
        "enabled": "ENABLE TRIGGER",
        "disabled": "DISABLE TRIGGER",
        "always": "ENABLE ALWAYS TRIGGER",
        "on replicas only": "ENABLE REPLICA TRIGGER",
    }[enabled]
    return Statement(Stage.ATTACH, alter(table, f"{word} {name(trigger)}"))


def check_clause(check: Check) -> str:
    if check.expression.startswith("EXCLUDE"):
        return f"CONSTRAINT {name(check.name)} {check.expression}"
    return (
        f"CONSTRAINT {name(check.name)} CHECK ({check.expression})"
        + (" NO INHERIT" if check.no_inherit else "")
        + ("" if check.enforced else " NOT ENFORCED")
    )


def add_foreign_key(key: ForeignKey, stage: Stage) -> Iterator[Statement]:
    on_update = "" if key.on_update == "NO ACTION" else f" ON UPDATE {key.on_update}"
    clause = (
        f"ADD CONSTRAINT {name(key.name)} FOREIGN KEY ({names(key.columns)}) "
        f"REFERENCES {target(key.target)} ({names(key.target_columns)})"
        f"{'' if key.match == 'SIMPLE' else f' MATCH {key.match}'}"
        f" ON DELETE {key.on_delete}{on_update} {key.deferrable}"
    )
    if not key.enforced:
        yield Statement(stage, alter(key.table, f"{clause} NOT ENFORCED"))
        return
    yield Statement(stage, alter(key.table, f"{clause} NOT VALID"))
    if key.valid:
        yield validate(key)


def add_key(key: Key, concurrently: bool = True) -> Iterator[Statement]:
    index = create_index(key, concurrently)
    yield index
    if key.constraint or key.primary:
        word = "PRIMARY KEY" if key.primary else "UNIQUE"
        deferrable = "" if key.deferrable == "NOT DEFERRABLE" else f" {key.deferrable}"
        action = f"ADD CONSTRAINT {name(key.name)} {word} USING INDEX {name(key.name)}{deferrable}"
        yield Statement(index.stage, alter(key.table, action))


def create_index(index: Key | Index, concurrently: bool = True) -> Statement:
    """In a transaction only on a table that is new there."""
    unique = "UNIQUE " if isinstance(index, Key) else ""
    on = f"{name(index.name)} ON {public(index.table)} USING {index.definition};"
    if not concurrently:
        return Statement(Stage.TABLE, f"CREATE {unique}INDEX {on}")
    return Statement(
        Stage.KEY if unique else Stage.INDEX,
        f"CREATE {unique}INDEX CONCURRENTLY {on}",
        lock_timeout=PATIENCE,
        transactional=False,
    )


def drop_index(index: Key | Index) -> str:
    return f"DROP INDEX {public(index.name)};"


def drop_constraint(constraint: Check | ForeignKey | Key) -> str:
    return alter(constraint.table, f"DROP CONSTRAINT {name(constraint.name)}")


def validate(constraint: Check | ForeignKey) -> Statement:
    return Statement(
        Stage.VALIDATE, alter(constraint.table, f"VALIDATE CONSTRAINT {name(constraint.name)}")
    )


def replica_identity(table: Table, expected: Catalog) -> str:
    """As in ALTER TABLE: which columns of a changed row are told to subscribers."""
    if table.replica_identity != "index":
        return f"REPLICA IDENTITY {table.replica_identity.upper()}"
    # The server takes unique ones only.
    index = next(
        key.name for key in expected.of(Key) if key.table == table.table and key.replica_identity
    )
    return f"REPLICA IDENTITY USING INDEX {name(index)}"


def _add_check(check: Check) -> Iterator[Statement]:
    if check.expression.startswith("EXCLUDE") or not check.enforced:
        excludes = check.expression.startswith("EXCLUDE")
        yield Statement(
            Stage.CHECK,
            alter(check.table, f"ADD {check_clause(check)}"),
            hazards(Hazard.BLOCKS_WRITERS) if excludes else hazards(),
            count_rows(check.table) if excludes else "",
        )
        return
    yield Statement(Stage.CHECK, alter(check.table, f"ADD {check_clause(check)} NOT VALID"))
    if check.valid:
        yield validate(check)


def _reindex(index: Key | Index) -> Statement:
    return Statement(
        Stage.REINDEX,
        f"REINDEX INDEX CONCURRENTLY {public(index.name)};",
        lock_timeout=PATIENCE,
        transactional=False,
    )


def _names_columns(key: Key, columns: tuple[str, ...]) -> bool:
    plain = plain_columns(key.definition) or ()
    return {bare(column) for column in plain} == set(columns)
