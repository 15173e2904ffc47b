"""Read what a live database holds from pg_catalog, in one pipelined round trip.

PostgreSQL 15 to 18 give the same facts for the same schema.
"""

from __future__ import annotations

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
    rows: Rows = {}
    with psycopg.Cursor(raw) as cursor, _left_clean(raw, nested):
        with raw.pipeline():
            cursor.execute(
                "SAVEPOINT read_catalog"
                if nested
                else "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
            )
            # An empty search_path makes the server print every name with its schema.
            cursor.execute(
                "SELECT set_config('search_path', '', true), set_config('lock_timeout', %s, true),"
                " set_config('statement_timeout', %s, true), set_config('jit', 'off', true)",
                [str(timeout or TIMEOUT)] * 2,
            )
            cursors = {
                name: psycopg.Cursor(raw).execute(query)
                for name, query in queries(raw.info.server_version // 10000).items()
            }
            cursor.execute("ROLLBACK TO SAVEPOINT read_catalog" if nested else "ROLLBACK")
        for name, answered in cursors.items():
            rows[name] = answered.fetchall()
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
    ((time_zone, database, database_owner, extension_objects),) = rows["surroundings"]
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
        *(Other("", *row) for row in rows["others"]),
    ]
    kept = [fact for fact in facts if fact.table not in tracking]
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
    for name, owner, tables in rows["schemas"]:
        if name not in TRACKING_SCHEMAS:
            yield Schema("", name, usual[owner], tables)
    for (name,) in rows["extensions"]:
        yield Extension("", name)


def _types_and_functions(rows: Rows, usual: _Usual) -> Iterator[Fact]:
    for name, definition, owner in rows["types"]:
        yield Type("", name, definition, usual[owner])
    for (
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
    for name, table, column, qualified, definition, owner in rows["sequences"]:
        if table is None:
            yield Sequence("", name, definition, usual[owner])
        else:
            owned[table, column] = (qualified, definition)
    for (
        table,
        name,
        type_,
        not_null,
        expression,
        identity,
        generated,
        collation,
        not_null_name,
    ) in rows["columns"]:
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
        columns,
        target_columns,
        delete_columns,
    ) in rows["constraints"]:
        if kind != "f":
            # An exclusion constraint is never inherited, which says nothing about this one. What
            # is not enforced is never valid; it is told once.
            valid = valid or not enforced
            yield Check(table, expression, valid, enforced, no_inherit and kind == "c", name)
            continue
        yield ForeignKey(
            table,
            tuple(columns),
            target.removeprefix("public."),
            tuple(target_columns),
            ACTIONS[on_delete] + (f" ({', '.join(delete_columns)})" if delete_columns else ""),
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
    # Before somebody changes its rights, every new database has these on schema public.
    built_in = {("PUBLIC", "USAGE", False)}
    for table, on, role, privilege, revoked in rows["grants"]:
        entry = found.setdefault((table, on, usual[role]), (set(), set()))
        entry[revoked].add(privilege)
    on_schema = {
        (role, privilege, revoked) for _, _, role, privilege, revoked in rows["schema_grants"]
    }
    for role, privilege, revoked in on_schema - built_in:
        found.setdefault(("", "SCHEMA public", usual[role]), (set(), set()))[revoked].add(privilege)
    has_public = any(name == "public" for name, *_ in rows["schemas"])
    if has_public and not built_in <= on_schema:
        found.setdefault(("", "SCHEMA public", "PUBLIC"), (set(), set()))[True].add("USAGE")
    for creator, kind, role, privilege in rows["default_privileges"]:
        on = f"new {OBJECT_TYPES[kind]} of {usual[creator] or 'the owner'}"
        found.setdefault(("", on, usual[role]), (set(), set()))[False].add(privilege)
    for (table, on, role), (granted, revoked) in found.items():
        yield Grants(table, on, role, tuple(sorted(granted)), tuple(sorted(revoked)))


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
OBJECT_TYPES = {"r": "tables", "S": "sequences", "f": "functions", "T": "types", "n": "schemas"}
