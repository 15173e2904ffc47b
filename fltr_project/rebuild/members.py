"""Move what is in a schema to another one, object by object, where the schema itself cannot be renamed.

Renaming takes along what has to stay: an extension whose functions another role owns, as a managed server makes them, can neither go nor
come back. So the schema stays with its extensions, and everything else is moved out of it. That takes a lock on each
table that readers wait for too, where a rename takes none.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.backends.utils import CursorWrapper
from psycopg import sql

from .schema_properties import SCHEMA


@dataclass(frozen=True)
class Held:
    """What holds schema ``public`` where it is, and what that means."""

    # Why the schema cannot be renamed; empty where it can.
    by: tuple[str, ...]
    # How many locks it takes to move its members instead.
    locks: int
    # What can be carried over in neither way, each with its owner.
    immovable: tuple[str, ...]


def held(cursor: CursorWrapper) -> Held:
    """Whether the schema can be renamed, and what moving its members needs. Read-only."""
    by, immovable = holds(cursor), _unpublishable(cursor)
    if not by:
        return Held((), 0, immovable)
    cursor.execute(OF_OTHERS, [SCHEMA])
    of_others = tuple(sentence for (sentence,) in cursor.fetchall())
    cursor.execute(LOCKS, [SCHEMA])
    (locks,) = cursor.fetchone()
    return Held(by, locks, (*immovable, *of_others))


def holds(cursor: CursorWrapper) -> tuple[str, ...]:
    """What holds ``public`` where it is: this role could not carry it over to a new one. Read-only."""
    cursor.execute(HOLDS)
    return tuple(sentence for (sentence,) in cursor.fetchall())


def _unpublishable(cursor: CursorWrapper) -> tuple[str, ...]:
    """The publications of others that name tables in ``public``. Read-only."""
    cursor.execute(UNPUBLISHABLE)
    return tuple(sentence for (sentence,) in cursor.fetchall())


def move(cursor: CursorWrapper, source: str, target: str) -> None:
    """Move every member of one schema to another, extensions and what belongs to them aside.

    The functions of event triggers stay too, and a range type's own, which only a superuser moves; these go with it when it is
    dropped.
    """
    cursor.execute(MEMBERS, [source])
    for kind, identity in cursor.fetchall():
        # The server's own quoted name, and a word of its own.
        statement = sql.SQL(f"ALTER {kind} {identity} SET SCHEMA {{}}")
        cursor.execute(statement.format(sql.Identifier(target)))


# What depends on the schema itself; what is part of a table goes with it. Names of arguments change with the types that they
# are of, so what takes arguments goes first.
FOUND = """
    SELECT d.classid, d.objid, o.type, o.identity,
           CASE d.classid WHEN 'pg_proc'::regclass THEN (SELECT proowner FROM pg_proc WHERE oid = d.objid)
               WHEN 'pg_class'::regclass THEN (SELECT relowner FROM pg_class WHERE oid = d.objid)
               WHEN 'pg_type'::regclass THEN (SELECT typowner FROM pg_type WHERE oid = d.objid)
               WHEN 'pg_operator'::regclass THEN (SELECT oprowner FROM pg_operator WHERE oid = d.objid)
               WHEN 'pg_opclass'::regclass THEN (SELECT opcowner FROM pg_opclass WHERE oid = d.objid)
               WHEN 'pg_opfamily'::regclass THEN (SELECT opfowner FROM pg_opfamily WHERE oid = d.objid)
               WHEN 'pg_collation'::regclass THEN (SELECT collowner FROM pg_collation WHERE oid = d.objid)
               WHEN 'pg_conversion'::regclass THEN (SELECT conowner FROM pg_conversion WHERE oid = d.objid)
               WHEN 'pg_ts_config'::regclass THEN (SELECT cfgowner FROM pg_ts_config WHERE oid = d.objid)
               WHEN 'pg_ts_dict'::regclass THEN (SELECT dictowner FROM pg_ts_dict WHERE oid = d.objid)
               WHEN 'pg_statistic_ext'::regclass THEN (
                   SELECT stxowner FROM pg_statistic_ext WHERE oid = d.objid) END AS owner
    FROM pg_namespace n
    JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
         AND d.deptype = 'n'
    CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) o
    WHERE n.nspname = %s
      AND d.classid NOT IN ('pg_extension'::regclass, 'pg_default_acl'::regclass,
                            'pg_publication_namespace'::regclass)
      -- Members of extensions, sequences of columns, functions of ranges.
      AND NOT EXISTS (
          SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid
          -- A partitioned table depends on its own columns.
          AND e.refobjid <> d.objid AND (
              e.deptype = 'e' OR e.deptype = 'i' AND d.classid <> 'pg_type'::regclass
               OR e.deptype = 'a' AND d.classid = 'pg_class'::regclass
               AND e.refclassid = 'pg_class'::regclass AND e.refobjsubid > 0))
      AND NOT EXISTS (SELECT FROM pg_event_trigger t
                      WHERE d.classid = 'pg_proc'::regclass AND t.evtfoid = d.objid)
