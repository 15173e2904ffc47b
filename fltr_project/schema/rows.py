"""The rows of the catalog queries as facts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .facts import (
    TRACKING_SCHEMAS,
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
    Policy,
    Rule,
    Schema,
    Sequence,
    Table,
    Trigger,
    Type,
)

type Rows = dict[str, list[tuple[Any, ...]]]


class Usual(dict[str, str]):
    """Names of roles, where the one that owns most of the database is ""."""

    def __init__(self, owner: str) -> None:
        super().__init__({owner: "", "pg_database_owner": ""})

    def __missing__(self, role: str) -> str:
        return role


def schemas(rows: Rows, usual: Usual) -> Iterator[Fact]:
    for _, name, owner, tables, *_ in rows["schemas"]:
        if name not in TRACKING_SCHEMAS:
            yield Schema("", name, usual[owner], tables)
    for (name,) in rows["extensions"]:
        yield Extension("", name)


def types_and_functions(rows: Rows, usual: Usual) -> Iterator[Fact]:
    for _, name, definition, _, _, owner in rows["types"]:
        yield Type("", name, definition, usual[owner])
    for (
        _,
        name,
        arguments,
        kind,
        returns,
        language,
        body,
        parsed,
        security_definer,
        settings,
        volatility,
        strict,
        parallel,
        leakproof,
        defaults,
        _,
        _,
        owner,
    ) in rows["functions"]:
        yield Function(
            table="",
            name=name,
            arguments=arguments,
            returns="" if kind == "p" else returns,
            language=language,
            body=body.strip(),
            security_definer=security_definer,
            settings=tuple(sorted(settings or ())),
            volatility=VOLATILITY[volatility],
            strict=strict,
            parallel=PARALLEL[parallel],
            leakproof=leakproof,
            defaults=defaults,
            parsed=parsed,
            owner=usual[owner],
        )


def tables(rows: Rows, usual: Usual) -> Iterator[Fact]:
    for (
        _,
        name,
        kind,
        persistence,
        row_security,
        force_row_security,
        replica_identity,
        parents,
        partition_key,
        partition_bound,
        options,
        definition,
        _,
        _,
        owner,
    ) in rows["relations"]:
        yield Table(
            name,
            RELATION_TYPES[kind],
            PERSISTENCE[persistence],
            row_security,
            force_row_security,
            REPLICA_IDENTITY[replica_identity],
            tuple(parent.removeprefix("public.") for parent in parents or ()),
            partition_key,
            partition_bound,
            tuple(sorted(options or ())),
            _squeezed(definition) if definition else None,
            usual[owner],
        )


def columns(rows: Rows, usual: Usual) -> Iterator[Fact]:
    owned: dict[tuple[str, str], tuple[str, str]] = {}
    for _, name, table, column, qualified, definition, _, _, owner in rows["sequences"]:
        if table is None:
            yield Sequence("", name, definition, usual[owner])
        else:
            owned[table, column] = (qualified, definition)
    # From PostgreSQL 18 on a NOT NULL can be waiting to be validated: relation, column, name.
    not_valid = {
        (relation, key[0]): name
        for _, kind, name, *_, relation, _, key, _, _ in rows["constraints"]
        if kind == "n"
    }
    for (
        relation,
        number,
        table,
        name,
        type_,
        not_null,
        expression,
        identity,
        generated,
        collation,
        _,
    ) in rows["columns"]:
        not_null_name = not_valid.get((relation, number))
        kind = IDENTITY[identity]
        default = None if generated else expression
        sequence_name = sequence = None
        if (table, name) in owned:
            qualified, definition = owned[table, name]
            quoted = qualified.replace("'", "''")
            if default == f"nextval('{quoted}'::regclass)":
                kind, default = "serial", None
            if kind:
                sequence_name, sequence = qualified, definition
        yield Column(
            table,
            name,
            type_,
            not not_null,
            default,
            kind,
            expression if generated else None,
            generated == "v",
            collation,
            not_null_name is None,
            sequence,
            sequence_name,
            not_null_name,
        )


def constraints(rows: Rows) -> Iterator[Fact]:
    names = {(row[0], row[1]): row[3] for row in rows["columns"]}

    def named(relation: int, numbers: list[int]) -> tuple[str, ...]:
        # A table of another schema is not among those that were read.
        return tuple(names.get((relation, number), f"column {number}") for number in numbers)

    for (
        table,
        kind,
        name,
        deferrable,
        deferred,
        valid,
        enforced,
        no_inherit,
        expression,
        target,
        on_delete,
        on_update,
        match,
        relation,
        target_relation,
        columns,
        target_columns,
        delete_columns,
    ) in rows["constraints"]:
        if kind == "n":
            # Told with its column.
            continue
        if kind != "f":
            # An exclusion constraint is never inherited, which says nothing about this one. What
            # is not enforced is never valid; it is told once.
            valid = valid or not enforced
            yield Check(table, expression, valid, enforced, no_inherit and kind == "c", name)
            continue
        yield ForeignKey(
            table,
            named(relation, columns),
            _within_public(target),
            named(target_relation, target_columns),
            ACTIONS[on_delete]
            + (
                f" ({', '.join(sorted(named(relation, delete_columns)))})" if delete_columns else ""
            ),
            ACTIONS[on_update],
            MATCHES[match],
            _deferrable(deferrable, deferred),
            valid or not enforced,
            enforced,
            name,
        )


def indexes(rows: Rows) -> Iterator[Fact]:
    for (
        table,
        name,
        statement,
        unique,
        primary,
        valid,
        constraint,
        deferrable,
        deferred,
        _replica_identity,
    ) in rows["indexes"]:
        definition = statement.partition(" USING ")[2]
        if unique:
            yield Key(
                table,
                definition,
                primary,
                valid,
                _deferrable(deferrable, deferred),
                constraint is not None,
                name,
            )
        elif constraint != "x":
            yield Index(table, definition, valid, name)


def triggers(rows: Rows) -> Iterator[Fact]:
    for (
        table,
        name,
        internal,
        enabled,
        constraint,
        definition,
        constraint_name,
        function,
    ) in rows["triggers"]:
        if internal:
            yield DisabledTrigger(table, constraint_name, function, ENABLED[enabled], name)
        else:
            yield Trigger(table, name, definition, ENABLED[enabled], constraint)
    for table, name, text, enabled in rows["rules"]:
        yield Rule(table, name, _squeezed(text), ENABLED[enabled])
    for table, name, command, permissive, roles, using, check in rows["policies"]:
        definition = (
            f"AS {'PERMISSIVE' if permissive else 'RESTRICTIVE'} FOR {COMMANDS[command]} "
            f"TO {', '.join(roles)}"
        )
        definition += f" USING ({using})" if using else ""
        definition += f" WITH CHECK ({check})" if check else ""
        yield Policy(table, name, definition)


def grants(rows: Rows, usual: Usual) -> Iterator[Fact]:
    found: dict[tuple[str, str, str], tuple[set[str], set[str]]] = {}
    for table, on, column, actual, usually in _lists(rows):
        has, had = _privileges(actual, column), _privileges(usually, column)
        for is_revoked, entries in ((False, has - had), (True, had - has)):
            for role, privilege in entries:
                key = (table, on, usual[role])
                found.setdefault(key, (set(), set()))[is_revoked].add(privilege)
    for creator, kind, role, privilege in rows["default_privileges"]:
        on = f"new {OBJECT_TYPES[kind]} of {usual[creator] or 'the owner'}"
        found.setdefault(("", on, usual[role]), (set(), set()))[False].add(privilege)
    for (table, on, role), (granted, revoked) in found.items():
        yield Grants(table, on, role, tuple(sorted(granted)), tuple(sorted(revoked)))


def _lists(rows: Rows) -> Iterator[tuple[str, str, str, list[str], list[str]]]:
    """Access control lists that somebody has changed: table, what, column, now, at its creation."""
    for _, name, *_, now, before, _ in rows["relations"]:
        if now is not None:
            yield name, f"TABLE public.{quoted(name)}", "", now, before
    for _, _, table, column, *_, now in rows["columns"]:
        if now is not None:
            yield table, f"TABLE public.{quoted(table)}", f" ({quoted(column)})", now, []
    for _, name, table, *_, now, before, _ in rows["sequences"]:
        if now is not None:
            yield table or "", f"SEQUENCE public.{quoted(name)}", "", now, before
    for _, name, arguments, kind, *_, now, before, _ in rows["functions"]:
        if now is not None:
            word = "PROCEDURE" if kind == "p" else "FUNCTION"
            yield "", f"{word} public.{quoted(name)}({arguments})", "", now, before
    for _, name, _, now, before, _ in rows["types"]:
        if now is not None:
            yield "", f"TYPE public.{quoted(name)}", "", now, before
    for _, name, _, _, now, before in rows["schemas"]:
        if name == "public":
            # The server gives it USAGE for everybody, which acldefault() does not know. A schema
            # public that somebody has made again has no list, and only its owner's rights.
            yield "", "SCHEMA public", "", before if now is None else now, [*before, "=U/"]


def quoted(word: str) -> str:
    """An identifier as GRANT takes it, in quotes where it needs them."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", word):
        return word
    return '"' + word.replace('"', '""') + '"'


