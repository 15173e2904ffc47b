"""Everything that a backup must bring back, as lines of text that are equal or are not.

Two databases with the same fingerprint have the same catalog, owners, grants, comments, rows,
sequences and large objects, whatever their servers' versions and the order of their rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from fltr_project.postgres.dump import Digest

from . import belongings, catalog
from .belongings import SCHEMA
from .facts import Grants, Schema, Setting

Fingerprint = dict[str, list[str]]


def read(connection: BaseDatabaseWrapper) -> Fingerprint:
    """The fingerprint of schema ``public`` and of what hangs on it, without the rows. Read-only.

    Must be called in a transaction, whose snapshot it shows.
    """
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT fingerprint")
        # As pg_dump does: names come with their schema, and text does not depend on the role.
        cursor.execute(
            "SELECT set_config('search_path', '', true), set_config('TimeZone', 'UTC', true),"
            " set_config('DateStyle', 'ISO', true), set_config('IntervalStyle', 'postgres', true),"
            " set_config('extra_float_digits', '3', true), set_config('bytea_output', 'hex', true)"
        )
        found = {name: _lines(cursor, query) for name, query in QUERIES.items()}
        found["schema"] = _schema(cursor)
        cursor.execute("ROLLBACK TO SAVEPOINT fingerprint")
    found["catalog"] = [
        repr(fact)
        for fact in catalog.read(connection, OWN_TABLES).facts
        # Other schemas come and go, settings belong to the database, and grants are read here in
        # a spelling that does not depend on whether a default is spelled out.
        if not isinstance(fact, Schema | Setting | Grants)
    ]
    return found


def rows(
    connection: BaseDatabaseWrapper, tables: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Digest]:
    """Count and hash the rows of these tables, each a schema and a name. Read-only.

    Must be called in a transaction.
    """
    digests = {}
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT rows")
        cursor.execute(
            "SELECT set_config('search_path', '', true), set_config('TimeZone', 'UTC', true),"
            " set_config('DateStyle', 'ISO', true), set_config('IntervalStyle', 'postgres', true),"
            " set_config('extra_float_digits', '3', true), set_config('bytea_output', 'hex', true)"
        )
        for table in tables:
            cursor.execute(COPIED_COLUMNS, table)
            (columns,) = cursor.fetchone()
            digests[table] = Digest()
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            statement = sql.SQL("COPY {} ({}) TO STDOUT").format(sql.Identifier(*table), names)
            if not columns:
                statement = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(*table))
            with cursor.copy(statement) as copy:
                for row in copy:
                    digests[table].add(bytes(row))
        cursor.execute("ROLLBACK TO SAVEPOINT rows")
    return digests


def sequences(connection: BaseDatabaseWrapper, names: Sequence[str]) -> dict[str, str]:
    """Where these sequences stand, as ``last_value is_called``. Read-only."""
    found = {}
    with connection.cursor() as cursor:
        for name in names:
            # The server's own quoted name.
            cursor.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(sql.SQL(name)))
            value, called = cursor.fetchone()
            found[name] = f"{value} {str(called).lower()}"
    return found


def tables(cursor: CursorWrapper) -> list[tuple[str, str]]:
    """The tables of ``public`` that hold rows. Read-only."""
    cursor.execute(
        "SELECT 'public', relname FROM pg_class WHERE relkind = 'r' AND relnamespace ="
        " (SELECT oid FROM pg_namespace WHERE nspname = 'public') ORDER BY 2"
    )
    return list(cursor.fetchall())


def difference(
    expected: Mapping[str, Sequence[str]], found: Mapping[str, Sequence[str]]
) -> str | None:
    """The first thing that differs, in words; None when the fingerprints are equal."""
    for section in sorted({*expected, *found}):
        want, have = set(expected.get(section, ())), set(found.get(section, ()))
        if missing := sorted(want - have):
            return f"{section}: {missing[0]} is missing or differs"
        if extra := sorted(have - want):
            return f"{section}: {extra[0]} is there and was not in the backup"
    return None


def _lines(cursor: CursorWrapper, query: str) -> list[str]:
    cursor.execute(query, [])
    return [line for (line,) in cursor.fetchall()]


def _schema(cursor: CursorWrapper) -> list[str]:
    found = belongings.properties(cursor, SCHEMA)
    if found is None:
        return []
    published = belongings.published(cursor, SCHEMA)
    grants = _lines(cursor, SCHEMA_GRANTS)
    return [
        f"owner {found.owner}",
        f"comment {found.comment!r}",
        f"grants {grants}",
        *sorted(f"default {grant!r}" for grant in found.default_privileges),
        *(f"publication {name} of the schema" for name in published.schema),
        *(f"publication {member!r}" for member in published.tables),
        *(
            f"event trigger {name} calls {call}"
            for name, call in belongings.event_triggers(cursor, SCHEMA)
        ),
    ]


# Tracking tables are compared as any other: a backup must bring them back too.
OWN_TABLES = ("django_migrations", "__drizzle_migrations", "alembic_version")

COPIED_COLUMNS = """
    SELECT coalesce(array_agg(attname::text ORDER BY attnum), '{}') FROM pg_attribute
    WHERE attrelid = format('%%I.%%I', %s, %s)::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""

