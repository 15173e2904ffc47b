"""How a thing that stands in the way of a change is taken down, and how it is put back as it was.

All of a thing that a statement can make is in its portrait: definition, options, owner, rights, comments,
and what belongs to it (indexes, triggers, rules, defaults). What no statement here can make again is an
obstacle, in words. Read-only; the text of statements comes from the server, with every name in full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.backends.utils import CursorWrapper

from .names import PUBLIC, literal, name, public

# As in ALTER TABLE ... TRIGGER and RULE.
ENABLED = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


@dataclass(frozen=True)
class Portrait:
    """A thing in the way; ``made`` is the statement with its definition, ``given`` all that follows."""

    # In words, for a person.
    described: str
    drop: str
    made: str
    given: tuple[str, ...] = ()
    # Why it cannot be put back as it was; empty where it can.
    obstacle: str = ""


def of_relation(cursor: CursorWrapper, oid: int) -> Portrait:
    """A view or a materialized view."""
    row = _row(cursor, RELATION, oid)
    word, full = KINDS[row["kind"]], _full(row)
    options = f" WITH ({', '.join(row['options'])})" if row["options"] else ""
    made = f"CREATE {word} {full}{options} AS {row['definition'].strip().rstrip(';')}"
    if row["kind"] == "m":
        made += "" if row["populated"] else " WITH NO DATA"
    given = [f"ALTER {word} {full} OWNER TO {name(row['owner'])};"]
    given += rights(cursor, "TABLE", full, row)
    given += comment(f"{word} {full}", row["comment"])
    given += (each["statement"] + ";" for each in _rows(cursor, PARTS, oid))
    for part in _rows(cursor, COLUMNS, oid):
        column = name(part["name"])
        given += rights(cursor, "TABLE", full, {**row, "acl": part["acl"]}, part["name"])
        given += comment(f"COLUMN {full}.{column}", part["comment"])
        if part["default"] is not None:
            given.append(f"ALTER VIEW {full} ALTER COLUMN {column} SET DEFAULT {part['default']};")
    for part in _rows(cursor, RULES_AND_TRIGGERS, oid):
        given += _attached(part)
    for part in _rows(cursor, INDEX_COMMENTS, oid):
        given += comment(f"INDEX {_full(part)}", part["comment"])
        if part["clustered"]:
            given.append(f"ALTER {word} {full} CLUSTER ON {name(part['name'])};")
    drop = f"DROP {word} {full};"
    return _portrait(f"{word.lower()} {full}", row, drop, f"{made};", given)


def of_function(cursor: CursorWrapper, oid: int) -> Portrait:
    row = _row(cursor, FUNCTION, oid)
    signature = f"{row['kind']} {_full(row)}({row['arguments']})"
    given = [f"ALTER {signature} OWNER TO {name(row['owner'])};"]
    given += rights(cursor, row["kind"], signature.partition(" ")[2], row)
    given += comment(signature, row["comment"])
    drop, made = f"DROP {signature};", f"{row['definition'].rstrip()};"
    return _portrait(signature.replace(row["kind"], row["kind"].lower(), 1), row, drop, made, given)


def of_policy(cursor: CursorWrapper, oid: int) -> Portrait:
    row = _row(cursor, POLICY, oid)
    on = f"{name(row['name'])} ON {_full(row, 'of')}"
    words = [f"CREATE POLICY {on} AS {row['type']} FOR {row['command']} TO {row['roles']}"]
    words += [f"USING ({row['using']})"] if row["using"] else []
    words += [f"WITH CHECK ({row['checked']})"] if row["checked"] else []
    given = comment(f"POLICY {on}", row["comment"])
    return _portrait(f"policy {on}", row, f"DROP POLICY {on};", f"{' '.join(words)};", given)


def of_trigger(cursor: CursorWrapper, oid: int) -> Portrait:
    row = _row(cursor, TRIGGER, oid)
    drop = f"DROP TRIGGER {name(row['name'])} ON {_full(row, 'of')};"
    made, *given = _attached(row)
    return _portrait(f"trigger {name(row['name'])} on {_full(row, 'of')}", row, drop, made, given)


def of_rule(cursor: CursorWrapper, oid: int) -> Portrait:
    row = _row(cursor, RULE, oid)
    drop = f"DROP RULE {name(row['name'])} ON {_full(row, 'of')};"
    made, *given = _attached(row)
    return _portrait(f"rule {name(row['name'])} on {_full(row, 'of')}", row, drop, made, given)


def of_default(cursor: CursorWrapper, oid: int) -> Portrait:
    row = _row(cursor, DEFAULT, oid)
    column = f"{_full(row, 'of')} ALTER COLUMN {name(row['name'])}"
    return _portrait(
        f"{row['described']} {_full(row, 'of')}.{name(row['name'])}",
        row,
        f"ALTER TABLE ONLY {column} DROP DEFAULT;",
        f"ALTER TABLE {column} SET DEFAULT {row['definition']};",
        (),
    )


def of_published(cursor: CursorWrapper, oid: int) -> Portrait:
    """A table's place in a publication, with the columns and rows that are published."""
    row = _row(cursor, PUBLISHED, oid)
    publication, table = f"ALTER PUBLICATION {name(row['name'])}", _full(row, "of")
    columns = f" ({row['columns']})" if row["columns"] else ""
    only = f" WHERE {row['condition']}" if row["condition"] else ""
    return _portrait(
        f"publication {name(row['name'])} of {table}",
        row,
        f"{publication} DROP TABLE ONLY {table};",
        f"{publication} ADD TABLE ONLY {table}{columns}{only};",
        (),
    )


