"""What people have hung on the objects of schema ``public``: rights, comments, policies, settings.

Migrations do not make any of it again, so a rebuild reads it before the old schema is set aside and puts it back
(``put_back``). Here it is read and written down, in a form that a schema's comment can keep.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.backends.utils import CursorWrapper

from fltr_project.catalog import contract
from fltr_project.catalog.facts import TRACKING_TABLES, Function, Type
from fltr_project.catalog.granting import MARK

# Begins a line of the comment of schema public, before the one of ``granting``.
KEPT = "put back: "

# Kinds, in the order in which they are put back.
VIEWS = "views"
OWNERS = "owners"
ROW_SECURITY = "row security"
POLICIES = "policies"
STATISTICS = "statistics"
STORAGE = "storage settings"
REPLICA_IDENTITY = "replica identities"
COMMENTS = "comments"
GRANTS = "grants"
KINDS = (
    VIEWS,
    OWNERS,
    ROW_SECURITY,
    POLICIES,
    STATISTICS,
    STORAGE,
    REPLICA_IDENTITY,
    COMMENTS,
    GRANTS,
)
# What things may hang on.
TYPES = frozenset(
    {
        *("TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "COLUMN", "INDEX"),
        *("CONSTRAINT", "TRIGGER", "POLICY", "RULE", "STATISTICS", "ROUTINE", "TYPE"),
    }
)

type Object = tuple[str, tuple[str, ...], str]


@dataclass(frozen=True)
class Attachment:
    """One thing that hangs on an object, or, of a view, the view itself."""

    kind: str
    # What it hangs on: TABLE, COLUMN, ROUTINE and so on, as COMMENT ON has it.
    type: str
    # Without the schema; of what belongs to a table, that first.
    name: tuple[str, ...]
    # Of a function, as the server prints them.
    arguments: str
    value: Any = field(hash=False)

    @property
    def on(self) -> Object:
        return self.type, self.name, self.arguments

    @property
    def object(self) -> str:
        """What it hangs on, for people."""
        name = ".".join(self.name)
        return (
            f"{self.type.lower()} {name}{f'({self.arguments})' if self.type == 'ROUTINE' else ''}"
        )


@dataclass(frozen=True)
class Found:
    """The objects that are there, with their type, name and arguments, and what hangs on them."""

    objects: frozenset[Object]
    attachments: tuple[Attachment, ...]

    def of(self, kind: str) -> dict[Object, Attachment]:
        return {each.on: each for each in self.attachments if each.kind == kind}


@dataclass(frozen=True)
class Names:
    """The tables, views, functions and types whose attachments are wanted."""

    tables: tuple[str, ...]
    functions: tuple[str, ...]
    types: tuple[str, ...]


def of_contract(alias: str, views: Iterable[str] = ()) -> Names:
    """What the migrations of ``alias`` make, and these views besides; touches no database."""
    expected = contract.load(alias)
    return Names(
        tables=tuple(sorted({*contract.tables(alias), *TRACKING_TABLES, *views})),
        functions=tuple(sorted({each.name for each in expected.of(Function)})),
        types=tuple(sorted({each.name for each in expected.of(Type)})),
    )


def read(cursor: CursorWrapper, names: Names) -> Found:
    """What there is of these objects in schema ``public``, and what hangs on it. Read-only; within ``pinned``."""
    cursor.execute(QUERY, [list(names.tables), list(names.functions), list(names.types)])
    rows = [
        Attachment(kind, type_, tuple(name), arguments or "", json.loads(value or "null"))
        for kind, type_, name, arguments, value in cursor.fetchall()
    ]
    return Found(
        frozenset(each.on for each in rows), tuple(each for each in rows if each.value is not None)
    )


def with_kept(comment: str | None, attachments: Sequence[Attachment]) -> str | None:
    """The comment of a schema with these written down in it, in place of what it kept before. Pure."""
    lines = [line for line in (comment or "").split("\n") if not line.startswith(KEPT)]
    if attachments:
        document = [
            [each.kind, each.type, list(each.name), each.arguments, each.value]
            for each in attachments
        ]
        at = len(lines) - 1 if lines[-1].startswith(MARK) else len(lines)
        lines.insert(at, f"{KEPT}{json.dumps(document)}")
    text = "\n".join(lines).lstrip("\n")
    return text or None


def kept(comment: str | None) -> tuple[Attachment, ...]:
    """What ``with_kept`` has written down; empty where nothing or something else stands there. Pure."""
    for line in (comment or "").split("\n"):
        if line.startswith(KEPT):
            try:
                return tuple(
                    Attachment(str(kind), str(type_), tuple(map(str, name)), str(arguments), value)
                    for kind, type_, name, arguments, value in json.loads(line.removeprefix(KEPT))
                    if kind in KINDS and type_ in TYPES
                )
            except (ValueError, TypeError):
                return ()
    return ()


# Every object has a row, with a value of null where nothing hangs on it: what is not there cannot be hung on.
# An access list that nobody has touched counts as the one of its owner's creation.
QUERY = """
    WITH schema AS (SELECT oid FROM pg_namespace WHERE nspname = 'public'),
    wanted (tables, functions, types) AS (SELECT %s::text[], %s::text[], %s::text[]),
    relations AS (
        SELECT c.*, CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                         WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS word,
               ARRAY[c.relname::text] AS name
        FROM pg_class c, schema, wanted
        WHERE c.relnamespace = schema.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND c.relname = ANY (wanted.tables)
          AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                          AND e.objid = c.oid AND e.deptype = 'e')
    ),
    sequences AS (
        SELECT c.*, ARRAY[c.relname::text] AS name
        FROM relations r JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass
             AND d.refobjid = r.oid AND d.refobjsubid > 0 AND d.classid = 'pg_class'::regclass
             AND d.deptype IN ('a', 'i')
        JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
    ),
    indexes AS (
        SELECT c.*, x.indisclustered, x.indisreplident, x.indrelid, ARRAY[c.relname::text] AS name
        FROM relations r JOIN pg_index x ON x.indrelid = r.oid
        JOIN pg_class c ON c.oid = x.indexrelid
    ),
    columns AS (
        SELECT a.*, r.relowner, r.relkind, ARRAY[r.relname::text, a.attname::text] AS name
        FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
        WHERE a.attnum > 0 AND NOT a.attisdropped
    ),
    functions AS (
        SELECT p.*, pg_get_function_identity_arguments(p.oid) AS arguments,
               ARRAY[p.proname::text] AS name
        FROM pg_proc p, schema, wanted
        WHERE p.pronamespace = schema.oid AND p.prokind IN ('f', 'p')
          AND p.proname = ANY (wanted.functions)
    ),
    types AS (
        SELECT t.*, ARRAY[t.typname::text] AS name FROM pg_type t, schema, wanted
        WHERE t.typnamespace = schema.oid AND t.typname = ANY (wanted.types)
    ),
    owned AS (
        SELECT r.word AS type, r.name, NULL AS arguments, r.relowner AS owner, r.relacl AS acl,
               'r'::"char" AS acl_type FROM relations r
        UNION ALL SELECT 'SEQUENCE', s.name, NULL, s.relowner, s.relacl, 's' FROM sequences s
        UNION ALL SELECT 'ROUTINE', f.name, f.arguments, f.proowner, f.proacl, 'f' FROM functions f
        UNION ALL SELECT 'TYPE', t.name, NULL, t.typowner, t.typacl, 'T' FROM types t
    ),
    described AS (
        SELECT 'pg_class'::regclass AS catalog, r.oid, 0 AS part, r.word AS type, r.name,
               NULL AS arguments FROM relations r
        UNION ALL SELECT 'pg_class'::regclass, s.oid, 0, 'SEQUENCE', s.name, NULL FROM sequences s
        UNION ALL SELECT 'pg_class'::regclass, i.oid, 0, 'INDEX', i.name, NULL FROM indexes i
        UNION ALL SELECT 'pg_class'::regclass, c.attrelid, c.attnum, 'COLUMN', c.name, NULL
        FROM columns c
        UNION ALL SELECT 'pg_proc'::regclass, f.oid, 0, 'ROUTINE', f.name, f.arguments
        FROM functions f
        UNION ALL SELECT 'pg_type'::regclass, t.oid, 0, 'TYPE', t.name, NULL FROM types t
        UNION ALL SELECT 'pg_constraint'::regclass, k.oid, 0, 'CONSTRAINT',
                         r.name || k.conname::text, NULL
        FROM relations r JOIN pg_constraint k ON k.conrelid = r.oid
        UNION ALL SELECT 'pg_trigger'::regclass, g.oid, 0, 'TRIGGER', r.name || g.tgname::text, NULL
        FROM relations r JOIN pg_trigger g ON g.tgrelid = r.oid AND NOT g.tgisinternal
        UNION ALL SELECT 'pg_policy'::regclass, p.oid, 0, 'POLICY', r.name || p.polname::text, NULL
        FROM relations r JOIN pg_policy p ON p.polrelid = r.oid
        UNION ALL SELECT 'pg_rewrite'::regclass, w.oid, 0, 'RULE', r.name || w.rulename::text, NULL
        FROM relations r JOIN pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'
        UNION ALL SELECT 'pg_statistic_ext'::regclass, x.oid, 0, 'STATISTICS',
                         ARRAY[x.stxname::text], NULL
        FROM relations r JOIN pg_statistic_ext x ON x.stxrelid = r.oid, schema
        WHERE x.stxnamespace = schema.oid
    )
    SELECT 'views' AS kind, r.word AS type, r.name, NULL AS arguments, jsonb_build_object(
               'definition', pg_get_viewdef(r.oid), 'options', to_jsonb(r.reloptions),
               'populated', r.relispopulated, 'indexes', (
                   SELECT jsonb_agg(pg_get_indexdef(i.oid) ORDER BY i.oid) FROM indexes i
                   WHERE i.indrelid = r.oid))::text AS value
    FROM relations r WHERE r.relkind IN ('v', 'm')
    UNION ALL
    SELECT 'owners', o.type, o.name, o.arguments, to_jsonb(pg_get_userbyid(o.owner))::text
    FROM owned o WHERE o.type <> 'SEQUENCE'
    UNION ALL
    SELECT 'row security', r.word, r.name, NULL,
           jsonb_build_object('enabled', r.relrowsecurity, 'forced', r.relforcerowsecurity)::text
    FROM relations r WHERE r.relrowsecurity OR r.relforcerowsecurity
    UNION ALL
    SELECT 'policies', 'POLICY', r.name || p.polname::text, NULL, jsonb_build_object(
               'permissive', p.polpermissive, 'command', p.polcmd,
               'roles', ARRAY(SELECT CASE k WHEN 0 THEN '' ELSE pg_get_userbyid(k)::text END
                              FROM unnest(p.polroles) k ORDER BY 1),
               'using', pg_get_expr(p.polqual, p.polrelid),
               'check', pg_get_expr(p.polwithcheck, p.polrelid))::text
    FROM relations r JOIN pg_policy p ON p.polrelid = r.oid
    UNION ALL
    SELECT 'statistics', 'STATISTICS', ARRAY[x.stxname::text], NULL, jsonb_build_object(
               'definition', pg_get_statisticsobjdef(x.oid),
               'target', nullif(x.stxstattarget, -1))::text
    FROM relations r JOIN pg_statistic_ext x ON x.stxrelid = r.oid, schema
    WHERE x.stxnamespace = schema.oid
    UNION ALL
    SELECT 'statistics', 'COLUMN', c.name, NULL, jsonb_build_object(
               'target', nullif(c.attstattarget, -1), 'options', to_jsonb(c.attoptions))::text
    FROM columns c WHERE coalesce(c.attstattarget, -1) <> -1 OR c.attoptions IS NOT NULL
    UNION ALL
    SELECT 'storage settings', 'COLUMN', c.name, NULL, jsonb_build_object(
               'storage', c.attstorage, 'compression', nullif(c.attcompression, ''))::text
    FROM columns c JOIN pg_type t ON t.oid = c.atttypid
    WHERE c.relkind IN ('r', 'p') AND (c.attstorage <> t.typstorage OR c.attcompression <> '')
    UNION ALL
    SELECT 'storage settings', CASE r.relkind WHEN 'm' THEN r.word ELSE 'TABLE' END, r.name, NULL,
           jsonb_build_object(
               'options', to_jsonb(r.reloptions),
               'toast', to_jsonb((SELECT o.reloptions FROM pg_class o WHERE o.oid = r.reltoastrelid)),
               'tablespace', (SELECT s.spcname FROM pg_tablespace s WHERE s.oid = r.reltablespace),
               'clustered', (SELECT i.relname FROM indexes i
                             WHERE i.indrelid = r.oid AND i.indisclustered))::text
    FROM relations r
    WHERE r.relkind IN ('r', 'p', 'm') AND (
        r.reloptions IS NOT NULL OR r.reltablespace <> 0
        OR EXISTS (SELECT FROM pg_class o WHERE o.oid = r.reltoastrelid AND o.reloptions IS NOT NULL)
        OR EXISTS (SELECT FROM indexes i WHERE i.indrelid = r.oid AND i.indisclustered))
    UNION ALL
    SELECT 'storage settings', 'INDEX', i.name, NULL, jsonb_build_object(
               'options', to_jsonb(i.reloptions),
               'tablespace', (SELECT s.spcname FROM pg_tablespace s WHERE s.oid = i.reltablespace))::text
    FROM indexes i WHERE i.reloptions IS NOT NULL OR i.reltablespace <> 0
    UNION ALL
    SELECT 'replica identities', r.word, r.name, NULL, jsonb_build_object(
               'identity', r.relreplident, 'index', (
                   SELECT i.relname FROM indexes i WHERE i.indrelid = r.oid AND i.indisreplident))::text
    FROM relations r WHERE r.relkind IN ('r', 'p') AND r.relreplident <> 'd'
    UNION ALL
    SELECT 'comments', o.type, o.name, o.arguments, to_jsonb(d.description)::text
    FROM described o LEFT JOIN pg_description d
      ON d.classoid = o.catalog AND d.objoid = o.oid AND d.objsubid = o.part
    UNION ALL
    SELECT 'grants', o.type, o.name, o.arguments, jsonb_build_object(
               'owner', pg_get_userbyid(o.owner), 'touched',
               o.acl IS NOT NULL AND o.acl <> acldefault(o.acl_type, o.owner),
               -- One made today would have other rights.
               'defaults', EXISTS (
                   SELECT FROM pg_default_acl f, schema WHERE f.defaclnamespace IN (0, schema.oid)
                   AND upper(f.defaclobjtype::text) = upper(o.acl_type::text)),
               'entries', (
                   SELECT jsonb_agg(jsonb_build_array(
                       pg_get_userbyid(a.grantor), coalesce(pg_get_userbyid(nullif(a.grantee, 0)), ''),
                       a.privilege_type, a.is_grantable))
                   FROM aclexplode(coalesce(o.acl, acldefault(o.acl_type, o.owner))) a))::text
    FROM owned o
    UNION ALL
    SELECT 'grants', 'COLUMN', c.name, NULL, jsonb_build_object(
               'owner', pg_get_userbyid(c.relowner), 'touched', c.attacl IS NOT NULL,
               'entries', (
                   SELECT jsonb_agg(jsonb_build_array(
                       pg_get_userbyid(a.grantor), coalesce(pg_get_userbyid(nullif(a.grantee, 0)), ''),
                       a.privilege_type, a.is_grantable))
                   FROM aclexplode(c.attacl) a))::text
    FROM columns c
"""
