"""What hangs on schema ``public`` itself, and must hang on the one that takes its place.

Owner, grants, default privileges and comment are given anew; extensions, the functions of event
triggers and the publications' members are moved, so that nothing elsewhere that uses them notices.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db.backends.utils import CursorWrapper
from psycopg import sql

SCHEMA = "public"


@dataclass(frozen=True)
class Grant:
    """One entry of an access control list; an empty role is PUBLIC."""

    role: str
    privilege: str
    grantable: bool
    # For default privileges: whose new objects, and of which kind (pg_default_acl.defaclobjtype).
    creator: str = ""
    object_type: str = ""


@dataclass(frozen=True)
class Properties:
    """What hangs on a schema and would be lost with it."""

    owner: str
    comment: str | None
    # None is PostgreSQL's built-in default, which is not the same as an empty list.
    grants: tuple[Grant, ...] | None
    default_privileges: tuple[Grant, ...]
    extensions: tuple[str, ...]


@dataclass(frozen=True)
class PublishedTable:
    publication: str
    table: str
    # None is all of them.
    columns: tuple[str, ...] | None
    where: str | None

    def __str__(self) -> str:
        return f"{self.publication} ({self.table})"


@dataclass(frozen=True)
class Published:
    """The publications that name the schema, and those that name tables in it."""

    schema: tuple[str, ...]
    tables: tuple[PublishedTable, ...]


def properties(cursor: CursorWrapper, schema: str) -> Properties | None:
    """What hangs on the schema, or None when there is no such schema. Read-only."""
    cursor.execute(
        """
        SELECT n.oid, pg_get_userbyid(n.nspowner), obj_description(n.oid, 'pg_namespace'),
               n.nspacl IS NULL,
               array(SELECT e.extname::text FROM pg_extension e
                     WHERE e.extnamespace = n.oid ORDER BY e.oid)
        FROM pg_namespace n WHERE n.nspname = %s
        """,
        [schema],
    )
    row = cursor.fetchone()
    if row is None:
        return None
    oid, owner, comment, has_default_acl, extensions = row
    cursor.execute(
        """
        SELECT coalesce(r.rolname, ''), a.privilege_type, a.is_grantable, '', ''
        FROM pg_namespace n,
             aclexplode(n.nspacl) WITH ORDINALITY
                 AS a (grantor, grantee, privilege_type, is_grantable, place)
             LEFT JOIN pg_roles r ON r.oid = a.grantee
        WHERE n.oid = %s ORDER BY a.place
        """,
        [oid],
    )
    grants = tuple(Grant(*row) for row in cursor.fetchall())
    cursor.execute(
        """
        SELECT coalesce(r.rolname, ''), a.privilege_type, a.is_grantable,
               pg_get_userbyid(d.defaclrole), d.defaclobjtype
        FROM pg_default_acl d,
             aclexplode(d.defaclacl) WITH ORDINALITY
                 AS a (grantor, grantee, privilege_type, is_grantable, place)
             LEFT JOIN pg_roles r ON r.oid = a.grantee
        WHERE d.defaclnamespace = %s ORDER BY d.oid, a.place
        """,
        [oid],
    )
    return Properties(
        owner=owner,
        comment=comment,
        grants=None if has_default_acl else grants,
        default_privileges=tuple(Grant(*row) for row in cursor.fetchall()),
        extensions=tuple(extensions),
    )


def published(cursor: CursorWrapper, schema: str) -> Published:
    """Which publications carry the schema or tables in it, FOR ALL TABLES aside. Read-only."""
    cursor.execute(
        """
        SELECT p.pubname FROM pg_publication p
        JOIN pg_publication_namespace m ON m.pnpubid = p.oid
        JOIN pg_namespace n ON n.oid = m.pnnspid WHERE n.nspname = %s ORDER BY 1
        """,
        [schema],
    )
    whole = tuple(name for (name,) in cursor.fetchall())
    cursor.execute(
        """
        SELECT p.pubname, c.relname,
               CASE WHEN m.prattrs IS NOT NULL THEN array(
                   SELECT a.attname::text FROM pg_attribute a
                   WHERE a.attrelid = c.oid AND a.attnum = ANY (m.prattrs) ORDER BY a.attnum) END,
               pg_get_expr(m.prqual, m.prrelid)
        FROM pg_publication p JOIN pg_publication_rel m ON m.prpubid = p.oid
        JOIN pg_class c ON c.oid = m.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s ORDER BY 1, 2
        """,
        [schema],
    )
    tables = tuple(
        PublishedTable(publication, table, tuple(columns) if columns is not None else None, where)
        for publication, table, columns, where in cursor.fetchall()
    )
    return Published(whole, tables)


def event_triggers(cursor: CursorWrapper, schema: str) -> tuple[tuple[str, str], ...]:
    """The event triggers whose function is in the schema, with that function. Read-only."""
    cursor.execute(
        """
        SELECT e.evtname, p.proname FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
        JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = %s
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = p.tableoid AND d.objid = p.oid
                        AND d.deptype = 'e') ORDER BY 1
        """,
        [schema],
    )
    return tuple(cursor.fetchall())


def create_like(cursor: CursorWrapper, like: Properties) -> None:
    """Create ``public`` with the owner, grants, comment and default privileges of another schema."""
    schema = sql.Identifier(SCHEMA)
    cursor.execute("CREATE SCHEMA public")
    cursor.execute(
        sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(schema, sql.Identifier(like.owner))
    )
    _revoke_what_came_by_default(cursor, like)
    if like.grants is not None:
        for privilege in ("USAGE", "CREATE"):
            if not any(g.role == like.owner and g.privilege == privilege for g in like.grants):
                cursor.execute(
                    sql.SQL("REVOKE {} ON SCHEMA {} FROM {}").format(
                        sql.SQL(privilege), schema, sql.Identifier(like.owner)
                    )
                )
        for grant in like.grants:
            if grant.role != like.owner:
                cursor.execute(
                    sql.SQL("GRANT {} ON SCHEMA {} TO {}{}").format(
                        sql.SQL(grant.privilege), schema, *_grantee(grant)
                    )
                )
    set_comment(cursor, SCHEMA, like.comment)
    for grant in like.default_privileges:
        cursor.execute(
            sql.SQL(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT {} ON {} TO {}{}"
            ).format(
                sql.Identifier(grant.creator),
                schema,
                sql.SQL(grant.privilege),
                sql.SQL(OBJECT_TYPES[grant.object_type]),
                *_grantee(grant),
            )
        )


def _revoke_what_came_by_default(cursor: CursorWrapper, like: Properties) -> None:
    """Take back the rights that ALTER DEFAULT PRIVILEGES ... ON SCHEMAS has given on the new ``public``."""
    made = properties(cursor, SCHEMA)
    for grant in (made.grants or ()) if made else ():
        if grant.role != like.owner and grant not in (like.grants or ()):
            cursor.execute(
                sql.SQL("REVOKE {} ON SCHEMA {} FROM {} CASCADE").format(
                    sql.SQL(grant.privilege), sql.Identifier(SCHEMA), _grantee(grant)[0]
                )
            )


def create_default(cursor: CursorWrapper) -> None:
    """Create ``public`` as PostgreSQL 15 and newer make it: nobody but the owner may CREATE in it."""
    cursor.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner")
    cursor.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
    cursor.execute("COMMENT ON SCHEMA public IS 'standard public schema'")


def move(cursor: CursorWrapper, source: str, target: str) -> None:
    """Move what others rely on from one schema to the other: extensions, the functions of event
    triggers, and the memberships of publications that name the whole schema."""
    old = properties(cursor, source)
    for extension in old.extensions if old else ():
        cursor.execute(
            sql.SQL("ALTER EXTENSION {} SET SCHEMA {}").format(
                sql.Identifier(extension), sql.Identifier(target)
            )
        )
    for name, function in event_triggers(cursor, source):
        cursor.execute(
            "SELECT to_regprocedure(format('%%I.%%I()', %s::text, %s::text)) IS NOT NULL",
            [target, function],
        )
        if cursor.fetchone()[0]:
            _repoint(cursor, name, target, function)
            continue
        cursor.execute(
            sql.SQL("ALTER FUNCTION {}() SET SCHEMA {}").format(
                sql.Identifier(source, function), sql.Identifier(target)
            )
        )
    for publication in published(cursor, source).schema:
        for action, schema in (("DROP", source), ("ADD", target)):
            cursor.execute(
                sql.SQL("ALTER PUBLICATION {} {} TABLES IN SCHEMA {}").format(
                    sql.Identifier(publication), sql.SQL(action), sql.Identifier(schema)
                )
            )


def _repoint(cursor: CursorWrapper, event_trigger: str, schema: str, function: str) -> None:
    """Have the event trigger call the function of that name in another schema: by making it anew."""
    cursor.execute(
        "SELECT evtevent, evttags, evtenabled, pg_get_userbyid(evtowner) FROM pg_event_trigger"
        " WHERE evtname = %s",
        [event_trigger],
    )
    event, tags, enabled, owner = cursor.fetchone()
    name = sql.Identifier(event_trigger)
    only = sql.SQL(" WHEN TAG IN ({})").format(sql.SQL(", ").join(map(sql.Literal, tags or ())))
    cursor.execute(sql.SQL("DROP EVENT TRIGGER {}").format(name))
    cursor.execute(
        sql.SQL("CREATE EVENT TRIGGER {} ON {}{} EXECUTE FUNCTION {}()").format(
            name,
            sql.Identifier(event),
            only if tags else sql.SQL(""),
            sql.Identifier(schema, function),
        )
    )
    for change in (ENABLED[enabled], sql.SQL("OWNER TO {}").format(sql.Identifier(owner))):
        cursor.execute(sql.SQL("ALTER EVENT TRIGGER {} {}").format(name, change))


def republish(
    cursor: CursorWrapper, source: str, target: str, passed_over: Collection[str] = ()
) -> tuple[PublishedTable, ...]:
    """Have publications carry the tables of ``target`` instead of those of the same names in
    ``source``; the members that have no such table. These, and those ``passed_over``, by their text, stay
    where they are."""
    left = []
    cursor.execute("SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace", [target])
    there = {name for (name,) in cursor.fetchall()}
    for member in published(cursor, source).tables:
        if str(member) in passed_over:
            continue
        if member.table not in there:
            left.append(member)
            continue
        publication = sql.Identifier(member.publication)
        cursor.execute(
            sql.SQL("ALTER PUBLICATION {} DROP TABLE ONLY {}").format(
                publication, sql.Identifier(source, member.table)
            )
        )
        columns = sql.SQL(", ").join(map(sql.Identifier, member.columns or ()))
        cursor.execute(
            sql.SQL("ALTER PUBLICATION {} ADD TABLE ONLY {}{}{}").format(
                publication,
                sql.Identifier(target, member.table),
                sql.SQL("") if member.columns is None else sql.SQL(" ({})").format(columns),
                # The server's own text of an expression that it holds.
                sql.SQL(f" WHERE ({member.where})" if member.where else ""),
            )
        )
    return tuple(left)


def set_comment(cursor: CursorWrapper, schema: str, comment: str | None) -> None:
    cursor.execute(
        sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(schema), sql.Literal(comment))
    )


def _grantee(grant: Grant) -> tuple[sql.Composable, sql.SQL]:
    role = sql.Identifier(grant.role) if grant.role else sql.SQL("PUBLIC")
    return role, sql.SQL(" WITH GRANT OPTION" if grant.grantable else "")


# pg_default_acl.defaclobjtype, of those that can be given per schema.
OBJECT_TYPES = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES"}

# pg_event_trigger.evtenabled.
ENABLED = {
    "O": sql.SQL("ENABLE"),
    "D": sql.SQL("DISABLE"),
    "R": sql.SQL("ENABLE REPLICA"),
    "A": sql.SQL("ENABLE ALWAYS"),
}
