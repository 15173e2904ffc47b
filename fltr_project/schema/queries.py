"""The catalog queries, one a kind of thing; together they are one round trip.

Each looks at schema ``public``. Every name is printed with its schema, because the session's
search_path is empty. They are kept simple: below a hundred tables, planning is what they cost.
"""

from __future__ import annotations

PUBLIC = "(SELECT oid FROM pg_namespace WHERE nspname = 'public')"


def rights(acl: str, kind: str, owner: str) -> str:
    """The access control list, and the one of its creation; none where nobody has changed it."""
    default = f"acldefault('{kind}', {owner})"
    return f"{acl}::text[], CASE WHEN {acl} IS NOT NULL THEN {default}::text[] END"


def queries(major: int) -> dict[str, str]:
    """The queries by name, for a server of the given major version."""
    enforced = "con.conenforced" if major >= 18 else "true"
    in_public = f"c.relnamespace = {PUBLIC}"
    return {
        "relations": f"""
            SELECT c.oid, c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity,
                   c.relreplident,
                   CASE WHEN c.relhassubclass OR c.relispartition OR c.relkind = 'r' THEN array(
                       SELECT i.inhparent::regclass::text FROM pg_inherits i
                       WHERE i.inhrelid = c.oid ORDER BY i.inhseqno) ELSE '{{}}' END,
                   CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END,
                   pg_get_expr(c.relpartbound, c.oid),
                   c.reloptions,
                   CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
                   {rights("c.relacl", "r", "c.relowner")},
                   pg_get_userbyid(c.relowner)
            FROM pg_class c
            WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND {in_public}
        """,
        "columns": f"""
            SELECT a.attrelid, a.attnum, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                   CASE WHEN a.atthasdef THEN pg_get_expr(d.adbin, d.adrelid) END,
                   a.attidentity, a.attgenerated,
                   -- 100 is the default collation, 0 that of types without one.
                   CASE WHEN a.attcollation NOT IN (0, 100)
                        THEN a.attcollation::regcollation::text END,
                   a.attacl::text[]
            FROM pg_class c
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE c.relkind IN ('r', 'p', 'f') AND {in_public}
        """,
        "constraints": f"""
            SELECT c.relname, con.contype, con.conname, con.condeferrable, con.condeferred,
                   con.convalidated, {enforced}, con.connoinherit,
                   CASE con.contype WHEN 'c' THEN pg_get_expr(con.conbin, con.conrelid)
                                    WHEN 'x' THEN pg_get_constraintdef(con.oid) END,
                   CASE con.contype WHEN 'f' THEN con.confrelid::regclass::text END,
                   con.confdeltype, con.confupdtype, con.confmatchtype,
                   con.conrelid, con.confrelid, con.conkey, con.confkey, con.confdelsetcols
            FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid
            WHERE (con.contype IN ('c', 'f', 'x') OR con.contype = 'n' AND NOT con.convalidated)
              AND con.conparentid = 0 AND {in_public}
        """,
        "indexes": f"""
            SELECT c.relname, i.relname, pg_get_indexdef(x.indexrelid),
                   x.indisunique, x.indisprimary, x.indisvalid AND x.indisready AND x.indislive,
                   con.contype, coalesce(con.condeferrable, false),
                   coalesce(con.condeferred, false), x.indisreplident
            FROM pg_index x
            JOIN pg_class c ON c.oid = x.indrelid
            JOIN pg_class i ON i.oid = x.indexrelid
            LEFT JOIN pg_constraint con
                ON con.conindid = x.indexrelid AND con.contype IN ('p', 'u', 'x')
            WHERE NOT i.relispartition AND {in_public}
        """,
        "triggers": f"""
            SELECT c.relname, t.tgname, t.tgisinternal, t.tgenabled, t.tgconstraint <> 0,
                   substr(pg_get_triggerdef(t.oid), 2 + length(quote_ident(t.tgname))
                       + position(' ' || quote_ident(t.tgname) || ' '
                                  IN pg_get_triggerdef(t.oid))),
                   con.conname, p.proname
            FROM pg_trigger t
            JOIN pg_class c ON c.oid = t.tgrelid
            JOIN pg_proc p ON p.oid = t.tgfoid
            LEFT JOIN pg_constraint con ON con.oid = t.tgconstraint
            WHERE t.tgparentid = 0 AND (NOT t.tgisinternal OR t.tgenabled <> 'O') AND {in_public}
        """,
        "rules": f"""
            SELECT c.relname, r.rulename, pg_get_ruledef(r.oid), r.ev_enabled
            FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
            WHERE r.rulename <> '_RETURN' AND {in_public}
        """,
        "policies": f"""
            SELECT c.relname, p.polname, p.polcmd, p.polpermissive,
                   array(SELECT CASE k.role WHEN 0 THEN 'PUBLIC'
                                ELSE quote_ident(pg_get_userbyid(k.role)) END
                         FROM unnest(p.polroles) AS k (role) ORDER BY 1),
                   pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
            FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
            WHERE {in_public}
        """,
        "functions": f"""
            SELECT p.oid, p.proname, pg_get_function_identity_arguments(p.oid), p.prokind,
                   coalesce(pg_get_function_result(p.oid), ''), l.lanname,
                   coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), p.prosqlbody IS NOT NULL,
                   p.prosecdef, p.proconfig, p.provolatile, p.proisstrict, p.proparallel,
                   p.proleakproof,
                   CASE WHEN p.pronargdefaults > 0 THEN pg_get_function_arguments(p.oid) ELSE '' END,
                   {rights("p.proacl", "f", "p.proowner")},
                   pg_get_userbyid(p.proowner)
            FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
            WHERE p.pronamespace = {PUBLIC} AND p.prokind IN ('f', 'p')
              -- A range type brings its constructors along.
              AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass
                              AND i.objid = p.oid AND i.deptype = 'i')
        """,
        # A sequence of a column belongs to the column; one of an extension to the extension.
        "sequences": f"""
            SELECT c.oid, c.relname, t.relname, a.attname, c.oid::regclass::text,
                   format('AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s %s',
                          s.seqtypid::regtype, s.seqincrement, s.seqmin, s.seqmax, s.seqstart,
                          s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END),
                   {rights("c.relacl", "s", "c.relowner")},
                   pg_get_userbyid(c.relowner)
            FROM pg_class c
            JOIN pg_sequence s ON s.seqrelid = c.oid
            LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
                AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass
                AND d.refobjsubid > 0
            LEFT JOIN pg_class t ON t.oid = d.refobjid
            LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE c.relkind = 'S' AND {in_public}
        """,
        "types": f"""
            SELECT t.oid, t.typname, CASE t.typtype
                WHEN 'e' THEN (
                    SELECT 'ENUM (' || coalesce(string_agg(quote_literal(e.enumlabel), ', '
                        ORDER BY e.enumsortorder), '') || ')'
                    FROM pg_enum e WHERE e.enumtypid = t.oid)
                WHEN 'd' THEN concat_ws(' ', format_type(t.typbasetype, t.typtypmod),
                    CASE WHEN t.typcollation <> b.typcollation
                         THEN 'COLLATE ' || t.typcollation::regcollation::text END,
                    'DEFAULT ' || t.typdefault,
                    CASE WHEN t.typnotnull THEN 'NOT NULL' END,
                    (SELECT string_agg(pg_get_constraintdef(con.oid), ' '
                        ORDER BY pg_get_constraintdef(con.oid)) FROM pg_constraint con
                     WHERE con.contypid = t.oid AND con.contype = 'c'))
                WHEN 'r' THEN (SELECT 'RANGE (subtype = ' || r.rngsubtype::regtype || ')'
                               FROM pg_range r WHERE r.rngtypid = t.oid)
                ELSE (SELECT '(' || coalesce(string_agg(
                          quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod),
                          ', ' ORDER BY a.attnum), '') || ')'
                      FROM pg_attribute a
                      WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
                END,
                {rights("t.typacl", "T", "t.typowner")},
                pg_get_userbyid(t.typowner)
            FROM pg_type t
            LEFT JOIN pg_class c ON c.oid = t.typrelid
            LEFT JOIN pg_type b ON b.oid = t.typbasetype
            WHERE t.typnamespace = {PUBLIC}
              AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
        """,
        "schemas": r"""
            SELECT n.oid, n.nspname, pg_get_userbyid(n.nspowner),
                   (SELECT count(*) FROM pg_class c
                    WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'f', 'm'))::int,
                   n.nspacl::text[], acldefault('n', n.nspowner)::text[]
            FROM pg_namespace n
            WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
        """,
        "extensions": "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'",
        "others": f"""
            SELECT d.classid::bigint, d.objid, o.type, o.identity,
                   CASE d.classid WHEN 'pg_statistic_ext'::regclass
                   THEN pg_get_statisticsobjdef(d.objid) ELSE '' END
            FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) o
            WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = {PUBLIC}
              AND (d.classid NOT IN ('pg_class'::regclass, 'pg_type'::regclass,
                                     'pg_proc'::regclass, 'pg_extension'::regclass,
                                     'pg_default_acl'::regclass)
                   OR d.classid = 'pg_proc'::regclass AND EXISTS (
                       SELECT FROM pg_proc p WHERE p.oid = d.objid AND p.prokind IN ('a', 'w')))
            UNION ALL
            SELECT 'pg_event_trigger'::regclass::bigint, oid, 'event trigger', quote_ident(evtname),
                   'ON ' || evtevent || ' EXECUTE FUNCTION ' || evtfoid::regproc || '() enabled '
                       || evtenabled::text
            FROM pg_event_trigger
        """,
        "extension_members": """
            SELECT classid::bigint, objid FROM pg_depend
            WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
        """,
        "default_privileges": f"""
            SELECT pg_get_userbyid(d.defaclrole), d.defaclobjtype,
                   coalesce(pg_get_userbyid(nullif(a.grantee, 0)), 'PUBLIC'), a.privilege_type
            FROM pg_default_acl d, aclexplode(d.defaclacl) a
            WHERE d.defaclnamespace = {PUBLIC}
        """,
        # Last: with the session's own TimeZone, which is what a client gets that sets none.
        "surroundings": """
            SELECT 'pg_class'::regclass::bigint, 'pg_proc'::regclass::bigint,
                   'pg_type'::regclass::bigint, 'pg_namespace'::regclass::bigint,
                   coalesce((SELECT split_part(setting, '=', 2)
                             FROM pg_db_role_setting s, unnest(s.setconfig) AS setting
                             WHERE s.setdatabase = d.oid AND s.setrole = 0
                               AND lower(setting) LIKE 'timezone=%'),
                            current_setting('TimeZone')),
                   d.datname, pg_get_userbyid(d.datdba)
            FROM pg_database d WHERE d.datname = current_database()
        """,
    }