def rights(
    cursor: CursorWrapper, word: str, on: str, row: dict[str, Any], column: str = ""
) -> Iterator[str]:
    """Statements that give a thing just made the rights of its portrait and no others."""
    cursor.execute(ENTRIES, [row["acl"]])
    entries = cursor.fetchall()
    if not column:
        cursor.execute(GIVEN_TO_NEW, ["f" if word in {"FUNCTION", "PROCEDURE"} else "r"])
        others = {grantee for (grantee,) in cursor.fetchall()}
        # The list of a thing that nobody has changed rights of is empty: those of its creation.
        known = {row["owner"], "", *others} if row["acl"] else others
        for grantee in sorted(known):
            yield f"REVOKE ALL ON {word} {on} FROM {_role(grantee)};"
        if not row["acl"] and others and word in {"FUNCTION", "PROCEDURE"}:
            yield f"GRANT EXECUTE ON {word} {on} TO PUBLIC;"
    of = f" ({name(column)})" if column else ""
    for grantee, privilege, grantable in entries:
        option = " WITH GRANT OPTION" if grantable else ""
        yield f"GRANT {privilege}{of} ON {word} {on} TO {_role(grantee)}{option};"


def comment(on: str, text: str | None) -> list[str]:
    return [f"COMMENT ON {on} IS {literal(text)};"] if text is not None else []


def _attached(row: dict[str, Any]) -> Iterator[str]:
    """A trigger or a rule: itself, its state and its comment."""
    word, on = row["word"], _full(row, "of")
    yield f"{row['definition'].rstrip(';')};"
    if row["enabled"] != "O":
        yield f"ALTER TABLE {on} {ENABLED[row['enabled']]} {word} {name(row['name'])};"
    yield from comment(f"{word} {name(row['name'])} ON {on}", row["comment"])


def _portrait(
    described: str, row: dict[str, Any], drop: str, made: str, given: Iterable[str]
) -> Portrait:
    return Portrait(described, drop, made, tuple(given), row.get("obstacle") or "")


def _role(grantee: str) -> str:
    return name(grantee) if grantee else "PUBLIC"


def _full(row: dict[str, Any], prefix: str = "") -> str:
    schema, word = (row[f"{prefix}_schema"], row["of"]) if prefix else (row["schema"], row["name"])
    # As in the repairs themselves, so that one statement has one text.
    return public(word) if schema == PUBLIC else f"{name(schema)}.{name(word)}"


def _row(cursor: CursorWrapper, query: str, oid: int) -> dict[str, Any]:
    (row,) = _rows(cursor, query, oid)
    return row