"""
MEMBERS = f"""
    SELECT CASE type WHEN 'statistics object' THEN 'STATISTICS' ELSE upper(type) END, identity
    FROM ({FOUND}) AS found
    ORDER BY CASE classid WHEN 'pg_proc'::regclass THEN 0 WHEN 'pg_operator'::regclass THEN 1
                 WHEN 'pg_class'::regclass THEN 3 WHEN 'pg_type'::regclass THEN 4 ELSE 2 END, objid
"""
OF_OTHERS = f"""
    SELECT format('%%s %%s of role %%s', type, identity, coalesce(pg_get_userbyid(owner), 'unknown'))
    FROM ({FOUND}) AS found WHERE owner IS NULL OR NOT pg_has_role(owner, 'USAGE') ORDER BY 1
"""
# Of each member, and of what goes with a table: its TOAST table, its indexes and its sequences.
LOCKS = f"""
    SELECT 4 + coalesce(sum(1 + CASE WHEN classid = 'pg_class'::regclass THEN
               (SELECT count(*) FROM pg_index x WHERE x.indrelid = objid)
               + (SELECT count(*) FROM pg_depend s WHERE s.refclassid = 'pg_class'::regclass
                  AND s.refobjid = objid AND s.classid = 'pg_class'::regclass
                  AND s.deptype IN ('a', 'i')) + 1 ELSE 0 END), 0)::int
    FROM ({FOUND}) AS found
"""

# Only the owner of all that belongs to an extension moves it; only a superuser publishes a whole schema; only
# a member of a role sets its default privileges.
HOLDS = """
    WITH public AS (SELECT oid FROM pg_namespace WHERE nspname = 'public'),
    me AS (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    SELECT format('extension %s of role %s', extname, pg_get_userbyid(extowner))
    FROM pg_extension, public WHERE extnamespace = public.oid AND NOT pg_has_role(extowner, 'USAGE')
    UNION ALL
    SELECT format('extension %s, which cannot change its schema', extname)
    FROM pg_extension, public WHERE extnamespace = public.oid AND NOT extrelocatable
    UNION ALL
    SELECT format('extension %s with functions of role %s', extname, min(pg_get_userbyid(proowner)))
    FROM public JOIN pg_extension x ON extnamespace = public.oid
    JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
         AND d.deptype = 'e' AND d.classid = 'pg_proc'::regclass
    JOIN pg_proc p ON p.oid = d.objid
    WHERE pg_has_role(extowner, 'USAGE') AND NOT pg_has_role(proowner, 'USAGE') GROUP BY extname
    UNION ALL
    SELECT format('event trigger %s with a function of role %s', evtname, pg_get_userbyid(proowner))
    FROM pg_event_trigger JOIN pg_proc p ON p.oid = evtfoid, public
    WHERE pronamespace = public.oid AND NOT pg_has_role(proowner, 'USAGE')
    UNION ALL
    SELECT format('publication %s of all tables in schema public, which only a superuser changes',
                  pubname)
    FROM pg_publication p JOIN pg_publication_namespace m ON m.pnpubid = p.oid, public, me
    WHERE m.pnnspid = public.oid AND NOT me.rolsuper
    UNION ALL
    SELECT DISTINCT format('default privileges of role %s', pg_get_userbyid(defaclrole))
    FROM pg_default_acl, public
    WHERE defaclnamespace = public.oid AND NOT pg_has_role(defaclrole, 'USAGE')
    ORDER BY 1
"""
UNPUBLISHABLE = """
    SELECT DISTINCT format('publication %s of role %s', pubname, pg_get_userbyid(pubowner))
    FROM pg_publication p JOIN pg_publication_rel m ON m.prpubid = p.oid
    JOIN pg_class c ON c.oid = m.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND NOT pg_has_role(pubowner, 'USAGE') ORDER BY 1
"""
