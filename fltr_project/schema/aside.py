"""Set a schema aside instead of dropping it, bring it back, or purge it.

``ALTER SCHEMA public RENAME`` takes four locks and milliseconds at any size, where
``DROP SCHEMA public CASCADE`` takes 15 locks a table and fails at 1,000 tables on default settings
(measured). Until the purge, undoing is one rename.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from fltr_project.errors import CannotRun
from fltr_project.postgres import locks

SCHEMA = "public"
PREFIX = "public_aside_"
_NAME = re.compile(rf"^{PREFIX}\d{{8}}_\d{{6}}_\d{{6}}$")
# Tables dropped in one transaction. A table with serial, text and a foreign key takes 15 locks
# (measured), so a batch stays near 1,500 of the 6,400 that default settings guarantee.
PURGE_BATCH = 100


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


def is_aside(schema: str) -> bool:
    return bool(_NAME.match(schema))


def find(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """The schemas that wait for an undo or a purge, newest first. Read-only."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace ORDER BY nspname DESC")
        return tuple(name for (name,) in cursor.fetchall() if is_aside(name))


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
        FROM pg_namespace n, aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
        WHERE n.oid = %s
        """,
        [oid],
    )
    grants = tuple(Grant(*row) for row in cursor.fetchall())
    cursor.execute(
        """
        SELECT coalesce(r.rolname, ''), a.privilege_type, a.is_grantable,
               pg_get_userbyid(d.defaclrole), d.defaclobjtype
        FROM pg_default_acl d, aclexplode(d.defaclacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
        WHERE d.defaclnamespace = %s
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


def set_aside(connection: BaseDatabaseWrapper) -> str | None:
    """Rename ``public`` away, create it anew with all that hung on it; the old schema's new name.

    Runs in the caller's transaction, which must have its lock timeout set. None when there was no
    schema ``public`` to set aside: then only a new one is made, owned as PostgreSQL's own is.
    """
    with connection.cursor() as cursor:
        before = properties(cursor, SCHEMA)
        if before is None:
            cursor.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner")
            cursor.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
            return None
        name = PREFIX + datetime.now(UTC).strftime("%Y%m%d_%H%M%S_%f")
        _rename(cursor, SCHEMA, name)
        _create(cursor, before)
        return name


def bring_back(connection: BaseDatabaseWrapper, name: str) -> str | None:
    """Make the schema that was set aside ``public`` again; the name of the one it replaces.

    Runs in the caller's transaction. Raises CannotRun when there is no such schema.
    """
    if name not in find(connection):
        raise CannotRun(f"There is no schema {name!r} to bring back.")
    with connection.cursor() as cursor:
        replaced = properties(cursor, SCHEMA)
        discarded = None
        if replaced is not None:
            discarded = PREFIX + datetime.now(UTC).strftime("%Y%m%d_%H%M%S_%f")
            _rename(cursor, SCHEMA, discarded)
        _rename(cursor, name, SCHEMA)
        _move_extensions(cursor, replaced.extensions if replaced else ())
    return discarded


def purge(connection: BaseDatabaseWrapper, name: str, lock_timeout: int) -> Iterator[int]:
    """Drop the schema that was set aside in batches, each a transaction; yields tables left.

    May be stopped and begun again at any point. Milliseconds for ``lock_timeout``.
    """
    if not is_aside(name):
        raise CannotRun(f"{name!r} is not a schema that nuke_schema has set aside.")
    while True:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            locks.limit_waiting(cursor, lock_timeout, locks.STATEMENT_TIMEOUT)
            cursor.execute(
                """
                SELECT c.relname, count(*) OVER () FROM pg_class c
                WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
                  AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                LIMIT %s
                """,
                [name, PURGE_BATCH],
            )
            tables = cursor.fetchall()
            if not tables:
                cursor.execute(
                    sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name))
                )
                break
            cursor.execute(
                sql.SQL("DROP TABLE {} CASCADE").format(
                    sql.SQL(", ").join(sql.Identifier(name, table) for table, _ in tables)
                )
            )
        yield tables[0][1] - len(tables)


def _rename(cursor: CursorWrapper, old: str, new: str) -> None:
    cursor.execute(
        sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
    )


def _create(cursor: CursorWrapper, like: Properties) -> None:
    """Create ``public`` with the owner, grants, comment, defaults and extensions it had."""
    schema = sql.Identifier(SCHEMA)
    cursor.execute("CREATE SCHEMA public")
    cursor.execute(
        sql.SQL("ALTER SCHEMA {} OWNER TO {}").format(schema, sql.Identifier(like.owner))
    )
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
    if like.comment is not None:
        cursor.execute(
            sql.SQL("COMMENT ON SCHEMA {} IS {}").format(schema, sql.Literal(like.comment))
        )
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
    _move_extensions(cursor, like.extensions)


def _move_extensions(cursor: CursorWrapper, extensions: tuple[str, ...]) -> None:
    """Bring extensions along, so that columns of their types in other schemas keep their data."""
    for extension in extensions:
        cursor.execute(
            sql.SQL("ALTER EXTENSION {} SET SCHEMA {}").format(
                sql.Identifier(extension), sql.Identifier(SCHEMA)
            )
        )


def _grantee(grant: Grant) -> tuple[sql.Composable, sql.SQL]:
    role = sql.Identifier(grant.role) if grant.role else sql.SQL("PUBLIC")
    return role, sql.SQL(" WITH GRANT OPTION" if grant.grantable else "")


# pg_default_acl.defaclobjtype, of those that can be given per schema.
OBJECT_TYPES = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES"}
