"""Rights, as far as they are not those that a thing has from its creation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .base import PUBLIC, Fact, Rows, Source


@dataclass(frozen=True, slots=True)
class Grants(Fact):
    """How far the rights of one role on one thing are from what its creation gives."""

    kind, plural = "grant", "grants"
    key = ("on", "role")
    # As in GRANT after ON: TABLE public.users; columns are in the privileges, as GRANT has them.
    on: str
    # PUBLIC, or a role; "" is the role that owns most of the database.
    role: str
    granted: tuple[str, ...] = ()
    revoked: tuple[str, ...] = ()

    @property
    def object(self) -> str:
        return f"grants on {self.on.lower()} to {self.role or 'the owner'}"

    @property
    def description(self) -> str:
        more = [f"GRANT {', '.join(self.granted)}"] if self.granted else []
        less = [f"REVOKE {', '.join(self.revoked)}"] if self.revoked else []
        return "; ".join(more + less)


# A list is NULL until somebody changes it; it is compared with the one of the thing's creation.
QUERY = f"""
    WITH changed (catalog, oid, of_table, object, columns, now, before) AS (
        SELECT 'pg_class', c.oid,
               CASE c.relkind WHEN 'S' THEN (
                   SELECT t.relname FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                     AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass
                     AND d.refobjsubid > 0) ELSE c.relname END,
               CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END || ' public.'
                   || quote_ident(c.relname), '',
               c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)
        FROM pg_class c
        WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND c.relacl IS NOT NULL
          AND c.relnamespace = {PUBLIC}
        UNION ALL
        SELECT 'pg_class', c.oid, c.relname, 'TABLE public.' || quote_ident(c.relname),
               ' (' || quote_ident(a.attname) || ')', a.attacl, acldefault('c', c.relowner)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE a.attacl IS NOT NULL AND c.relkind IN ('r', 'p', 'f') AND a.attnum > 0
          AND NOT a.attisdropped AND c.relnamespace = {PUBLIC}
        UNION ALL
        SELECT 'pg_proc', p.oid, NULL,
               CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END || ' public.'
                   || quote_ident(p.proname)
                   || '(' || pg_get_function_identity_arguments(p.oid) || ')', '',
               p.proacl, acldefault('f', p.proowner)
        FROM pg_proc p
        WHERE p.prokind IN ('f', 'p') AND p.proacl IS NOT NULL AND p.pronamespace = {PUBLIC}
        UNION ALL
        SELECT 'pg_type', t.oid, NULL, 'TYPE public.' || quote_ident(t.typname), '',
               t.typacl, acldefault('T', t.typowner)
        FROM pg_type t
        WHERE t.typtype IN ('e', 'd', 'r', 'c') AND t.typacl IS NOT NULL AND t.typnamespace = {PUBLIC}
        UNION ALL
        -- The server gives everybody USAGE of public, which acldefault() does not know. A schema
        -- public that somebody has made again has no list, and only its owner's rights.
        SELECT 'pg_namespace', n.oid, NULL, 'SCHEMA public', '',
               coalesce(n.nspacl, acldefault('n', n.nspowner)),
               acldefault('n', n.nspowner) || makeaclitem(0, n.nspowner, 'USAGE', false)
        FROM pg_namespace n WHERE n.nspname = 'public'
    )
    SELECT c.catalog, c.oid, coalesce(c.of_table, '') AS of_table, c.object, c.columns, a.is_before,
           coalesce(pg_get_userbyid(nullif(a.grantee, 0)), 'PUBLIC') AS role,
           a.privilege_type AS privilege, a.is_grantable
    FROM changed c, LATERAL (SELECT false AS is_before, * FROM aclexplode(c.now)
                             UNION ALL SELECT true, * FROM aclexplode(c.before)) a
"""
# What things will get that are made in schema public from now on.
DEFAULT_PRIVILEGES = f"""
    SELECT pg_get_userbyid(d.defaclrole) AS creator, d.defaclobjtype AS type,
           coalesce(pg_get_userbyid(nullif(a.grantee, 0)), 'PUBLIC') AS role,
           a.privilege_type AS privilege
    FROM pg_default_acl d, aclexplode(d.defaclacl) a
    WHERE d.defaclnamespace = {PUBLIC}
"""
OBJECT_TYPES = {"r": "tables", "S": "sequences", "f": "functions", "T": "types", "n": "schemas"}


def read(rows: Rows) -> Iterator[Grants]:
    lists: dict[tuple[str, str, str], tuple[set[str], set[str]]] = {}
    for row in rows["grants"]:
        now, before = lists.setdefault((row.of_table, row.object, row.role), (set(), set()))
        option = " WITH GRANT OPTION" if row.is_grantable else ""
        (before if row.is_before else now).add(f"{row.privilege}{row.columns}{option}")
    # Two roles can be the usual owner: pg_database_owner is one, whoever that is.
    changes: dict[tuple[str, str, str], tuple[set[str], set[str]]] = {}
    for (table, on, role), (now, before) in lists.items():
        if now != before:
            granted, revoked = changes.setdefault((table, on, rows.role(role)), (set(), set()))
            granted |= now - before
            revoked |= before - now
    for (table, on, role), (granted, revoked) in changes.items():
        yield Grants(table, on, role, tuple(sorted(granted)), tuple(sorted(revoked)))


def read_default_privileges(rows: Rows) -> Iterator[Grants]:
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows["default_privileges"]:
        on = f"new {OBJECT_TYPES[row.type]} of {rows.role(row.creator) or 'the owner'}"
        found.setdefault((on, rows.role(row.role)), set()).add(row.privilege)
    for (on, role), granted in found.items():
        yield Grants("", on, role, tuple(sorted(granted)))


SOURCES = (
    Source("grants", lambda major: QUERY, read, None),
    Source("default_privileges", lambda major: DEFAULT_PRIVILEGES, read_default_privileges),
)
