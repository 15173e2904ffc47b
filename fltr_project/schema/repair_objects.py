"""The statements that repair one difference, by the kind of thing it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .facts import (
    Catalog,
    Check,
    Column,
    DisabledTrigger,
    Extension,
    Fact,
    ForeignKey,
    Function,
    Grants,
    Index,
    Key,
    Other,
    Policy,
    Rule,
    Schema,
    Sequence,
    Setting,
    Table,
    Trigger,
    Type,
    plain_columns,
)
from .findings import Difference
from .repair_columns import add_column, change_column, drop_column, rename_column
from .statements import (
    Stage,
    Statement,
    add_check,
    add_foreign_key,
    add_key,
    alter,
    count,
    create_function,
    create_index,
    create_policy,
    create_table,
    create_trigger,
    create_view,
    drop_constraint,
    drop_key,
    enable_trigger,
    grant,
    literal,
    name,
    public,
    signature,
    validate,
)


@dataclass(frozen=True)
class Context:
    """What a repair may need to know beyond the two facts."""

    expected: Catalog
    found: Catalog
    difference: Difference

    def differs(self, *fields: str) -> bool:
        """Whether nothing but these fields differs."""
        return set(self.difference.changed) <= set(fields)

    @property
    def owner(self) -> str:
        return self.found.owner


def _table(want: Table | None, have: Table | None, here: Context) -> Iterator[Statement]:
    renamed = _renamed_table(want, have, here)
    if want is None or have is None:
        if renamed:
            yield renamed
        elif want:
            yield from create_table(want, here.expected)
        elif have:
            yield from _drop_table(have)
        return
    changed = here.difference.changed
    if "type" in changed or "partition_key" in changed or "partition_bound" in changed:
        yield from _drop_table(have)
        losing = not have.is_view
        if renamed and not losing:
            yield renamed
            return
        for statement in create_table(want, here.expected):
            yield Statement(Stage.LOSE if losing else statement.stage, statement.sql, losing)
        return
    if "definition" in changed or (have.is_view and "options" in changed):
        yield Statement(Stage.DETACH, f"DROP {have.type.upper()} {public(have.table)};")
        yield Statement(Stage.ATTACH, create_view(want))
        return
    actions = {
        "persistence": "SET LOGGED" if want.persistence == "permanent" else "SET UNLOGGED",
        "row_security": f"{'ENABLE' if want.row_security else 'DISABLE'} ROW LEVEL SECURITY",
        "force_row_security": (
            f"{'' if want.force_row_security else 'NO '}FORCE ROW LEVEL SECURITY"
        ),
        "replica_identity": f"REPLICA IDENTITY {want.replica_identity.upper()}",
    }
    for field, action in actions.items():
        if field in changed:
            yield Statement(Stage.ATTACH, alter(want.table, action))
    for parent in set(have.inherits) - set(want.inherits):
        yield Statement(Stage.ATTACH, alter(want.table, f"NO INHERIT {public(parent)}"))
    for parent in set(want.inherits) - set(have.inherits):
        yield Statement(Stage.ATTACH, alter(want.table, f"INHERIT {public(parent)}"))
    if "options" in changed:
        extra = {option.partition("=")[0] for option in set(have.options) - set(want.options)}
        if extra:
            yield Statement(Stage.ATTACH, alter(want.table, f"RESET ({', '.join(sorted(extra))})"))
        if want.options:
            yield Statement(Stage.ATTACH, alter(want.table, f"SET ({', '.join(want.options)})"))
    yield from _change_owner(f"TABLE {public(want.table)}", want, have, here)


def _renamed_table(want: Table | None, have: Table | None, here: Context) -> Statement | None:
    """Give a table its name back that stands there, column for column, under another one."""
    expected, found = _tables(here.expected), _tables(here.found)
    lost = {
        name: columns
        for name, columns in expected.items()
        if name not in found or (want and have and name == want.table)
    }
    left = {name: columns for name, columns in found.items() if name not in expected}
    pairs = [
        (new, old)
        for old, columns in lost.items()
        for new, others in left.items()
        if columns == others and list(left.values()).count(others) == 1
    ]
    for new, old in pairs:
        if (want and want.table == old) or (have and have.table == new):
            return Statement(Stage.MAKE, alter(new, f"RENAME TO {name(old)}"))
    return None


def _tables(catalog: Catalog) -> dict[str, frozenset[tuple[str, str]]]:
    columns: dict[str, set[tuple[str, str]]] = {
        table.table: set() for table in catalog.of(Table) if table.type == "table"
    }
    for column in catalog.of(Column):
        if column.table in columns:
            columns[column.table].add((column.name, column.type))
    return {table: frozenset(pairs) for table, pairs in columns.items()}


def _drop_table(have: Table) -> Iterator[Statement]:
    if have.type.endswith("view") or have.type == "foreign table":
        # None of them holds rows of its own that cannot be had again.
        yield Statement(Stage.DETACH, f"DROP {have.type.upper()} {public(have.table)};")
        return
    yield Statement(Stage.LOSE, count(have.table), destructive=True)
    yield Statement(Stage.LOSE, f"DROP TABLE {public(have.table)};", destructive=True)


def _change_owner(on: str, want: Any, have: Any, here: Context) -> Iterator[Statement]:
    if want.owner != have.owner:
        owner = name(want.owner or here.owner)
        yield Statement(Stage.RIGHTS, f"ALTER {on} OWNER TO {owner};")


def _column(want: Column | None, have: Column | None, here: Context) -> Iterator[Statement]:
    if want is None and have is not None:
        old = _renamed_column(have, here.found, here.expected)
        return rename_column(old, have.name) if old else drop_column(have)
    if want is not None and have is None:
        new = _renamed_column(want, here.expected, here.found)
        return rename_column(want, new.name) if new else add_column(want)
    assert want is not None and have is not None  # noqa: S101, PT018 - one of them is there
    return change_column(want, have, here.difference.changed)


def _renamed_column(column: Column, its: Catalog, other: Catalog) -> Column | None:
    """The one column of the table that only the other catalog has, where all but the name agrees."""
    mine = {each.name for each in its.of(Column) if each.table == column.table}
    theirs = [each for each in other.of(Column) if each.table == column.table]
    only_mine = mine - {each.name for each in theirs}
    only_theirs = [each for each in theirs if each.name not in mine]
    if len(only_mine) == 1 and len(only_theirs) == 1:
        (candidate,) = only_theirs
        if replace(candidate, name=column.name) == column:
            return candidate
    return None


def _key(want: Key | None, have: Key | None, here: Context) -> Iterator[Statement]:
    if want and have and here.differs("valid"):
        yield Statement(Stage.REINDEX, f"REINDEX INDEX CONCURRENTLY {public(have.name)};")
        return
    # A key cannot go while foreign keys point at it; those of the contract come back afterwards.
    pointing = [
        key
        for key in here.found.of(ForeignKey)
        if have and key.target == have.table and _names_columns(have, key.target_columns)
    ]
    for foreign_key in pointing:
        yield Statement(Stage.DROP_FOREIGN_KEY, drop_constraint(foreign_key))
    if have:
        yield Statement(Stage.DROP, drop_key(have))
    if want:
        yield from add_key(want)
    elif have:
        # The plain index of the contract that a unique one has taken the place of.
        standing = {index.identity for index in here.found.of(Index)}
        for index in here.expected.of(Index):
            if index.identity == have.identity and index.identity not in standing:
                yield Statement(Stage.INDEX, create_index(index))
    for foreign_key in pointing:
        for again in here.expected.of(ForeignKey):
            if again.identity == foreign_key.identity:
                yield from add_foreign_key(again, Stage.LATE_FOREIGN_KEY)


def _names_columns(key: Key, columns: tuple[str, ...]) -> bool:
    plain = plain_columns(key.definition) or ()
    return {column.strip('"') for column in plain} == set(columns)


def _check(want: Check | None, have: Check | None, here: Context) -> Iterator[Statement]:
    if want and have and here.differs("valid"):
        yield validate(have)
        return
    if have:
        yield Statement(Stage.DROP, drop_constraint(have))
    if want:
        yield from add_check(want)


def _foreign_key(
    want: ForeignKey | None, have: ForeignKey | None, here: Context
) -> Iterator[Statement]:
    if want and have and here.differs("valid", "deferrable"):
        if want.deferrable != have.deferrable:
            action = f"ALTER CONSTRAINT {name(have.name)} {want.deferrable}"
            yield Statement(Stage.FOREIGN_KEY, alter(want.table, action))
        if not have.valid:
            yield validate(have)
        return
    if have:
        yield Statement(Stage.DROP_FOREIGN_KEY, drop_constraint(have))
    if want:
        # What it points at may have to be made unique first, which is done outside a transaction.
        ready = any(
            key.table == want.target and key.valid and _names_columns(key, want.target_columns)
            for key in here.found.of(Key)
        ) or all(table.table != want.target for table in here.found.of(Table))
        yield from add_foreign_key(want, Stage.FOREIGN_KEY if ready else Stage.LATE_FOREIGN_KEY)


def _disabled_trigger(
    want: DisabledTrigger | None, have: DisabledTrigger | None, here: Context
) -> Iterator[Statement]:
    # PostgreSQL lets only a superuser do this.
    trigger = have or want
    if trigger:
        enabled = want.enabled if want else "enabled"
        yield enable_trigger(trigger.table, trigger.name, enabled)


def _index(want: Index | None, have: Index | None, here: Context) -> Iterator[Statement]:
    if want and have and here.differs("valid"):
        yield Statement(Stage.REINDEX, f"REINDEX INDEX CONCURRENTLY {public(have.name)};")
        return
    if have:
        yield Statement(Stage.DROP, f"DROP INDEX {public(have.name)};")
    if want:
        yield Statement(Stage.INDEX, create_index(want))


def _trigger(want: Trigger | None, have: Trigger | None, here: Context) -> Iterator[Statement]:
    if want and have and here.differs("enabled"):
        yield enable_trigger(want.table, have.name, want.enabled)
        return
    if have:
        yield Statement(Stage.DETACH, f"DROP TRIGGER {name(have.name)} ON {public(have.table)};")
    if want:
        yield from create_trigger(want)


def _rule(want: Rule | None, have: Rule | None, here: Context) -> Iterator[Statement]:
    if have:
        yield Statement(Stage.DETACH, f"DROP RULE {name(have.name)} ON {public(have.table)};")
    if want:
        yield Statement(Stage.ATTACH, f"{want.definition};")


def _policy(want: Policy | None, have: Policy | None, here: Context) -> Iterator[Statement]:
    if have:
        yield Statement(Stage.DETACH, f"DROP POLICY {name(have.name)} ON {public(have.table)};")
    if want:
        yield Statement(Stage.ATTACH, create_policy(want))


def _function(want: Function | None, have: Function | None, here: Context) -> Iterator[Statement]:
    if want is None:
        if have:
            yield Statement(Stage.CLEAN, f"DROP {signature(have)};")
        return
    if have:
        if not here.differs("owner"):
            # What CREATE OR REPLACE refuses to change. Fails where something depends on it.
            replaceable = have.returns == want.returns and have.defaults == want.defaults
            if not replaceable:
                yield Statement(Stage.DETACH, f"DROP {signature(have)};")
            yield Statement(_stage_of_function(want, here), create_function(want))
        yield from _change_owner(signature(want), want, have, here)
        return
    yield Statement(_stage_of_function(want, here), create_function(want))


def _stage_of_function(want: Function, here: Context) -> Stage:
    """Before the tables, whose defaults may call it, unless it takes or returns their rows."""
    types = f"{want.arguments} {want.returns}"
    rows = (f"public.{word}" for each in here.expected.of(Table) for word in spellings(each.table))
    return Stage.ROW_FUNCTION if any(row in types for row in rows) else Stage.MAKE


def spellings(table: str) -> tuple[str, str]:
    """A name as PostgreSQL prints it: bare where it can."""
    return table, name(table)


def _sequence(want: Sequence | None, have: Sequence | None, here: Context) -> Iterator[Statement]:
    if want and have:
        if "definition" in here.difference.changed:
            yield Statement(Stage.MAKE, f"ALTER SEQUENCE {public(want.name)} {want.definition};")
        yield from _change_owner(f"SEQUENCE {public(want.name)}", want, have, here)
    elif want:
        yield Statement(Stage.MAKE, f"CREATE SEQUENCE {public(want.name)} {want.definition};")
    elif have:
        yield Statement(Stage.CLEAN, f"DROP SEQUENCE {public(have.name)};")


def _type(want: Type | None, have: Type | None, here: Context) -> Iterator[Statement]:
    fact = want or have
    if fact is None:
        return
    word = "DOMAIN" if fact.is_domain else "TYPE"
    if want and have and here.differs("owner"):
        yield from _change_owner(f"{word} {public(want.name)}", want, have, here)
        return
    if have:
        # Fails while a column still has it; the column's own repair comes first.
        yield Statement(
            Stage.CLEAN if not want else Stage.DETACH, f"DROP {word} {public(have.name)};"
        )
    if want:
        yield Statement(Stage.MAKE, f"CREATE {word} {public(want.name)} AS {want.definition};")


def _schema(want: Schema | None, have: Schema | None, here: Context) -> Iterator[Statement]:
    if want and have:
        owner = "pg_database_owner" if want.name == "public" else here.owner
        yield Statement(
            Stage.RIGHTS, f"ALTER SCHEMA {name(want.name)} OWNER TO {name(want.owner or owner)};"
        )
    elif want:
        yield Statement(Stage.MAKE, f"CREATE SCHEMA {name(want.name)};")
    elif have and have.tables:
        counted = (
            "SELECT relname, reltuples FROM pg_class WHERE relkind IN ('r', 'p') AND "
            f"relnamespace = {literal(name(have.name))}::regnamespace;"
        )
        yield Statement(Stage.LOSE, counted, destructive=True)
        yield Statement(Stage.LOSE, f"DROP SCHEMA {name(have.name)} CASCADE;", destructive=True)
    elif have:
        yield Statement(Stage.CLEAN, f"DROP SCHEMA {name(have.name)};")


def _extension(
    want: Extension | None, have: Extension | None, here: Context
) -> Iterator[Statement]:
    if want:
        yield Statement(Stage.MAKE, f"CREATE EXTENSION {name(want.name)};")
    elif have:
        yield Statement(Stage.CLEAN, f"DROP EXTENSION {name(have.name)};")


def _grants(want: Grants | None, have: Grants | None, here: Context) -> Iterator[Statement]:
    entry = want or have
    if entry is None:
        return
    given, taken = (set(have.granted), set(have.revoked)) if have else (set(), set())
    give, take = (set(want.granted), set(want.revoked)) if want else (set(), set())
    yield from grant(entry, sorted((given - give) | (take - taken)), False, here.owner)
    yield from grant(entry, sorted((give - given) | (taken - take)), True, here.owner)


def _other(want: Other | None, have: Other | None, here: Context) -> Iterator[Statement]:
    if have:
        word = {"statistics object": "STATISTICS"}.get(have.type, have.type.upper())
        yield Statement(Stage.DETACH, f"DROP {word} {have.name};")
    if want and want.definition.startswith("CREATE"):
        yield Statement(Stage.ATTACH, f"{want.definition};")


def _setting(want: Setting | None, have: Setting | None, here: Context) -> Iterator[Statement]:
    if want:
        database, value = name(here.found.database), literal(want.value)
        yield Statement(Stage.RIGHTS, f"ALTER DATABASE {database} SET {want.name} = {value};")


def renaming(difference: Difference) -> Iterator[Statement]:
    want, have = difference.want, difference.have
    if isinstance(want, Index | Key) and isinstance(have, Index | Key) and want.name != have.name:
        yield Statement(
            Stage.ATTACH, f"ALTER INDEX {public(have.name)} RENAME TO {name(want.name)};"
        )
    elif isinstance(want, Check | ForeignKey) and isinstance(have, Check | ForeignKey):
        action = f"RENAME CONSTRAINT {name(have.name)} TO {name(want.name)}"
        yield Statement(Stage.ATTACH, alter(want.table, action))


MAKERS: dict[type[Fact], Callable[[Any, Any, Context], Iterator[Statement]]] = {
    Setting: _setting,
    Schema: _schema,
    Extension: _extension,
    Type: _type,
    Sequence: _sequence,
    Function: _function,
    Table: _table,
    Column: _column,
    Key: _key,
    Check: _check,
    ForeignKey: _foreign_key,
    DisabledTrigger: _disabled_trigger,
    Index: _index,
    Trigger: _trigger,
    Rule: _rule,
    Policy: _policy,
    Grants: _grants,
    Other: _other,
}