def _privileges(entries: list[str], column: str) -> set[tuple[str, str]]:
    """Who may do what, from the text of an access control list: ``role=arw*/grantor``."""
    privileges = set()
    for entry in entries:
        match = _ACL.match(entry)
        if match is None:
            raise ValueError(f"an access control entry of another form: {entry!r}")
        role = (match[1] or "").replace('""', '"') or match[2] or "PUBLIC"
        for letter, option in _LETTER.findall(match[3]):
            word = PRIVILEGES.get(letter, letter) + column
            privileges.add((role, f"{word} WITH GRANT OPTION" if option else word))
    return privileges


def _within_public(relation: str) -> str:
    """The bare name of a relation of schema public, as its own facts have it.

    Any other stays as the server quotes it, and so does a name with a dot, which would look like one.
    """
    quoted = relation.removeprefix("public.")
    bare = quoted[1:-1].replace('""', '"') if quoted.startswith('"') else quoted
    return relation if quoted == relation or "." in bare else bare


def _deferrable(deferrable: bool, deferred: bool) -> str:
    if not deferrable:
        return "NOT DEFERRABLE"
    return "DEFERRABLE INITIALLY " + ("DEFERRED" if deferred else "IMMEDIATE")


def _squeezed(text: str) -> str:
    return " ".join(text.split()).removesuffix(";")