IN_PUBLIC = "(SELECT oid FROM pg_namespace WHERE nspname = 'public')"
NOT_OF_EXTENSION = (
    " AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = {0}.tableoid"
    " AND e.objid = {0}.oid AND e.deptype = 'e')"
)
# No list at all is the same as PostgreSQL's default, spelled out or not: pg_dump leaves that out.
ACL = "array(SELECT unnest(coalesce({0}, acldefault({1}, {2})))::text ORDER BY 1)::text"

SCHEMA_GRANTS = (
    f"SELECT {ACL.format('nspacl', "'n'", 'nspowner')} FROM pg_namespace WHERE nspname = 'public'"
)

QUERIES = {
    "owners and grants": (
        "SELECT format('%%s %%s of %%s, acl %%s', c.relkind, c.relname, pg_get_userbyid(c.relowner),"
        f" {ACL.format('c.relacl', "CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\"", 'c.relowner')}) FROM pg_class c"
        f" WHERE c.relnamespace = {IN_PUBLIC} AND c.relkind <> 'i' AND c.relkind <> 'I'"
        f" AND c.relkind <> 'c' {NOT_OF_EXTENSION.format('c')}"
        " UNION ALL SELECT format('%%s of %%s, acl %%s', p.oid::regprocedure,"
        f" pg_get_userbyid(p.proowner), {ACL.format('p.proacl', "'f'", 'p.proowner')}) FROM pg_proc p"
        f" WHERE p.pronamespace = {IN_PUBLIC} {NOT_OF_EXTENSION.format('p')}"
        " UNION ALL SELECT format('type %%s of %%s, acl %%s', t.typname, pg_get_userbyid(t.typowner),"
        f" {ACL.format('t.typacl', "'T'", 't.typowner')}) FROM pg_type t"
        f" WHERE t.typnamespace = {IN_PUBLIC} AND t.typtype IN ('e', 'd', 'r')"
        f" {NOT_OF_EXTENSION.format('t')}"
        " UNION ALL SELECT format('column %%s.%%s, acl %%s', c.relname, a.attname,"
        f" {ACL.format('a.attacl', "'c'", 'c.relowner')}) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        f" WHERE c.relnamespace = {IN_PUBLIC} AND cardinality(a.attacl) > 0 ORDER BY 1"
    ),
    "comments": (
        "SELECT format('%%s %%s: %%s', i.type, i.identity, d.description) FROM pg_description d,"
        " pg_identify_object(d.classoid, d.objoid, d.objsubid) i WHERE i.schema = 'public'"
        " OR i.type IN ('table column', 'trigger', 'table constraint') AND i.identity LIKE '%%public.%%'"
        " ORDER BY 1"
    ),
    "extensions": "SELECT format('%%s %%s in %%s', extname, extversion, extnamespace::regnamespace)"
    " FROM pg_extension ORDER BY 1",
    "sequences": (
        "SELECT format('%%s %%s from %%s by %%s to %%s, minimum %%s, cache %%s, cycle %%s, owned by %%s',"
        " c.relname, s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache,"
        " s.seqcycle, (SELECT string_agg(format('%%s.%%s', d.refobjid::regclass, a.attname), ', ')"
        " FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
        " WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')))"
        f" FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid WHERE c.relnamespace = {IN_PUBLIC}"
        " ORDER BY 1"
    ),
    "large objects": (
        "SELECT format('%%s of %%s, acl %%s, %%s', m.oid, pg_get_userbyid(m.lomowner),"
        f" {ACL.format('m.lomacl', "'L'", 'm.lomowner')}, md5(lo_get(m.oid)))"
        " FROM pg_largeobject_metadata m ORDER BY 1"
    ),
}
