"""Give a role the rights of its kind of program, and no others.

The kind is kept in the comment of schema ``public``, which every rebuild keeps: after each migration the role
gets its rights on what is new.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from fltr_project.errors import CannotRun
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.postgres.target import Target

from .access import Rights, grants, kinds, script, statement, tables, wanted
from .facts import Catalog, Column, Function, Grants
from .read import read

logger = logging.getLogger(__name__)

# Begins the last line of the schema's comment; what stands before it is somebody else's.
MARK = "access: "


@dataclass(frozen=True)
class Granted:
    """What a role may now."""

    # The statements that say it, none of which depends on what the role had.
    rights: tuple[str, ...]
    # Whether anything was otherwise before.
    changed: bool
    # What it may besides, through another role or because everybody may: "UPDATE on users".
    beyond: tuple[str, ...]


def grant(target: Target, connection: BaseDatabaseWrapper, role: str, kind: str | None) -> Granted:
    """Give the role the rights of a kind, exactly, or with None take all of them; remember the kind.

    One transaction, idempotent. Raises CannotRun where it may not be done, with the reason, and where
    the server has not done it.
    """
    with transaction.atomic(using=target.alias), pinned(connection) as cursor:
        locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        found = _require_possible(cursor, connection, target, role)
        want = wanted(target.alias, kind)
        changed = _apply(cursor, found, role, want)
        if changed and _of(read(connection, tables(target.alias)), role, want) != want:
            raise CannotRun(
                f"The server did not make the rights of role {role!r} on {target} what was asked for: "
                "another role than the owner has granted some. Take those back as that role."
            )
        if remembered(cursor).get(role) != kind:
            cursor.execute(_comment_with(cursor, role, kind))
            changed = True
        rights = tuple(grants(want, role, found.owner))
        return Granted(rights, changed, tuple(_beyond(cursor, role, want)))


def statements(
    target: Target, connection: BaseDatabaseWrapper, role: str, kind: str | None
) -> tuple[str, ...]:
    """What ``grant`` comes to, for a person to run, whatever the role has by then. Read-only.

    Raises CannotRun as that does.
    """
    with pinned(connection) as cursor:
        found = _require_possible(cursor, connection, target, role)
        return (
            *script(target.alias, role, kind, found.owner),
            f"{_comment_with(cursor, role, kind)};",
        )


def renew(connection: BaseDatabaseWrapper, alias: str) -> None:
    """Give the roles that are remembered their rights on what a migration has made.

    Transactional. What may not be done is logged, not raised: a migration does not need it.
    """
    with pinned(connection) as cursor:
        known = remembered(cursor)
        if not known:
            return
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(known)])
        there = {role for (role,) in cursor.fetchall()}
        found = read(connection, tables(alias))
        for role, kind in known.items():
            if role not in there or kind not in kinds(alias):
                continue
            if thing := _of_others(cursor):
                logger.warning(
                    "The rights of role %s were not renewed: %s has another owner.", role, thing[0]
                )
                continue
            # What is not there yet has no rights: an app's first migrations may be all there are.
            there_now = {each for each in wanted(alias, kind) if _is_there(each, found)}
            want = {on: right for on, right in wanted(alias, kind).items() if on in there_now}
            _apply(cursor, found, role, want)


def remembered(cursor: CursorWrapper) -> dict[str, str]:
    """The kind of each role that was given one. Read-only."""
    line = _comment(cursor).rpartition("\n")[2]
    try:
        found = json.loads(line.removeprefix(MARK)) if line.startswith(MARK) else {}
    except ValueError:
        return {}
    return {str(role): str(kind) for role, kind in found.items()} if isinstance(found, dict) else {}


def require_possible(connection: BaseDatabaseWrapper, target: Target, role: str) -> Catalog:
    """What is there, for a role that rights limit and a session that may grant them. Read-only.

    Raises CannotRun otherwise, with what to do.
    """
    with pinned(connection) as cursor:
        return _require_possible(cursor, connection, target, role)


def _require_possible(
    cursor: CursorWrapper, connection: BaseDatabaseWrapper, target: Target, role: str
) -> Catalog:
    cursor.execute(ROLE, [role])
    row = cursor.fetchone()
    if row is None or role.startswith("pg_"):
        raise CannotRun(
            f"There is no role {role!r} on the server of {target} that rights can be granted to. Make it "
            f"first: CREATE ROLE {sql.Identifier(role).as_string()} LOGIN PASSWORD '...';"
        )
    is_superuser, owns = row
    if is_superuser or owns:
        reason = (
            "is a superuser" if is_superuser else f"owns parts of {target}, or may act as owner"
        )
        raise CannotRun(
            f"Role {role!r} {reason}, so rights do not limit it. Use a role of its own."
        )
    if target.read_only:
        raise CannotRun(f"{target} is read-only: no rights can be granted there.")
    if found := _of_others(cursor):
        thing, owner = found
        raise CannotRun(
            f"Role {target.role!r} may not grant rights on {thing} of {target}, which {owner!r} owns. "
            "Connect as that role."
        )
    return read(connection, tables(target.alias))


def _of(found: Catalog, role: str, want: Rights) -> Rights:
    """What was granted to the role itself on the same things."""
    have = {each.on: frozenset(each.granted) for each in found.of(Grants) if each.role == role}
    return {on: have.get(on, frozenset()) for on in want}


def _is_there(on: str, found: Catalog) -> bool:
    kind, _, name = on.partition(" public.")
    if kind == "TABLE":
        return name in found.tables
    if kind == "FUNCTION":
        return any(function.is_in(on) for function in found.of(Function))
    if kind == "SEQUENCE":
        return any(column.sequence_name == f"public.{name}" for column in found.of(Column))
    return True


def _apply(cursor: CursorWrapper, found: Catalog, role: str, want: Rights) -> bool:
    """Make the role's rights what is wanted; whether anything was otherwise."""
    have = _of(found, role, want)
    other = {on: rights for on, rights in want.items() if have[on] != rights}
    for on in other:
        if have[on]:
            cursor.execute(statement("REVOKE", on, ("ALL",), role, found.owner))
    for each in grants(other, role, found.owner):
        cursor.execute(each)
    return bool(other)


