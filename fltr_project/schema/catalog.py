"""Read what a live database holds from pg_catalog, in one pipelined round trip.

PostgreSQL 15 to 18 give the same facts for the same schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from .facts import (
    KINDS,
    TRACKING_TABLES,
    Catalog,
    Check,
    Column,
    DisabledForeignKeyTriggers,
    Fact,
    ForeignKey,
    Function,
    Index,
    Key,
    Policy,
    Rule,
    Sequence,
    Table,
    Trigger,
    Type,
)

# Milliseconds a catalog query may take or wait; a catalog of 5,000 tables takes about a second.
TIMEOUT = 30_000


def read(connection: BaseDatabaseWrapper, contract_tables: Iterable[str] = ()) -> Catalog:
    """Read the facts of schema ``public``; needs no right but CONNECT.

    One consistent snapshot, read-only, one round trip. Inside a transaction it sees what that has
    done, and leaves it as it was. ``contract_tables`` are compared even where a tracking program
    keeps them. Raises django.db.Error when the server cannot answer.
    """
    raw: psycopg.Connection[Any] = connection.connection
    nested = connection.in_atomic_block
    with connection.wrap_database_errors, psycopg.Cursor(raw) as cursor, _left_clean(raw, nested):
        with raw.pipeline():
            cursor.execute(
                "SAVEPOINT read_catalog"
                if nested
                else "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
            )
            # An empty search_path makes the server print every name with its schema.
            cursor.execute(
                "SELECT set_config('search_path', '', true), set_config('lock_timeout', %s, true),"
                " set_config('statement_timeout', %s, true)",
                [str(TIMEOUT), str(TIMEOUT)],
            )
            cursors = [
                psycopg.Cursor(raw).execute(query)
                for query in _queries(raw.info.server_version // 10000)
            ]
            cursor.execute("ROLLBACK TO SAVEPOINT read_catalog" if nested else "ROLLBACK")
        rows = [each.fetchall() for each in cursors]
    tracking = TRACKING_TABLES - frozenset(contract_tables)
    facts, other_schemas, time_zone = _facts(rows)
    return Catalog(
        facts=tuple(sorted(_without(facts, tracking), key=_sort_key)),
        tracking_tables=tuple(
            sorted(fact.table for fact in facts if type(fact) is Table and fact.table in tracking)
        ),
        other_schemas=other_schemas,
        time_zone=time_zone,
    )


@contextmanager
def _left_clean(raw: psycopg.Connection[Any], nested: bool) -> Iterator[None]:
    """End the transaction that a failed query left open; an enclosing one is its owner's to end."""
    try:
        yield
    except psycopg.Error:
        if not nested and not raw.closed:
            raw.rollback()
        raise


def _without(facts: list[Fact], tracking: frozenset[str]) -> Iterator[Fact]:
    return (fact for fact in facts if fact.table not in tracking)


def _sort_key(fact: Fact) -> tuple[Any, ...]:
    return (KINDS.index(type(fact)), fact.identity, repr(fact))


