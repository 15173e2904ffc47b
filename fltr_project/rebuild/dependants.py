"""What lies outside a schema and hangs on something in it."""

from __future__ import annotations

from django.db.backends.utils import CursorWrapper


def dependants(cursor: CursorWrapper, schema: str) -> tuple[str, ...]:
    """The things outside the schema that would break or go with it, in PostgreSQL's words.

    Extensions, publications and event triggers are not among them: they move along with the
    schema (schema_properties.move). Read-only.
    """
    cursor.execute(DEPENDANTS, [schema])
    return tuple(name for (name,) in cursor.fetchall())


# A dependant is in the schema of the relation it belongs to, or in its own.
DEPENDANTS = """
    WITH schema AS (SELECT oid FROM pg_namespace WHERE nspname = %s),
    inside AS (
        SELECT tableoid AS classid, oid FROM pg_class WHERE relnamespace = (SELECT oid FROM schema)
        UNION
        SELECT tableoid, oid FROM pg_type WHERE typnamespace = (SELECT oid FROM schema)
        UNION
        SELECT tableoid, oid FROM pg_constraint WHERE connamespace = (SELECT oid FROM schema)
        UNION
        SELECT classid, objid FROM pg_depend
        WHERE refclassid = 'pg_namespace'::regclass AND refobjid = (SELECT oid FROM schema)
          AND classid NOT IN ('pg_extension'::regclass, 'pg_default_acl'::regclass,
                              'pg_publication_namespace'::regclass)
    ),
    own AS (
        SELECT i.* FROM inside i WHERE NOT EXISTS (
            SELECT FROM pg_depend e
            WHERE e.classid = i.classid AND e.objid = i.oid AND e.deptype = 'e')
    ),
    outside AS (
        SELECT DISTINCT d.classid, d.objid, d.objsubid,
               CASE d.classid
                   WHEN 'pg_class'::regclass THEN
                       (SELECT relnamespace FROM pg_class WHERE oid = d.objid)
                   WHEN 'pg_type'::regclass THEN
                       (SELECT typnamespace FROM pg_type WHERE oid = d.objid)
                   WHEN 'pg_proc'::regclass THEN
                       (SELECT pronamespace FROM pg_proc WHERE oid = d.objid)
                   WHEN 'pg_constraint'::regclass THEN
                       (SELECT connamespace FROM pg_constraint WHERE oid = d.objid)
                   WHEN 'pg_attrdef'::regclass THEN
                       (SELECT c.relnamespace FROM pg_attrdef a JOIN pg_class c ON c.oid = a.adrelid
                        WHERE a.oid = d.objid)
                   WHEN 'pg_rewrite'::regclass THEN
                       (SELECT c.relnamespace FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
                        WHERE r.oid = d.objid)
                   WHEN 'pg_trigger'::regclass THEN
                       (SELECT c.relnamespace FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                        WHERE t.oid = d.objid)
                   WHEN 'pg_policy'::regclass THEN
                       (SELECT c.relnamespace FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
                        WHERE p.oid = d.objid)
                   WHEN 'pg_statistic_ext'::regclass THEN
                       (SELECT stxnamespace FROM pg_statistic_ext WHERE oid = d.objid)
                   WHEN 'pg_operator'::regclass THEN
                       (SELECT oprnamespace FROM pg_operator WHERE oid = d.objid)
                   WHEN 'pg_opclass'::regclass THEN
                       (SELECT opcnamespace FROM pg_opclass WHERE oid = d.objid)
                   WHEN 'pg_opfamily'::regclass THEN
                       (SELECT opfnamespace FROM pg_opfamily WHERE oid = d.objid)
                   WHEN 'pg_amop'::regclass THEN
                       (SELECT f.opfnamespace FROM pg_amop a JOIN pg_opfamily f ON f.oid = a.amopfamily
                        WHERE a.oid = d.objid)
                   WHEN 'pg_amproc'::regclass THEN
                       (SELECT f.opfnamespace FROM pg_amproc a
                        JOIN pg_opfamily f ON f.oid = a.amprocfamily WHERE a.oid = d.objid)
                   WHEN 'pg_ts_config'::regclass THEN
                       (SELECT cfgnamespace FROM pg_ts_config WHERE oid = d.objid)
                   WHEN 'pg_ts_dict'::regclass THEN
                       (SELECT dictnamespace FROM pg_ts_dict WHERE oid = d.objid)
               END AS namespace
        FROM own JOIN pg_depend d ON d.refclassid = own.classid AND d.refobjid = own.oid
        WHERE d.deptype IN ('n', 'a', 'P', 'S')
          AND d.classid NOT IN ('pg_publication_rel'::regclass, 'pg_event_trigger'::regclass)
          -- A range's own functions, which may have had to stay behind, go with it.
          AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = d.classid AND i.objid = d.objid
                          AND i.deptype = 'i' AND (i.refclassid, i.refobjid) IN (
                              SELECT classid, oid FROM own))
    )
    SELECT DISTINCT type || ' ' || identity
    FROM outside, pg_identify_object(classid, objid, objsubid)
    WHERE namespace IS DISTINCT FROM (SELECT oid FROM schema)
      AND coalesce((SELECT nspname FROM pg_namespace WHERE oid = namespace), '') NOT LIKE 'pg\\_toast%%'
    ORDER BY 1
"""
