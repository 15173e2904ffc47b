"""The catalog queries, one a kind of thing; together they are one round trip.

Each looks at schema ``public`` and leaves out what belongs to an extension. Every name is printed
with its schema, because the session's search_path is empty.
"""

from __future__ import annotations

PUBLIC = "(SELECT oid FROM pg_namespace WHERE nspname = 'public')"


def _own(alias: str, catalog: str) -> str:
    """A condition: the thing belongs to no extension."""
    return (
        f"NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{catalog}'::regclass"
        f" AND e.objid = {alias}.oid AND e.deptype = 'e')"
    )


def _grants(what: str, acl: str, on: str, of: str, kind: str, owner: str, column: str) -> str:
    """Privileges of ``what`` beyond those its creation gives, and those taken away from them."""
    given = (
        f"SELECT grantee, privilege_type, is_grantable FROM aclexplode({acl})",
        f"SELECT grantee, privilege_type, is_grantable FROM aclexplode(acldefault('{kind}', {owner}))",
    )
    return f"""
        SELECT {of}, {on}, coalesce(pg_get_userbyid(nullif(g.grantee, 0)), 'PUBLIC'),
               g.privilege_type || {column}
                   || CASE WHEN g.is_grantable AND g.grantee <> {owner}
                           THEN ' WITH GRANT OPTION' ELSE '' END,
               g.revoked
        FROM {what}, LATERAL (
            SELECT *, false AS revoked FROM ({given[0]} EXCEPT {given[1]}) AS more
            UNION ALL
            SELECT *, true FROM ({given[1]} EXCEPT {given[0]}) AS less
        ) AS g (grantee, privilege_type, is_grantable, revoked)
    """


