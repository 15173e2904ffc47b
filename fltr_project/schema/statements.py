"""Statements that make, change and drop each kind of thing; text only, nothing is run here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from .facts import (
    Catalog,
    Check,
    Column,
    ForeignKey,
    Function,
    Grants,
    Index,
    Key,
    Policy,
    Table,
    Trigger,
)


class Stage(IntEnum):
    """Where in the script a statement stands, by what it needs and what needs it."""

    DETACH = 1  # triggers, rules, policies and views that would be in the way
    DROP_FOREIGN_KEY = 2
    DROP = 3
    MAKE = 4  # schemas, extensions, types, sequences, functions
    TABLE = 5
    COLUMN = 6
    ROW_FUNCTION = 7  # functions that take or return a table's rows
    CHECK = 8
    CLEAN = 9  # what nothing uses any more: functions, sequences, types, extensions, schemas
    FOREIGN_KEY = 10
    ATTACH = 11  # triggers, rules, policies, row security
    RIGHTS = 12
    LOSE = 13  # what would lose rows: comments only
    # From here on outside a transaction.
    REINDEX = 20
    KEY = 21
    INDEX = 22
    LATE_FOREIGN_KEY = 23
    VALIDATE = 24
    AFTER = 25


@dataclass(frozen=True)
class Statement:
    stage: Stage
    sql: str
    # Loses rows: it is only ever printed as a comment.
    destructive: bool = False

    @property
    def text(self) -> str:
        return f"-- {' '.join(self.sql.split())}" if self.destructive else self.sql


def name(word: str) -> str:
    """An identifier, always quoted."""
    return '"' + word.replace('"', '""') + '"'


def names(words: Iterable[str]) -> str:
    return ", ".join(map(name, words))


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def public(word: str) -> str:
    """A name in schema public; one that has its schema already stays as it is."""
    return word if "." in word else f"public.{name(word)}"


def alter(table: str, action: str) -> str:
    return f"ALTER TABLE {public(table)} {action};"


def count(table: str) -> str:
    return f"SELECT count(*) FROM {public(table)};"


# --- columns


def column_definition(column: Column, not_null: bool = True) -> str:
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
        words.append(f"DEFAULT nextval({literal(sequence_of(column))}::regclass)")
    elif column.default is not None:
        words.append(f"DEFAULT {column.default}")
    if not column.nullable and not_null:
        words.append("NOT NULL")
    return " ".join(words)


def sequence_of(column: Column) -> str:
    return public(f"{column.table}_{column.name}_seq")


def make_sequence(column: Column, stage: Stage = Stage.MAKE) -> Iterator[Statement]:
    """The sequence of a serial column, before the column uses it."""
    if column.identity_kind == "serial":
        definition = f" {column.sequence}" if column.sequence else ""
        yield Statement(stage, f"CREATE SEQUENCE IF NOT EXISTS {sequence_of(column)}{definition};")


def own_sequence(column: Column, stage: Stage) -> Iterator[Statement]:
    """Tie the sequence to its column and put it behind the rows that are there."""
    if not column.identity_kind:
        return
    table, quoted = public(column.table), name(column.name)
    if column.identity_kind == "serial":
        sequence = literal(sequence_of(column))
        yield Statement(stage, f"ALTER SEQUENCE {sequence_of(column)} OWNED BY {table}.{quoted};")
    else:
        sequence = f"pg_get_serial_sequence({literal(table)}, {literal(column.name)})"
        if column.sequence:
            yield Statement(stage, alter(column.table, f"ALTER COLUMN {quoted} {_sets(column)}"))
    yield Statement(
        stage,
        f"SELECT setval({sequence}, (SELECT coalesce(max({quoted}), 0) + 1 FROM {table}), false);",
    )


def _sets(column: Column) -> str:
    """The options of an identity's sequence, without the type, which is the column's."""
    words = (column.sequence or "").split(" ", 2)[2]
    for option in ("INCREMENT", "MINVALUE", "MAXVALUE", "START", "CACHE", "NO CYCLE", "CYCLE"):
        if option == "CYCLE" and "NO CYCLE" in words:
            continue
        words = words.replace(option, f"SET {option}")
    return words


def not_null(column: Column) -> Iterator[Statement]:
    """Without a lock that lasts: the rows are looked at while others write."""
    constraint = name(f"{column.table}_{column.name}_not_null_check"[-63:])
    quoted = name(column.name)
    yield Statement(
        Stage.CHECK,
        alter(
            column.table,
            f"ADD CONSTRAINT {constraint} CHECK ({quoted} IS NOT NULL) NOT VALID",
        ),
    )
    yield Statement(Stage.VALIDATE, alter(column.table, f"VALIDATE CONSTRAINT {constraint}"))
    yield Statement(
        Stage.AFTER,
        alter(column.table, f"ALTER COLUMN {quoted} SET NOT NULL, DROP CONSTRAINT {constraint}"),
    )


# --- constraints and indexes


def check_clause(check: Check) -> str:
    if check.expression.startswith("EXCLUDE"):
        return f"CONSTRAINT {name(check.name)} {check.expression}"
    return (
        f"CONSTRAINT {name(check.name)} CHECK ({check.expression})"
        + (" NO INHERIT" if check.no_inherit else "")
        + ("" if check.enforced else " NOT ENFORCED")
    )


def add_check(check: Check) -> Iterator[Statement]:
    if check.expression.startswith("EXCLUDE") or not check.enforced:
        yield Statement(Stage.CHECK, alter(check.table, f"ADD {check_clause(check)}"))
        return
    yield Statement(Stage.CHECK, alter(check.table, f"ADD {check_clause(check)} NOT VALID"))
    if check.valid:
        yield validate(check)


def validate(constraint: Check | ForeignKey) -> Statement:
    return Statement(
        Stage.VALIDATE, alter(constraint.table, f"VALIDATE CONSTRAINT {name(constraint.name)}")
    )


def add_foreign_key(key: ForeignKey, stage: Stage) -> Iterator[Statement]:
    on_update = "" if key.on_update == "NO ACTION" else f" ON UPDATE {key.on_update}"
    clause = (
        f"ADD CONSTRAINT {name(key.name)} FOREIGN KEY ({names(key.columns)}) "
        f"REFERENCES {public(key.target)} ({names(key.target_columns)})"
        f"{'' if key.match == 'SIMPLE' else f' MATCH {key.match}'}"
        f" ON DELETE {key.on_delete}{on_update} {key.deferrable}"
    )
    if not key.enforced:
        yield Statement(stage, alter(key.table, f"{clause} NOT ENFORCED"))
        return
    yield Statement(stage, alter(key.table, f"{clause} NOT VALID"))
    if key.valid:
        yield validate(key)


def drop_constraint(constraint: Check | ForeignKey | Key) -> str:
    return alter(constraint.table, f"DROP CONSTRAINT {name(constraint.name)}")


def drop_key(key: Key) -> str:
    return drop_constraint(key) if key.constraint else f"DROP INDEX {public(key.name)};"


def key_clause(key: Key, index: str) -> str:
    word = "PRIMARY KEY" if key.primary else "UNIQUE"
    deferrable = "" if key.deferrable == "NOT DEFERRABLE" else f" {key.deferrable}"
    return f"ADD CONSTRAINT {name(key.name)} {word} USING INDEX {name(index)}{deferrable}"


def add_key(key: Key, concurrently: bool = True) -> Iterator[Statement]:
    stage = Stage.KEY if concurrently else Stage.TABLE
    yield Statement(stage, create_index(key, concurrently))
    if key.constraint or key.primary:
        yield Statement(stage, alter(key.table, key_clause(key, key.name)))


def create_index(index: Key | Index, concurrently: bool = True) -> str:
    unique = "UNIQUE " if isinstance(index, Key) else ""
    how = "CONCURRENTLY " if concurrently else ""
    return (
        f"CREATE {unique}INDEX {how}{name(index.name)} ON {public(index.table)} "
        f"USING {index.definition};"
    )


# --- tables, with all that the contract says of them


def create_table(table: Table, expected: Catalog) -> Iterator[Statement]:
    columns = [column for column in expected.of(Column) if column.table == table.table]
    for column in columns:
        yield from make_sequence(column)
    checks = [check for check in expected.of(Check) if check.table == table.table]
    lines = [column_definition(column) for column in columns] + [
        check_clause(check) for check in checks
    ]
    partition = f" PARTITION BY {table.partition_key}" if table.partition_key else ""
    unlogged = "UNLOGGED " if table.persistence == "unlogged" else ""
    if table.is_view:
        yield Statement(Stage.ATTACH, create_view(table))
        return
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
            yield Statement(Stage.TABLE, create_index(index, concurrently=False))
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
            yield Statement(Stage.ATTACH, create_policy(policy))


def create_view(view: Table) -> str:
    options = f" WITH ({', '.join(view.options)})" if view.options else ""
    return f"CREATE {view.type.upper()} {public(view.table)}{options} AS {view.definition};"


def create_policy(policy: Policy) -> str:
    return f"CREATE POLICY {name(policy.name)} ON {public(policy.table)} {policy.definition};"


def create_trigger(trigger: Trigger) -> Iterator[Statement]:
    word = "CONSTRAINT TRIGGER" if trigger.constraint else "TRIGGER"
    yield Statement(Stage.ATTACH, f"CREATE {word} {name(trigger.name)} {trigger.definition};")
    if trigger.enabled != "enabled":
        yield enable_trigger(trigger.table, trigger.name, trigger.enabled)


def enable_trigger(table: str, trigger: str, enabled: str) -> Statement:
    word = {
        "enabled": "ENABLE TRIGGER",
        "disabled": "DISABLE TRIGGER",
        "always": "ENABLE ALWAYS TRIGGER",
        "on replicas only": "ENABLE REPLICA TRIGGER",
    }[enabled]
    return Statement(Stage.ATTACH, alter(table, f"{word} {name(trigger)}"))


# --- the rest


def create_function(function: Function) -> str:
    settings = []
    for setting in function.settings:
        key, _, value = setting.partition("=")
        settings.append(f"SET {key} = {value or literal('')}")
    words = [
        f"LANGUAGE {function.language}",
        function.volatility.upper(),
        *(["STRICT"] if function.strict else []),
        *(["SECURITY DEFINER"] if function.security_definer else []),
        *(["LEAKPROOF"] if function.leakproof else []),
        f"PARALLEL {function.parallel.upper()}",
        *settings,
    ]
    # A procedure returns nothing and has no other of these words.
    kind, returns = "FUNCTION", f" RETURNS {function.returns}"
    if not function.returns:
        kind, returns = "PROCEDURE", ""
        words = [words[0], *(["SECURITY DEFINER"] if function.security_definer else []), *settings]
    tag = "$function$"
    while tag in function.body:
        tag = f"{tag[:-1]}_$"
    body = function.body if function.parsed else f"AS {tag}\n{function.body}\n{tag}"
    return (
        f"CREATE OR REPLACE {kind} {public(function.name)}"
        f"({function.defaults or function.arguments}){returns}\n" + "\n".join(words) + f"\n{body};"
    )


def signature(function: Function) -> str:
    kind = "FUNCTION" if function.returns else "PROCEDURE"
    return f"{kind} {public(function.name)}({function.arguments})"


def grant(entry: Grants, privileges: Iterable[str], give: bool, owner: str) -> Iterator[Statement]:
    role = "PUBLIC" if entry.role == "PUBLIC" else name(entry.role or owner)
    for privilege in privileges:
        right, _, option = privilege.partition(" WITH ")
        verb, to = ("GRANT", "TO") if give else ("REVOKE", "FROM")
        clause = f"{right} ON {entry.on} {to} {role}"
        if entry.on.startswith("new "):
            _, kind, _, creator = entry.on.split(" ", 3)
            creator = owner if creator == "the owner" else creator
            clause = (
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {name(creator)} IN SCHEMA public "
                f"{verb} {right} ON {kind.upper()} {to} {role}"
            )
            verb = ""
        ending = f" WITH {option}" if option and give else ""
        yield Statement(Stage.RIGHTS, f"{verb} {clause}{ending};".strip())
