"""What the views, policies and statistics of others refer to, and which of them that breaks."""

from __future__ import annotations

from django.db.backends.utils import CursorWrapper

from fltr_project.catalog.facts import TRACKING_TABLES, Catalog, Column, Function, Type


def broken(
    cursor: CursorWrapper, expected: Catalog, views: tuple[str, ...]
) -> dict[tuple[str, tuple[str, ...]], str]:
    """The views, policies and statistics that refer to what does not come back, with the first of that."""
    tables = {*expected.tables, *TRACKING_TABLES}
    columns = {(each.table, each.name) for each in expected.of(Column)}
    functions = {(each.name, each.arguments) for each in expected.of(Function)}
    types = {each.name for each in expected.of(Type)}
    cursor.execute(REFERENCES, [list(views)])
    references = [
        (type_, tuple(name), what, tuple(of)) for type_, name, what, of in cursor.fetchall()
    ]
    found: dict[tuple[str, tuple[str, ...]], str] = {}

    def returns(what: str, of: tuple[str, ...]) -> bool:
        if what == "function":
            return of in functions
        if what == "type":
            return of[0] in types
        if of[0] in views:
            return ("VIEW", of[:1]) not in found
        is_whole = of[0] in tables and (
            len(of) == 1 or of[0] in TRACKING_TABLES - set(expected.tables)
        )
        return is_whole or of in columns

    while True:
        more = {
            (type_, name): f"{what} {'.'.join(of)}"
            for type_, name, what, of in references
            if (type_, name) not in found and not returns(what, of)
        }
        if not more:
            return found
        found |= more


# What the views, policies and statistics refer to in the schema; extensions stay.
REFERENCES = """
    WITH schema AS (SELECT oid FROM pg_namespace WHERE nspname = 'public'),
    referring AS (
        SELECT 'VIEW' AS type, ARRAY[c.relname::text] AS name, 'pg_rewrite'::regclass AS catalog,
               w.oid, c.oid AS own
        FROM pg_class c JOIN pg_rewrite w ON w.ev_class = c.oid, schema
        WHERE c.relnamespace = schema.oid AND c.relname = ANY (%s::text[])
        UNION ALL
        SELECT 'POLICY', ARRAY[c.relname::text, p.polname::text], 'pg_policy'::regclass, p.oid, 0
        FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid, schema
        WHERE c.relnamespace = schema.oid
        UNION ALL
        SELECT 'STATISTICS', ARRAY[x.stxname::text], 'pg_statistic_ext'::regclass, x.oid, 0
        FROM pg_class c JOIN pg_statistic_ext x ON x.stxrelid = c.oid, schema
        WHERE c.relnamespace = schema.oid
    ),
    edges AS (
        SELECT r.type, r.name, d.refclassid, d.refobjid, d.refobjsubid
        FROM referring r JOIN pg_depend d ON d.classid = r.catalog AND d.objid = r.oid
        WHERE d.refobjid <> r.own AND NOT EXISTS (
            SELECT FROM pg_depend e WHERE e.classid = d.refclassid AND e.objid = d.refobjid
            AND e.deptype = 'e')
    )
    SELECT e.type, e.name, CASE WHEN a.attname IS NULL THEN 'table' ELSE 'column' END,
           array_remove(ARRAY[c.relname::text, a.attname::text], NULL)
    FROM edges e JOIN pg_class c ON e.refclassid = 'pg_class'::regclass AND c.oid = e.refobjid
    JOIN schema ON c.relnamespace = schema.oid
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = nullif(e.refobjsubid, 0)
    UNION
    SELECT e.type, e.name, 'function',
           ARRAY[p.proname::text, pg_get_function_identity_arguments(p.oid)]
    FROM edges e JOIN pg_proc p ON e.refclassid = 'pg_proc'::regclass AND p.oid = e.refobjid
    JOIN schema ON p.pronamespace = schema.oid
    UNION
    SELECT e.type, e.name, CASE WHEN t.typrelid <> 0 THEN 'table' ELSE 'type' END,
           ARRAY[coalesce(b.typname, t.typname)::text]
    FROM edges e JOIN pg_type t ON e.refclassid = 'pg_type'::regclass AND t.oid = e.refobjid
    JOIN schema ON t.typnamespace = schema.oid
    LEFT JOIN pg_type b ON b.typarray = t.oid
"""
