"""What schema ``public`` is and what hangs on it, as lines of text that are equal or are not.

For a restore, which is compared while nobody else sees it; pg_dump, which the proof compares with, could
not either. Rows and sequences are in ``digests``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from fltr_project.catalog.facts import Grants, Schema, Setting
from fltr_project.catalog.read import read as read_catalog
from fltr_project.postgres.search_path import pinned
from fltr_project.rebuild import schema_properties
from fltr_project.rebuild.schema_properties import SCHEMA

from . import wording

Fingerprint = dict[str, list[str]]
RIGHTS = "owners and grants"
# What names a role: the owner of a fact, whom a policy is for, and of the schema itself.
NAMES_A_ROLE = re.compile(
    r"owner='(?:[^']|\\')*'"
    r"|(?<= FOR )(?P<command>[A-Z]+) TO .*?(?= USING \(| WITH CHECK \(|['\"]\)$)"
)
OF_THE_SCHEMA = ("owner ", "grants ", "default Grant(")


def read(connection: BaseDatabaseWrapper) -> Fingerprint:
    """The fingerprint of schema ``public`` and of what hangs on it, without the rows. Read-only.

    Must be called in a transaction, whose snapshot it shows.
    """
    with pinned(connection) as cursor:
        cursor.execute("SAVEPOINT fingerprint")
        cursor.execute(AS_PG_DUMP_READS)
        found = {name: _lines(cursor, query) for name, query in QUERIES.items()}
        found["schema"] = _schema(cursor)
        cursor.execute("ROLLBACK TO SAVEPOINT fingerprint")
    found["catalog"] = [
        repr(fact)
        for fact in read_catalog(connection, OWN_TABLES).facts
        # Other schemas come and go, settings belong to the database, and grants are read here in
        # a spelling that does not depend on whether a default is spelled out.
        if not isinstance(fact, Schema | Setting | Grants)
    ]
    return found


def difference(
    expected: Mapping[str, Sequence[str]],
    found: Mapping[str, Sequence[str]],
    *,
    owners: bool = True,
) -> str | None:
    """The first thing that differs, in words; None when the fingerprints are equal. Pure.

    Definitions are equal that only a server's way of printing tells apart. Without ``owners`` nothing
    is said of owners and grants.
    """
    for section in sorted({*expected, *found}):
        want, have = (_by_wording(each.get(section, ()), owners) for each in (expected, found))
        if not owners and section == RIGHTS:
            continue
        if missing := sorted(want.keys() - have.keys()):
            return f"{section}: {want[missing[0]]} is missing or differs"
        if extra := sorted(have.keys() - want.keys()):
            return f"{section}: {have[extra[0]]} is there and was not in the backup"
    return None


def _by_wording(lines: Sequence[str], owners: bool) -> dict[str, str]:
    """The lines by what they say."""
    kept = (line for line in lines if owners or not line.startswith(OF_THE_SCHEMA))
    return {
        wording.reduced(line if owners else NAMES_A_ROLE.sub(r"\g<command>", line)): line
        for line in kept
    }


def _lines(cursor: CursorWrapper, query: str) -> list[str]:
    cursor.execute(query, [])
    return [line for (line,) in cursor.fetchall()]


def _schema(cursor: CursorWrapper) -> list[str]:
    found = schema_properties.properties(cursor, SCHEMA)
    if found is None:
        return []
    published = schema_properties.published(cursor, SCHEMA)
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
            for name, call in schema_properties.event_triggers(cursor, SCHEMA)
        ),
    ]


# Names come with their schema, and no text depends on the role's or the database's settings.
AS_PG_DUMP_READS = """
    SET LOCAL search_path = '';
    SET LOCAL TimeZone = 'UTC';
    SET LOCAL DateStyle = 'ISO';
    SET LOCAL IntervalStyle = 'postgres';
    SET LOCAL extra_float_digits = 3;
    SET LOCAL bytea_output = 'hex'
"""

# Tracking tables are compared as any other: a backup must bring them back too.
OWN_TABLES = ("django_migrations", "__drizzle_migrations", "alembic_version")

COPIED_COLUMNS = """
    SELECT coalesce(array_agg(attname::text ORDER BY attnum), '{}') FROM pg_attribute
    WHERE attrelid = format('%%I.%%I', %s::text, %s::text)::regclass AND attnum > 0
      AND NOT attisdropped AND attgenerated = ''
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
    RIGHTS: (
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
        f" WHERE c.relnamespace = {IN_PUBLIC} AND cardinality(a.attacl) > 0"
        " UNION ALL SELECT format('large object %%s of %%s, acl %%s', m.oid, pg_get_userbyid(m.lomowner),"
        f" {ACL.format('m.lomacl', "'L'", 'm.lomowner')}) FROM pg_largeobject_metadata m ORDER BY 1"
    ),
    "comments": (
        "SELECT format('%%s %%s: %%s', i.type, i.identity, d.description) FROM pg_description d,"
        " pg_identify_object(d.classoid, d.objoid, d.objsubid) i"
        # Below are the server's own objects, five thousand of them with a comment (FirstNormalObjectId).
        " WHERE d.objoid >= 16384 AND (i.schema = 'public'"
        " OR i.type IN ('table column', 'trigger', 'table constraint') AND i.identity LIKE '%%public.%%')"
        " ORDER BY 1"
    ),
    "extensions": "SELECT format('%%s in %%s', extname, extnamespace::regnamespace)"
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
}
