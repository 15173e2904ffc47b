"""Which database this is, as the server itself says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from fltr_project.errors import CannotRun, explain
from fltr_project.paths import shown
from fltr_project.routers import APP_DATABASES

from . import direct, environment_mark, sessions
from .errors import UnknownAlias
from .search_path import pinned

# Aliases whose schemas this project owns; `default` is Django's own and never among them.
ALIASES = tuple(APP_DATABASES.values())
OLDEST_MAJOR = 15

IDENTIFY = """
    SELECT current_database(), current_user, inet_server_addr()::text, inet_server_port(),
           current_setting('server_version_num')::int, current_setting('server_version'),
           (SELECT system_identifier FROM pg_control_system()), d.oid::bigint,
           pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
           pg_has_role(d.datdba, 'USAGE'), pg_backend_pid(),
           shobj_description(d.oid, 'pg_database')
    FROM pg_database d WHERE d.datname = current_database()
"""


@dataclass(frozen=True)
class Target:
    alias: str
    database: str
    role: str
    # host:port as the server sees it, or the directory of its socket.
    server: str
    version: str
    major: int
    system_identifier: int
    database_oid: int
    # development, test, staging or production; None where nobody has marked it.
    environment: str | None
    read_only: bool
    owns_database: bool
    # What stands between, where the server is not what the URL says: a pooler, a tunnel.
    through: str | None = None

    def as_json(self) -> dict[str, Any]:
        """What is told of it to machines: no secret, and nothing that changes during a run."""
        return {
            "alias": self.alias,
            "database": self.database,
            "server": self.server,
            "through": self.through,
            "version": self.version,
            # A number beyond what JavaScript can hold.
            "system_identifier": str(self.system_identifier),
            "role": self.role,
            "environment": self.environment,
        }

    def __str__(self) -> str:
        through = f" through {self.through}" if self.through else ""
        return f"{self.database} on PostgreSQL {self.version} at {self.server}{through}"


def known_aliases(requested: Sequence[str]) -> tuple[str, ...]:
    """The aliases asked for, once each and in the project's order; all of them when none is named.

    Raises UnknownAlias, and CannotRun for ``default``, which no schema command touches.
    """
    for alias in requested:
        if alias == "default":
            raise CannotRun(
                "The database 'default' holds Django's own tables, which schema commands never "
                f"touch. Use one of: {', '.join(ALIASES)}."
            )
        if alias not in ALIASES:
            # Databases are typed by their own names elsewhere: to confirm, and in psql.
            meant = tuple(a for a in ALIASES if settings.DATABASES[a].get("NAME") == alias)
            raise UnknownAlias(alias, ALIASES, meant)
    return tuple(alias for alias in ALIASES if not requested or alias in requested)


def connect(alias: str) -> BaseDatabaseWrapper:
    """The open connection of ``alias``; raises CannotRun with the reason when there is none."""
    if problem := settings.DATABASES[alias].get("PROBLEM"):
        raise CannotRun(problem)
    connection = connections[alias]
    try:
        direct.turn(connection)
        connection.ensure_connection()
        sessions.settle(connection)
    except DatabaseError as error:
        raise CannotRun(f"Database {alias!r}: {explain(error) or error}") from error
    return connection


def identify(connection: BaseDatabaseWrapper) -> Target:
    """What the server says about itself and this database. Read-only, one round trip.

    Raises CannotRun for a server older than PostgreSQL 15.
    """
    with pinned(connection) as cursor:
        cursor.execute(IDENTIFY)
        (
            database,
            role,
            address,
            port,
            version_number,
            version,
            system_identifier,
            oid,
            read_only,
            owns_database,
            pid,
            comment,
        ) = cursor.fetchone()
    major = version_number // 10000
    if major < OLDEST_MAJOR:
        raise CannotRun(
            f"Database {connection.alias!r} is on PostgreSQL {version}. "
            f"Use a server of version {OLDEST_MAJOR} or newer."
        )
    return Target(
        alias=connection.alias,
        database=database,
        role=role,
        server=f"{address.split('/')[0]}:{port}" if address else _socket_directory(connection),
        version=version.split()[0],
        major=major,
        system_identifier=system_identifier,
        database_oid=oid,
        environment=environment_mark.marked(comment, database, oid),
        read_only=read_only,
        owns_database=owns_database,
        through=_through(connection, pid, port),
    )


def _through(connection: BaseDatabaseWrapper, pid: int, port: int | None) -> str | None:
    """What stands between the client and the server; None where nothing is to be seen."""
    info = connection.connection.info
    at = f"{info.host}:{info.port}"
    # A pooler cannot pass on by which number a query is to be cancelled: the next one's is another.
    if info.backend_pid != pid:
        return f"a pooler at {at}"
    if port is not None and port != info.port:
        return f"a tunnel or proxy at {at}"
    return None


def others(targets: Sequence[Target]) -> list[Target]:
    """Every other PostgreSQL database of the settings that answers, ``default`` among them.

    For ``require_distinct`` before something is emptied: Django's own tables, with the staff's
    accounts, may stand in the database that is to be. Read-only. One that cannot be reached is left
    out; system check fltr.E002 has compared its address.
    """
    known = {target.alias for target in targets}
    found = []
    for alias in connections:
        if alias not in known and connections[alias].vendor == "postgresql":
            try:
                found.append(identify(connect(alias)))
            except CannotRun:
                continue
    return found


def _socket_directory(connection: BaseDatabaseWrapper) -> str:
    """Where the socket is that the client has used: a server does not tell everybody its own."""
    host = Path(connection.connection.info.host)
    return shown(host) if host.is_absolute() else "a socket"


def require_distinct(targets: Sequence[Target]) -> None:
    """Raise CannotRun when two aliases reach one database, by whatever names and addresses."""
    seen: dict[tuple[int, int], Target] = {}
    for target in targets:
        first = seen.setdefault((target.system_identifier, target.database_oid), target)
        if first is not target:
            raise CannotRun(
                f"The aliases {first.alias!r} and {target.alias!r} both reach database "
                f"{target.database!r} at {target.server}. Give each a database of its own."
            )