def queries(major: int) -> dict[str, str]:
    """The queries by name, for a server of the given major version."""
    enforced = "con.conenforced" if major >= 18 else "true"
    invalid_not_null = (
        "(SELECT conrelid, conkey[1] AS number, conname FROM pg_constraint"
        " WHERE contype = 'n' AND NOT convalidated)"
        if major >= 18
        else "(SELECT 0::oid AS conrelid, 0 AS number, NULL::name AS conname LIMIT 0)"
    )
    in_public = f"c.relnamespace = {PUBLIC} AND {_own('c', 'pg_class')}"
    return {
        "relations": f"""
            SELECT c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity,
                   c.relreplident,
                   CASE WHEN c.relhassubclass OR c.relispartition OR c.relkind = 'r' THEN array(
                       SELECT i.inhparent::regclass::text FROM pg_inherits i
                       WHERE i.inhrelid = c.oid ORDER BY i.inhseqno) ELSE '{{}}' END,
                   CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END,
                   pg_get_expr(c.relpartbound, c.oid),
                   c.reloptions,
                   CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
                   pg_get_userbyid(c.relowner)
            FROM pg_class c
            WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND {in_public}
        """,
        "columns": f"""
            SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                   CASE WHEN a.atthasdef THEN pg_get_expr(d.adbin, d.adrelid) END,
                   a.attidentity, a.attgenerated,
                   CASE WHEN a.attcollation <> t.typcollation
                        THEN a.attcollation::regcollation::text END,
                   n.conname
            FROM pg_class c
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            JOIN pg_type t ON t.oid = a.atttypid
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            LEFT JOIN {invalid_not_null} n ON n.conrelid = a.attrelid AND n.number = a.attnum
            WHERE c.relkind IN ('r', 'p', 'f') AND {in_public}
        """,
        "constraints": f"""
            SELECT c.relname, con.contype, con.conname, con.condeferrable, con.condeferred,
                   con.convalidated, {enforced}, con.connoinherit,
                   CASE con.contype WHEN 'c' THEN pg_get_expr(con.conbin, con.conrelid)
                                    WHEN 'x' THEN pg_get_constraintdef(con.oid) END,
                   CASE con.contype WHEN 'f' THEN con.confrelid::regclass::text END,
                   con.confdeltype, con.confupdtype, con.confmatchtype,
                   CASE con.contype WHEN 'f' THEN array(
                       SELECT a.attname::text
                       FROM unnest(con.conkey) WITH ORDINALITY k (number, place)
                       JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.number
                       ORDER BY k.place) END,
                   CASE con.contype WHEN 'f' THEN array(
                       SELECT a.attname::text
                       FROM unnest(con.confkey) WITH ORDINALITY k (number, place)
                       JOIN pg_attribute a ON a.attrelid = con.confrelid AND a.attnum = k.number
                       ORDER BY k.place) END,
                   CASE WHEN con.confdelsetcols IS NOT NULL THEN array(
                       SELECT a.attname::text FROM unnest(con.confdelsetcols) AS k (number)
                       JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.number
                       ORDER BY a.attname) END
            FROM pg_constraint con JOIN pg_class c ON c.oid = con.conrelid
            WHERE con.contype IN ('c', 'f', 'x') AND con.conparentid = 0 AND {in_public}
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
                   array(SELECT coalesce(quote_ident(r.rolname), 'PUBLIC')
                         FROM unnest(p.polroles) AS k (role)
                         LEFT JOIN pg_roles r ON r.oid = k.role ORDER BY 1),
                   pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
            FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
            WHERE {in_public}
        """,
        "functions": f"""
            SELECT p.proname, pg_get_function_identity_arguments(p.oid), p.prokind,
                   coalesce(pg_get_function_result(p.oid), ''), l.lanname,
                   coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), p.prosqlbody IS NOT NULL,
                   p.prosecdef, p.proconfig, p.provolatile, p.proisstrict, p.proparallel,
                   p.proleakproof,
                   CASE WHEN p.pronargdefaults > 0 THEN pg_get_function_arguments(p.oid) ELSE '' END,
                   pg_get_userbyid(p.proowner)
            FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
            WHERE p.pronamespace = {PUBLIC} AND p.prokind IN ('f', 'p')
              AND {_own("p", "pg_proc")}
              -- A range type brings its constructors along.
              AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass
                              AND i.objid = p.oid AND i.deptype = 'i')
        """,
        # A sequence of a column belongs to the column; one of an extension to the extension.
        "sequences": f"""
            SELECT c.relname, t.relname, a.attname, c.oid::regclass::text,
                   format('AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s %s',
                          s.seqtypid::regtype, s.seqincrement, s.seqmin, s.seqmax, s.seqstart,
                          s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END),
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
            SELECT t.typname, CASE t.typtype
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
                pg_get_userbyid(t.typowner)
            FROM pg_type t
            LEFT JOIN pg_class c ON c.oid = t.typrelid
            LEFT JOIN pg_type b ON b.oid = t.typbasetype
            WHERE t.typnamespace = {PUBLIC} AND {_own("t", "pg_type")}
              AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
        """,
        "schemas": rf"""
            SELECT n.nspname, pg_get_userbyid(n.nspowner),
                   (SELECT count(*) FROM pg_class c
                    WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'f', 'm'))::int
            FROM pg_namespace n
            WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
              AND {_own("n", "pg_namespace")}
        """,
        "extensions": "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'",
        "others": f"""
            SELECT o.type, o.identity, CASE d.classid WHEN 'pg_statistic_ext'::regclass
                THEN pg_get_statisticsobjdef(d.objid) ELSE '' END
            FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) o
            WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = {PUBLIC}
              AND (d.classid NOT IN ('pg_class'::regclass, 'pg_type'::regclass,
                                     'pg_proc'::regclass, 'pg_extension'::regclass,
                                     'pg_default_acl'::regclass)
                   OR d.classid = 'pg_proc'::regclass AND EXISTS (
                       SELECT FROM pg_proc p WHERE p.oid = d.objid AND p.prokind IN ('a', 'w')))
              AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid
                              AND e.objid = d.objid AND e.deptype = 'e')
            UNION ALL
            SELECT 'event trigger', quote_ident(evtname),
                   'ON ' || evtevent || ' EXECUTE FUNCTION ' || evtfoid::regproc || '() enabled '
                       || evtenabled::text
            FROM pg_event_trigger v WHERE {_own("v", "pg_event_trigger")}
        """,
        "grants": " UNION ALL ".join(
            (
                _grants(
                    "pg_class c",
                    "c.relacl",
                    "format('TABLE public.%I', c.relname)",
                    "c.relname",
                    "r",
                    "c.relowner",
                    "''",
                )
                + f"WHERE c.relacl IS NOT NULL AND c.relkind <> 'S' AND {in_public}",
                _grants(
                    "pg_class c",
                    "c.relacl",
                    "format('SEQUENCE public.%I', c.relname)",
                    "''",
                    "s",
                    "c.relowner",
                    "''",
                )
                + f"WHERE c.relacl IS NOT NULL AND c.relkind = 'S' AND {in_public}",
                _grants(
                    "pg_attribute a JOIN pg_class c ON c.oid = a.attrelid",
                    "a.attacl",
                    "format('TABLE public.%I', c.relname)",
                    "c.relname",
                    "c",
                    "c.relowner",
                    "format(' (%I)', a.attname)",
                )
                + f"WHERE a.attacl IS NOT NULL AND a.attnum > 0 AND NOT a.attisdropped AND {in_public}",
                _grants(
                    "pg_proc p",
                    "p.proacl",
                    "format('%s public.%I(%s)', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE"
                    " 'FUNCTION' END, p.proname, pg_get_function_identity_arguments(p.oid))",
                    "''",
                    "f",
                    "p.proowner",
                    "''",
                )
                + f"WHERE p.proacl IS NOT NULL AND p.pronamespace = {PUBLIC} AND {_own('p', 'pg_proc')}",
                _grants(
                    "pg_type t",
                    "t.typacl",
                    "format('TYPE public.%I', t.typname)",
                    "''",
                    "T",
                    "t.typowner",
                    "''",
                )
                + f"WHERE t.typacl IS NOT NULL AND t.typnamespace = {PUBLIC} AND {_own('t', 'pg_type')}",
            )
        ),
        # The server gives schema public USAGE for everybody, which acldefault() does not know.
        "schema_grants": _grants(
            "pg_namespace n",
            "n.nspacl",
            "'SCHEMA public'",
            "''",
            "n",
            "n.nspowner",
            "''",
        )
        + "WHERE n.nspname = 'public' AND n.nspacl IS NOT NULL",
        "default_privileges": f"""
            SELECT pg_get_userbyid(d.defaclrole), d.defaclobjtype,
                   coalesce(pg_get_userbyid(nullif(a.grantee, 0)), 'PUBLIC'), a.privilege_type
            FROM pg_default_acl d, aclexplode(d.defaclacl) a
            WHERE d.defaclnamespace = {PUBLIC}
        """,
        "surroundings": """
            SELECT coalesce(
                       (SELECT split_part(setting, '=', 2)
                        FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase,
                             unnest(s.setconfig) AS setting
                        WHERE d.datname = current_database() AND s.setrole = 0
                          AND lower(setting) LIKE 'timezone=%'),
                       (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone')),
                   current_database(),
                   (SELECT pg_get_userbyid(datdba) FROM pg_database
                    WHERE datname = current_database()),
                   (SELECT count(*) FROM pg_depend d WHERE d.deptype = 'e'
                      AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass,
                                        'pg_type'::regclass)
                      AND NOT EXISTS (SELECT FROM pg_extension x WHERE x.oid = d.refobjid
                                      AND x.extname = 'plpgsql'))::int
        """,
    }
