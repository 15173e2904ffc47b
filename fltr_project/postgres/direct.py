"""Schema work past a pooler: `AUTH_DIRECT_URL` and `FLTR_DIRECT_URL`, where they are set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error as DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from fltr_project.errors import CannotRun, explain

from . import sessions
from .addresses import DATABASE_URLS, DIRECT_URLS
from .search_path import pinned

# The key of an alias's settings that holds those of the server itself.
DIRECT = "DIRECT"
# The connections that reach the server itself just now, with their usual settings.
_turned: list[tuple[BaseDatabaseWrapper, dict[str, Any]]] = []

WHO = """
    SELECT d.datname, d.oid::bigint, (SELECT system_identifier FROM pg_control_system())
    FROM pg_database d WHERE d.datname = current_database()
"""


@contextmanager
def schema_work() -> Iterator[None]:
    """Within the block sessions have our settings (``sessions.own``); connections are as before after it."""
    before = len(_turned)
    try:
        with sessions.own():
            yield
    finally:
        while len(_turned) > before:
            connection, usual = _turned.pop()
            connection.close()
            connection.settings_dict = usual


def turn(connection: BaseDatabaseWrapper) -> None:
    """Have the connection reach the server itself, where the settings say how.

    Raises CannotRun when that is another database than the one that applications reach, or when one of them
    cannot be asked. Does nothing within a transaction.
    """
    usual = connection.settings_dict
    address = usual.get(DIRECT)
    if address is None or connection.in_atomic_block:
        return
    if problem := address.get("PROBLEM"):
        raise CannotRun(problem)
    usual_name, direct_name = DATABASE_URLS[connection.alias], DIRECT_URLS[connection.alias]
    theirs = _who(connection, usual_name)
    connection.close()
    connection.settings_dict = {k: v for k, v in usual.items() if k != DIRECT} | address
    _turned.append((connection, usual))
    ours = _who(connection, direct_name)
    if ours != theirs:
        raise CannotRun(
            f"{direct_name} reaches {_described(ours)}, and {usual_name} {_described(theirs)}. "
            "Both must reach the same database: one past the pooler, the other through it."
        )


def _who(connection: BaseDatabaseWrapper, variable: str) -> tuple[str, int, int]:
    """Name and oid of the database, and the identifier of its server."""
    try:
        with pinned(connection) as cursor:
            cursor.execute(WHO)
            name, oid, server = cursor.fetchone()
    except DatabaseError as error:
        raise CannotRun(
            f"{variable}: {explain(error) or error} With {DIRECT_URLS[connection.alias]} set, both addresses are "
            "asked whether they are the same database."
        ) from error
    return name, oid, server


def _described(who: tuple[str, int, int]) -> str:
    name, oid, server = who
    return f"database {name!r} (oid {oid}) of server {server}"