UTC = frozenset({"UTC", "ETC/UTC", "UCT", "ETC/UCT", "UNIVERSAL", "ETC/UNIVERSAL", "ZULU"})
RELATION_TYPES = {
    "r": "table",
    "p": "partitioned table",
    "f": "foreign table",
    "v": "view",
    "m": "materialized view",
}
PERSISTENCE = {"p": "permanent", "u": "unlogged", "t": "temporary"}
REPLICA_IDENTITY = {"d": "default", "n": "nothing", "f": "full", "i": "index"}
ACTIONS = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
}
MATCHES = {"s": "SIMPLE", "f": "FULL", "p": "PARTIAL"}
ENABLED = {"O": "enabled", "D": "disabled", "R": "on replicas only", "A": "always"}
IDENTITY = {"": None, "a": "always", "d": "by default"}
VOLATILITY = {"i": "immutable", "s": "stable", "v": "volatile"}
PARALLEL = {"u": "unsafe", "r": "restricted", "s": "safe"}
COMMANDS = {"*": "ALL", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}
PRIVILEGES = {
    "r": "SELECT",
    "a": "INSERT",
    "w": "UPDATE",
    "d": "DELETE",
    "D": "TRUNCATE",
    "x": "REFERENCES",
    "t": "TRIGGER",
    "m": "MAINTAIN",
    "X": "EXECUTE",
    "U": "USAGE",
    "C": "CREATE",
}
_ACL = re.compile(r'^(?:"((?:[^"]|"")*)"|([^"=]*))=([a-zA-Z*]*)/')
_LETTER = re.compile(r"([a-zA-Z])(\*?)")
OBJECT_TYPES = {"r": "tables", "S": "sequences", "f": "functions", "T": "types", "n": "schemas"}
