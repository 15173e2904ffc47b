"""How PostgreSQL's own programs (pg_dump, pg_restore, psql) reach the database of a connection.

They may come with an older libpq than psycopg's, which refuses parameters that it does not know. So only
what the user gave goes along: the settings, a service, the variables of the environment; never what a
newer libpq has filled in. A secret goes through the environment or a file of mode 0600, never through an
argument, which `ps` shows to everybody.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.conninfo import make_conninfo

from fltr_project.errors import CannotRun

from .addresses import LIBPQ_OPTIONS, SECRET_OPTIONS

# The service that stands in our own file of secrets.
SERVICE = "clean_slate"
# The password has a variable of its own. One host is reached, so there is nothing to choose among; and the
# program has a name of its own.
_ELSEWHERE = {"password", "load_balance_hosts", "application_name", "options"}


@dataclass(frozen=True)
class ClientAddress:
    """What a program is started with: the conninfo as an argument, no secret in it, and its environment."""

    conninfo: str
    environment: dict[str, str]


@contextmanager
def client_address(
    connection: BaseDatabaseWrapper,
    *,
    database: str | None = None,
    application: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[ClientAddress]:
    """The server that this open connection has reached, for a program that runs within the block.

    ``database`` is another one of that server, ``application`` the name that colleagues see in
    pg_stat_activity, ``settings`` what the program's session begins with, above what the user's own
    ``options`` say. Raises CannotRun when a secret could be handed over by an argument only.
    """
    given = _given(connection, database)
    secrets = {name: given.pop(name) for name in sorted(SECRET_OPTIONS & given.keys())}
    environment = dict(os.environ)
    if connection.settings_dict["PASSWORD"]:
        environment["PGPASSWORD"] = str(connection.settings_dict["PASSWORD"])
    if application:
        environment["PGAPPNAME"] = application
    if options := _options(connection, settings or {}):
        environment["PGOPTIONS"] = options
    if not secrets:
        yield ClientAddress(make_conninfo(**given), environment)
        return
    if service := given.get("service") or environment.get("PGSERVICE"):
        raise CannotRun(
            f"Database {connection.alias!r}: {' and '.join(secrets)} of the URL cannot be given to "
            f"PostgreSQL's programs beside the service {service!r}. Put it into the service's file."
        )
    with tempfile.TemporaryDirectory(prefix="clean_slate_") as folder:
        file = Path(folder, "pg_service.conf")
        file.touch(mode=0o600)
        lines = [f"[{SERVICE}]", *(f"{name}={value}" for name, value in secrets.items())]
        file.write_text("\n".join([*lines, ""]), encoding="utf-8")
        environment["PGSERVICEFILE"] = str(file)
        yield ClientAddress(make_conninfo(**given, service=SERVICE), environment)


def _given(connection: BaseDatabaseWrapper, database: str | None) -> dict[str, Any]:
    """libpq's parameters as the user gave them, but with the one host that was reached."""
    settings = connection.settings_dict
    info = connection.connection.info
    given = {k: v for k, v in settings["OPTIONS"].items() if k in LIBPQ_OPTIONS - _ELSEWHERE}
    reached = {
        "dbname": database or settings["NAME"],
        "user": settings["USER"],
        # Of several hosts, or several addresses of one, a snapshot is known to a single server.
        "host": info.host,
        "hostaddr": info.hostaddr,
        "port": info.port,
    }
    return given | {name: value for name, value in reached.items() if value}


def _options(connection: BaseDatabaseWrapper, settings: Mapping[str, str]) -> str:
    """What the server gets at the start of the session; of two values the last one counts."""
    own = connection.settings_dict["OPTIONS"].get("options") or os.environ.get("PGOPTIONS", "")
    ours = (f"-c {name}={_escaped(value)}" for name, value in settings.items())
    return " ".join([own, *ours] if own else ours)


def _escaped(value: str) -> str:
    return "".join(f"\\{c}" if c in "\\ " else c for c in value)
