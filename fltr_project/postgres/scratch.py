"""A throw-away database on the server of an alias, which the alias reaches while a block runs."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from fltr_project.errors import CannotRun

from .search_path import pinned

PREFIX = "clean_slate_scratch_"
# With the process of the server that serves whoever made it: while that is there, it is in use.
_NAME = re.compile(rf"^{PREFIX}(\d+)_[0-9a-f]{{8}}$")

LEFT_OVER = """
    SELECT d.datname FROM pg_database d
    WHERE starts_with(d.datname, %s)
      AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)
    ORDER BY 1
"""


# The locale's column has another name in each version, and libc's databases have none.
LIKE = """
    SELECT pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
           CASE d.datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
           coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
           to_jsonb(d) ->> 'daticurules'
    FROM pg_database d WHERE d.datname = current_database()
"""


@dataclass(frozen=True)
class Like:
    """How a database keeps and sorts text, as pg_database has it."""

    encoding: str
    collate: str
    ctype: str
    provider: str
    locale: str | None
    rules: str | None

    @property
    def clause(self) -> sql.Composable:
        """What CREATE DATABASE has to say for it."""
        parts = {"ENCODING": self.encoding, "LC_COLLATE": self.collate, "LC_CTYPE": self.ctype}
        if self.provider != "libc":
            parts["LOCALE_PROVIDER"] = self.provider
            parts[f"{self.provider.upper()}_LOCALE"] = self.locale or ""
        if self.rules:
            parts["ICU_RULES"] = self.rules
        return sql.SQL(" ").join(
            sql.SQL("{} = {}").format(sql.SQL(name), sql.Literal(value))
            for name, value in parts.items()
        )


@contextmanager
def scratch(alias: str, like: Like | None = None) -> Iterator[BaseDatabaseWrapper]:
    """An empty database that ``connections[alias]`` reaches in the block, in this thread; then it is dropped.

    With the encoding and locale of ``like``, or else of the alias's own database. The connection of before is
    back afterwards as it was. What a run that was killed has left behind, and nobody is connected to, is
    dropped first. Raises CannotRun when the role may not create databases.
    """
    outside = connections[alias]
    with pinned(outside) as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        name = f"{PREFIX}{cursor.fetchone()[0]}_{uuid.uuid4().hex[:8]}"
    drop_left_over(outside)
    inside = outside.copy()
    inside.settings_dict["NAME"] = name
    try:
        _create(outside, name, like or encoding_and_locale(outside))
        with reaching(inside):
            yield inside
    finally:
        inside.close()
        _execute(outside, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@contextmanager
def reaching(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Let ``connections`` give this connection for its alias in the block, in this thread.

    By its alias: that is how the router and transactions know what belongs in it.
    """
    before = connections[connection.alias]
    connections[connection.alias] = connection
    try:
        yield
    finally:
        connections[connection.alias] = before


def encoding_and_locale(connection: BaseDatabaseWrapper) -> Like:
    """How text is kept and sorted in the database that the connection reaches. Read-only."""
    with pinned(connection) as cursor:
        cursor.execute(LIKE)
        return Like(*cursor.fetchone())


def may_create(connection: BaseDatabaseWrapper) -> bool:
    """Whether the role may create databases on this server. Read-only."""
    with pinned(connection) as cursor:
        cursor.execute("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user")
        return bool(cursor.fetchone()[0])


def drop_left_over(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """Drop the throw-away databases of runs that are no more; their names.

    One that somebody is connected to, or another role owns, is left alone.
    """
    with pinned(connection) as cursor:
        cursor.execute(LEFT_OVER, [PREFIX])
        names = [name for (name,) in cursor.fetchall()]
        cursor.execute("SELECT pid FROM pg_stat_activity")
        at_work = {pid for (pid,) in cursor.fetchall()}
    dropped = []
    for name in names:
        made_by = _NAME.match(name)
        if made_by is None or int(made_by[1]) in at_work:
            continue
        try:
            _execute(connection, "DROP DATABASE IF EXISTS {}", name)
        except DatabaseError:
            continue
        dropped.append(name)
    return tuple(dropped)


def _create(connection: BaseDatabaseWrapper, name: str, like: Like) -> None:
    try:
        with connection.cursor() as cursor:
            create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ").format(sql.Identifier(name))
            cursor.execute(create + like.clause)
    except DatabaseError as error:
        if not isinstance(error.__cause__, InsufficientPrivilege):
            raise
        raise CannotRun(
            f"The role of database {connection.alias!r} may not create databases, and a throw-away one "
            "is needed. Give it the right (ALTER ROLE ... CREATEDB), or use a server where it has it."
        ) from error


def _execute(connection: BaseDatabaseWrapper, statement: str, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(sql.Identifier(name)))
