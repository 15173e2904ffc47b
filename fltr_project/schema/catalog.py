"""Read what a live database holds from pg_catalog, in one round trip.

PostgreSQL 15 to 18 give the same facts for the same schema.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from .facts import (
    KINDS,
    TRACKING_SCHEMAS,
    TRACKING_TABLES,
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
)
from .queries import queries

# Milliseconds a catalog query may take or wait; a catalog of 5,000 tables takes about a second.
TIMEOUT = 30_000
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
type Rows = dict[str, list[tuple[Any, ...]]]


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


def read_from(
    raw: psycopg.Connection[Any],
    contract_tables: Iterable[str] = (),
    timeout: int | None = None,
    nested: bool = False,
) -> Catalog:
    """Read the facts of schema ``public`` over a psycopg connection.

    One consistent snapshot, read-only, one round trip. ``contract_tables`` are compared even where
    a tracking program keeps them; ``timeout`` is in milliseconds, ``TIMEOUT`` by default. Raises
    psycopg.Error.
    """
    wanted = queries(raw.info.server_version // 10000)
    milliseconds = timeout or TIMEOUT
    statements = [
        "SAVEPOINT read_catalog"
        if nested
        else "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        # An empty search_path makes the server print every name with its schema.
        "SET LOCAL search_path = ''",
        f"SET LOCAL lock_timeout = {milliseconds:d}",
        f"SET LOCAL statement_timeout = {milliseconds:d}",
        *PRINTING,
        *list(wanted.values())[:-1],
        "SET LOCAL TimeZone TO DEFAULT",
        wanted["surroundings"],
        "ROLLBACK TO SAVEPOINT read_catalog" if nested else "ROLLBACK",
    ]
    rows: Rows = {}
    names = iter(wanted)
    with psycopg.Cursor(raw) as cursor, _left_clean(raw, nested):
        # One message of several statements: a pipeline costs a plan's description more for each.
        cursor.execute("; ".join(statements), prepare=False)
        more: bool | None = True
        while more:
            if cursor.description:
                rows[next(names)] = cursor.fetchall()
            more = cursor.nextset()
    return _catalog(rows, TRACKING_TABLES - frozenset(contract_tables))


@contextmanager
def _left_clean(raw: psycopg.Connection[Any], nested: bool) -> Iterator[None]:
    """End the transaction that a failed query left open; an enclosing one is its owner's to end."""
    try:
        yield
    except psycopg.Error:
        if not nested and not raw.closed:
            raw.rollback()
        raise


def _catalog(rows: Rows, tracking: frozenset[str]) -> Catalog:
    ((*classes, time_zone, database, database_owner),) = rows["surroundings"]
    extension_objects, foreign = _without_extensions(rows, *classes)
    owner = _usual_owner(rows["relations"], database_owner)
    usual = _Usual(owner)
    facts = [
        Setting("", "TimeZone", "UTC" if time_zone.upper() in UTC else time_zone),
        *_schemas(rows, usual),
        *_types_and_functions(rows, usual),
        *_tables(rows, usual),
        *_columns(rows, usual),
        *_constraints(rows),
        *_indexes(rows),
        *_triggers(rows),
        *_grants(rows, usual),
        *(Other("", *words) for _, _, *words in rows["others"]),
    ]
    left_out = tracking | foreign
    kept = [fact for fact in facts if fact.table not in left_out]
    # Stable: within a kind the server's rows are put in the order of their identity.
    order = {kind: place for place, kind in enumerate(KINDS)}
    kept.sort(key=lambda fact: (order[type(fact)], fact.identity))
    return Catalog(
        facts=tuple(kept),
        tracking_tables=tuple(
            sorted(fact.table for fact in facts if type(fact) is Table and fact.table in tracking)
        ),
        extension_objects=extension_objects,
        owner=owner,
        database=database,
    )


def _without_extensions(
    rows: Rows, classes: int, functions: int, types: int, schemas: int
) -> tuple[int, frozenset[str]]:
    """Take what belongs to an extension out of the rows; how much it is, and which tables."""
    members = set(rows["extension_members"])
    if not rows["extensions"]:
        return 0, frozenset()
    for name, catalog in (
        ("functions", functions),
        ("types", types),
        ("schemas", schemas),
        ("sequences", classes),
    ):
        rows[name] = [row for row in rows[name] if (catalog, row[0]) not in members]
    rows["others"] = [row for row in rows["others"] if row[:2] not in members]
    tables = frozenset(row[1] for row in rows["relations"] if (classes, row[0]) in members)
    rows["relations"] = [row for row in rows["relations"] if row[1] not in tables]
    return len(members), tables


class _Usual(dict[str, str]):
    """Names of roles, where the one that owns most of the database is ""."""

    def __init__(self, owner: str) -> None:
        super().__init__({owner: "", "pg_database_owner": ""})

    def __missing__(self, role: str) -> str:
        return role


def _usual_owner(relations: list[tuple[Any, ...]], database_owner: str) -> str:
    owners = Counter(row[-1] for row in relations)
    most = max(owners.values(), default=0)
    return min(
        (owner for owner, count in owners.items() if count == most),
        key=lambda owner: (owner != database_owner, owner),
        default=database_owner,
    )


def _schemas(rows: Rows, usual: _Usual) -> Iterator[Fact]:
    for _, name, owner, tables, *_ in rows["schemas"]:
        if name not in TRACKING_SCHEMAS:
            yield Schema("", name, usual[owner], tables)
    for (name,) in rows["extensions"]:
        yield Extension("", name)


def _types_and_functions(rows: Rows, usual: _Usual) -> Iterator[Fact]:
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


def _tables(rows: Rows, usual: _Usual) -> Iterator[Fact]:
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


def _columns(rows: Rows, usual: _Usual) -> Iterator[Fact]:
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


def _constraints(rows: Rows) -> Iterator[Fact]:
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
            target.removeprefix("public."),
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


def _indexes(rows: Rows) -> Iterator[Fact]:
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


def _triggers(rows: Rows) -> Iterator[Fact]:
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


def _grants(rows: Rows, usual: _Usual) -> Iterator[Fact]:
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
            # The server gives it USAGE for everybody, which acldefault() does not know.
            yield "", "SCHEMA public", "", now or [], [*before, "=U/"]


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