def _queries(major: int) -> tuple[str, ...]:
    enforced = "con.conenforced" if major >= 18 else "true"
    return (
        f"""
        SELECT c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.relreplident,
               array(SELECT i.inhparent::regclass::text FROM pg_inherits i
                     WHERE i.inhrelid = c.oid ORDER BY i.inhseqno),
               CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
        FROM pg_class c {IN_PUBLIC.format("c.relnamespace")}
          AND c.relkind IN ('r', 'p', 'f', 'v', 'm') {NOT_OF_EXTENSION.format("c")}
        """,
        f"""
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated,
               CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        {IN_PUBLIC.format("c.relnamespace")}
          AND c.relkind IN ('r', 'p', 'f') {NOT_OF_EXTENSION.format("c")}
        """,
        f"""
        SELECT c.relname, con.contype, con.conname, con.condeferrable, con.condeferred,
               con.convalidated, {enforced}, pg_get_expr(con.conbin, con.conrelid),
               con.confrelid::regclass::text, con.confdeltype, con.confupdtype, con.confmatchtype,
               CASE WHEN con.contype IN ('f', 'x') THEN array(
                   SELECT a.attname::text FROM unnest(con.conkey) WITH ORDINALITY k (number, place)
                   JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.number
                   ORDER BY k.place) END,
               CASE WHEN con.contype = 'f' THEN array(
                   SELECT a.attname::text FROM unnest(con.confkey) WITH ORDINALITY k (number, place)
                   JOIN pg_attribute a ON a.attrelid = con.confrelid AND a.attnum = k.number
                   ORDER BY k.place) END,
               array(SELECT a.attname::text FROM unnest(con.confdelsetcols) AS k (number)
                     JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.number
                     ORDER BY a.attname),
               CASE WHEN con.contype = 'x' THEN pg_get_constraintdef(con.oid) END
        FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid
        {IN_PUBLIC.format("c.relnamespace")}
          AND con.contype IN ('c', 'f', 'x') {NOT_OF_EXTENSION.format("c")}
        """,
        f"""
        SELECT c.relname, i.relname,
               substring(pg_get_indexdef(x.indexrelid) FROM ' USING (.*)$'),
               x.indisunique, x.indisprimary, x.indisvalid AND x.indisready,
               coalesce(con.condeferrable, false), con.contype IS NOT DISTINCT FROM 'x'
        FROM pg_index x
        JOIN pg_class c ON c.oid = x.indrelid
        JOIN pg_class i ON i.oid = x.indexrelid
        LEFT JOIN pg_constraint con ON con.conindid = x.indexrelid AND con.contype IN ('p', 'u', 'x')
        {IN_PUBLIC.format("c.relnamespace")} {NOT_OF_EXTENSION.format("c")}
        """,
        f"""
        SELECT c.relname, t.tgname, t.tgisinternal, t.tgenabled,
               substring(pg_get_triggerdef(t.oid) FROM '( (?:BEFORE|AFTER|INSTEAD OF) .*)$')
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        {IN_PUBLIC.format("c.relnamespace")}
          AND (NOT t.tgisinternal OR t.tgenabled <> 'O') {NOT_OF_EXTENSION.format("c")}
        """,
        f"""
        SELECT c.relname, r.rulename, pg_get_ruledef(r.oid)
        FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
        {IN_PUBLIC.format("c.relnamespace")}
          AND r.rulename <> '_RETURN' {NOT_OF_EXTENSION.format("c")}
        """,
        f"""
        SELECT c.relname, p.polname, p.polcmd, p.polpermissive,
               array(SELECT coalesce(r.rolname::text, 'public') FROM unnest(p.polroles) AS k (role)
                     LEFT JOIN pg_roles r ON r.oid = k.role ORDER BY 1),
               pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
        FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        {IN_PUBLIC.format("c.relnamespace")} {NOT_OF_EXTENSION.format("c")}
        """,
        f"""
        SELECT p.proname, pg_get_function_identity_arguments(p.oid),
               coalesce(pg_get_function_result(p.oid), ''), l.lanname,
               coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), p.prosecdef,
               coalesce(p.proconfig, '{{}}'), p.provolatile, p.proisstrict
        FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        {IN_PUBLIC.format("p.pronamespace")}
          AND p.prokind IN ('f', 'p') {NOT_OF_EXTENSION.format("p")}
        """,
        f"""
        SELECT c.relname FROM pg_class c {IN_PUBLIC.format("c.relnamespace")}
          AND c.relkind = 'S' {NOT_OF_EXTENSION.format("c")}
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                          AND d.objid = c.oid AND d.deptype IN ('a', 'i'))
        """,
        f"""
        SELECT t.typname, t.typtype,
               CASE t.typtype
                   WHEN 'e' THEN (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder)
                                  FROM pg_enum e WHERE e.enumtypid = t.oid)
                   WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
                   ELSE '' END
        FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
        {IN_PUBLIC.format("t.typnamespace")} {NOT_OF_EXTENSION.format("t")}
          AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
        """,
        r"""
        SELECT n.nspname FROM pg_namespace n
        WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'public')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.deptype = 'e'
                          AND d.classid = 'pg_namespace'::regclass AND d.objid = n.oid)
        ORDER BY 1
        """,
        "SELECT coalesce((SELECT split_part(setting, '=', 2)"
        " FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase,"
        " unnest(s.setconfig) AS setting WHERE d.datname = current_database() AND s.setrole = 0"
        " AND lower(setting) LIKE 'timezone=%'), '')",
    )


IN_PUBLIC = "WHERE {} = (SELECT oid FROM pg_namespace WHERE nspname = 'public')"
NOT_OF_EXTENSION = (
    "AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = {0}.tableoid"
    " AND e.objid = {0}.oid AND e.deptype = 'e')"
)

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
TYPE_TYPES = {"e": "enum", "d": "domain of", "r": "range", "c": "composite"}