def _of_others(cursor: CursorWrapper) -> tuple[str, str] | None:
    """The first thing on which this session may not grant, and who may. Read-only."""
    cursor.execute(OF_OTHERS)
    row: tuple[str, str] | None = cursor.fetchone()
    return row


def _beyond(cursor: CursorWrapper, role: str, want: Rights) -> Iterator[str]:
    """What else the role may on the contract's tables and functions. Read-only."""
    cursor.execute(EFFECTIVE, [role, role])
    for kind, name, privilege in cursor.fetchall():
        rights = next(
            (
                right
                for on, right in want.items()
                if on == f"{kind} public.{name}" or on.startswith(f"{kind} public.{name}(")
            ),
            None,
        )
        if rights is not None and privilege not in rights:
            yield f"{privilege} on {name}"


def _comment(cursor: CursorWrapper) -> str:
    cursor.execute(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'public'"
    )
    row = cursor.fetchone()
    return (row[0] if row else None) or ""


def _comment_with(cursor: CursorWrapper, role: str, kind: str | None) -> str:
    """The statement that keeps the role's kind, beside the others' and the rest of the comment."""
    comment = _comment(cursor)
    before, _, last = comment.rpartition("\n")
    known = {name: each for name, each in remembered(cursor).items() if name != role}
    lines = [before if last.startswith(MARK) else comment]
    if kind:
        known[role] = kind
    if known:
        lines.append(f"{MARK}{json.dumps(known, sort_keys=True)}")
    text = "\n".join(line for line in lines if line)
    return f"COMMENT ON SCHEMA public IS {sql.Literal(text or None).as_string()}"


# Whether rights limit it: a superuser and whoever may act as an owner they do not.
ROLE = """
    SELECT r.rolsuper,
           pg_has_role(r.oid, d.datdba, 'MEMBER') OR EXISTS (
               SELECT FROM pg_class c
               WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'public')
                 AND c.relkind IN ('r', 'p') AND pg_has_role(r.oid, c.relowner, 'MEMBER'))
    FROM pg_roles r, pg_database d WHERE r.rolname = %s AND d.datname = current_database()
"""
OF_OTHERS = """
    WITH public AS (SELECT oid, nspowner FROM pg_namespace WHERE nspname = 'public')
    -- The owner of schema public is whoever owns the database.
    SELECT thing, pg_get_userbyid(
        CASE pg_get_userbyid(owner) WHEN 'pg_database_owner' THEN (
            SELECT datdba FROM pg_database WHERE datname = current_database()) ELSE owner END)
    FROM (
        SELECT 'schema public', nspowner FROM public
        UNION ALL SELECT 'table ' || relname, relowner FROM pg_class, public
        WHERE relnamespace = public.oid AND relkind IN ('r', 'p', 'S')
        UNION ALL SELECT 'function ' || proname, proowner FROM pg_proc, public
        WHERE pronamespace = public.oid
          AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass
                          AND e.objid = pg_proc.oid AND e.deptype = 'e')
    ) AS things (thing, owner)
    WHERE NOT pg_has_role(owner, 'USAGE') LIMIT 1
"""
EFFECTIVE = """
    SELECT 'TABLE', c.relname, p.privilege
    FROM pg_class c,
         unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'])
             AS p (privilege)
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'public')
      AND c.relkind IN ('r', 'p') AND has_table_privilege(%s, c.oid, p.privilege)
    UNION ALL
    SELECT 'FUNCTION', f.proname, 'EXECUTE' FROM pg_proc f
    WHERE f.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'public')
      AND has_function_privilege(%s, f.oid, 'EXECUTE')
      -- What the contract leaves to everybody, as the defaults of columns.
      AND NOT has_function_privilege('public', f.oid, 'EXECUTE')
    ORDER BY 1 DESC, 2, 3
"""