def _rows(cursor: CursorWrapper, query: str, oid: int) -> list[dict[str, Any]]:
    cursor.execute(query, {"oid": oid})
    columns = [column.name for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


type Painter = Callable[[CursorWrapper, int], Portrait]
# By the catalog that a dependant is of.
PAINTERS: dict[str, Painter] = {
    "pg_class": of_relation,
    "pg_proc": of_function,
    "pg_policy": of_policy,
    "pg_trigger": of_trigger,
    "pg_rewrite": of_rule,
    "pg_attrdef": of_default,
    "pg_publication_rel": of_published,
}
KINDS = {"v": "VIEW", "m": "MATERIALIZED VIEW"}

# Rights that somebody has passed on are given by another role than the owner, which only that role can do.
PASSED_ON = """EXISTS (SELECT FROM aclexplode({acl}) WHERE grantor <> {owner})"""
RELATION = f"""
    SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.reloptions AS options,
           pg_get_viewdef(c.oid) AS definition, c.relispopulated AS populated,
           pg_get_userbyid(c.relowner) AS owner, c.relacl::text AS acl,
           obj_description(c.oid, 'pg_class') AS comment,
           CASE WHEN c.reltablespace <> 0 OR EXISTS (
                    SELECT FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
                    WHERE x.indrelid = c.oid AND i.reltablespace <> 0) THEN 'is in a tablespace'
                WHEN {PASSED_ON.format(acl="c.relacl", owner="c.relowner")}
                     OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND
                                {PASSED_ON.format(acl="a.attacl", owner="c.relowner")})
                THEN 'has rights that somebody has passed on'
                WHEN EXISTS (SELECT FROM pg_seclabel s WHERE s.objoid = c.oid
                             AND s.classoid = 'pg_class'::regclass) THEN 'has a security label'
           END AS obstacle
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %(oid)s
"""
COLUMNS = """
    SELECT a.attname AS name, a.attacl::text AS acl, col_description(a.attrelid, a.attnum) AS comment,
           pg_get_expr(d.adbin, d.adrelid) AS default
    FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
PARTS = """
    SELECT pg_get_indexdef(indexrelid) AS statement FROM pg_index WHERE indrelid = %(oid)s
    UNION ALL SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid = %(oid)s
    ORDER BY 1
"""
INDEX_COMMENTS = """
    SELECT n.nspname AS schema, c.relname AS name, x.indisclustered AS clustered,
           obj_description(c.oid, 'pg_class') AS comment
    FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE x.indrelid = %(oid)s ORDER BY 2
"""
_TRIGGER = """
    SELECT 'TRIGGER' AS word, t.tgname AS name, n.nspname AS of_schema, c.relname AS of,
           pg_get_triggerdef(t.oid) AS definition, t.tgenabled AS enabled,
           obj_description(t.oid, 'pg_trigger') AS comment,
           CASE WHEN t.tgparentid <> 0 OR c.relkind = 'p' THEN 'is of a partitioned table'
           END AS obstacle
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
"""
_RULE = """
    SELECT 'RULE' AS word, r.rulename AS name, n.nspname AS of_schema, c.relname AS of,
           pg_get_ruledef(r.oid) AS definition, r.ev_enabled AS enabled,
           obj_description(r.oid, 'pg_rewrite') AS comment, NULL AS obstacle
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
    JOIN pg_namespace n ON n.oid = c.relnamespace
"""
RULES_AND_TRIGGERS = f"""
    {_TRIGGER} WHERE t.tgrelid = %(oid)s AND NOT t.tgisinternal
    UNION ALL {_RULE} WHERE r.ev_class = %(oid)s AND r.rulename <> '_RETURN' ORDER BY 1, 2
"""
TRIGGER = f"{_TRIGGER} WHERE t.oid = %(oid)s"
RULE = f"{_RULE} WHERE r.oid = %(oid)s"
FUNCTION = f"""
    SELECT n.nspname AS schema, p.proname AS name,
           CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END AS kind,
           pg_get_function_identity_arguments(p.oid) AS arguments,
           CASE WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(p.oid) ELSE '' END AS definition,
           pg_get_userbyid(p.proowner) AS owner, p.proacl::text AS acl,
           obj_description(p.oid, 'pg_proc') AS comment,
           CASE WHEN p.prokind NOT IN ('f', 'p') THEN 'is an aggregate'
                WHEN {PASSED_ON.format(acl="p.proacl", owner="p.proowner")}
                THEN 'has rights that somebody has passed on' END AS obstacle
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = %(oid)s
"""
POLICY = """
    SELECT p.polname AS name, n.nspname AS of_schema, c.relname AS of,
           CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END AS type,
           CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                         WHEN 'd' THEN 'DELETE' ELSE 'ALL' END AS command,
           (SELECT string_agg(CASE WHEN role = 0 THEN 'PUBLIC'
                              ELSE quote_ident(pg_get_userbyid(role)) END, ', ')
            FROM unnest(p.polroles) AS role) AS roles,
           pg_get_expr(p.polqual, p.polrelid) AS using,
           pg_get_expr(p.polwithcheck, p.polrelid) AS checked,
           obj_description(p.oid, 'pg_policy') AS comment
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.oid = %(oid)s
"""
DEFAULT = """
    SELECT a.attname AS name, n.nspname AS of_schema, c.relname AS of,
           pg_get_expr(d.adbin, d.adrelid) AS definition,
           CASE WHEN a.attgenerated = '' THEN 'default of' ELSE 'column' END AS described,
           CASE WHEN a.attgenerated <> '' THEN 'is generated from it' END AS obstacle
    FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE d.oid = %(oid)s
"""
PUBLISHED = """
    SELECT p.pubname AS name, n.nspname AS of_schema, c.relname AS of,
           (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
            WHERE a.attrelid = r.prrelid AND a.attnum = ANY(r.prattrs)) AS columns,
           pg_get_expr(r.prqual, r.prrelid) AS condition
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
    JOIN pg_class c ON c.oid = r.prrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.oid = %(oid)s
"""
ENTRIES = """
    SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END, a.privilege_type,
           a.is_grantable
    FROM aclexplode(%s::aclitem[]) a ORDER BY 1, 2
"""
GIVEN_TO_NEW = """
    SELECT DISTINCT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END
    FROM pg_default_acl d, aclexplode(d.defaclacl) a WHERE d.defaclobjtype = %s
"""