def _facts(rows: list[list[Any]]) -> tuple[list[Fact], tuple[str, ...], str]:
    """The queries' rows as facts, in the order of ``_queries``."""
    (
        relations,
        columns,
        constraints,
        indexes,
        triggers,
        rules,
        policies,
        functions,
        sequences,
        types,
        schemas,
        time_zone,
    ) = rows
    facts: list[Fact] = [
        Table(
            table=name,
            type=RELATION_TYPES[kind],
            persistence=PERSISTENCE[persistence],
            row_security=row_security,
            replica_identity=REPLICA_IDENTITY[replica_identity],
            inherits=tuple(parents),
            definition=definition and _squeezed(definition),
        )
        for name, kind, persistence, row_security, replica_identity, parents, definition in relations
    ]
    for table, name, type_, not_null, expression, identity, generated, collation in columns:
        facts.append(
            Column(
                table=table,
                name=name,
                type=type_,
                nullable=not not_null,
                default=None if generated else expression,
                identity_kind=IDENTITY[identity],
                generated=expression if generated else None,
                collation=collation,
            )
        )
    facts += [_constraint(*row) for row in constraints]
    for table, name, definition, unique, primary, valid, deferrable, exclusion in indexes:
        if unique:
            facts.append(
                Key(
                    table=table,
                    definition=definition,
                    primary=primary,
                    valid=valid,
                    deferrable=deferrable,
                    name=name,
                )
            )
        elif not exclusion:
            facts.append(Index(table=table, definition=definition, valid=valid, name=name))
    enforcement_off = {table for table, _, internal, _, _ in triggers if internal}
    facts += [DisabledForeignKeyTriggers(table=table) for table in enforcement_off]
    facts += [
        Trigger(table=table, name=name, definition=definition.strip(), enabled=ENABLED[enabled])
        for table, name, internal, enabled, definition in triggers
        if not internal
    ]
    facts += [
        Rule(table=table, name=name, definition=_squeezed(text)) for table, name, text in rules
    ]
    for table, name, command, permissive, roles, using, check in policies:
        kind = "permissive" if permissive else "restrictive"
        definition = f"{kind} for {command} to {', '.join(roles)} using {using} check {check}"
        facts.append(Policy(table=table, name=name, definition=definition))
    for (
        name,
        arguments,
        returns,
        language,
        body,
        security_definer,
        settings,
        volatility,
        strict,
    ) in functions:
        facts.append(
            Function(
                table="",
                name=name,
                arguments=arguments,
                returns=returns,
                language=language,
                body=body.strip(),
                security_definer=security_definer,
                settings=tuple(sorted(settings)),
                volatility=VOLATILITY[volatility],
                strict=strict,
            )
        )
    facts += [Sequence(table="", name=name) for (name,) in sequences]
    facts += [
        Type(table="", name=name, definition=f"{TYPE_TYPES[kind]} {definition}".strip())
        for name, kind, definition in types
    ]
    return facts, tuple(name for (name,) in schemas), time_zone[0][0]


def _constraint(
    table: str,
    kind: str,
    name: str,
    deferrable: bool,
    deferred: bool,
    valid: bool,
    enforced: bool,
    expression: str,
    target: str,
    on_delete: str,
    on_update: str,
    match: str,
    columns: list[str],
    target_columns: list[str],
    delete_columns: list[str],
    definition: str,
) -> Fact:
    if kind != "f":
        # An exclusion constraint refuses rows as a check does, and its definition says which.
        return Check(
            table=table,
            expression=definition if kind == "x" else expression,
            valid=valid,
            enforced=enforced,
            name=name,
        )
    rule = ACTIONS[on_delete] + (f" ({', '.join(delete_columns)})" if delete_columns else "")
    return ForeignKey(
        table=table,
        columns=tuple(columns),
        target=target.removeprefix("public."),
        target_columns=tuple(target_columns),
        on_delete=rule,
        on_update=ACTIONS[on_update],
        match=MATCHES[match],
        deferrable=(
            "DEFERRABLE INITIALLY " + ("DEFERRED" if deferred else "IMMEDIATE")
            if deferrable
            else "NOT DEFERRABLE"
        ),
        valid=valid,
        enforced=enforced,
        name=name,
    )


def _squeezed(text: str) -> str:
    return " ".join(text.split())
