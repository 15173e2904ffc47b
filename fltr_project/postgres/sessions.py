"""The settings of our own sessions: a command does the same whatever role, database or server are set to.

`ALTER ROLE`, `ALTER DATABASE` and postgresql.conf may set what a session begins with to anything: a search_path
without ``public``, a DateStyle that psycopg does not read, a timeout of a second. Our commands and `migrate`
therefore set their own. Applications keep what they are configured with, but for a DateStyle
that Django could not read.

A pooler may hand the server's session to somebody else after each transaction. Nothing may stay in it then, so
behind one the settings are made anew in each transaction and end with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import Error as DatabaseError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql
from psycopg.errors import ActiveSqlTransaction, InsufficientPrivilege
from psycopg.pq import TransactionStatus

from fltr_project.errors import CannotRun
from fltr_project.routers import APP_DATABASES

from .addresses import DIRECT_URLS

# Milliseconds. Five seconds is what a queue of writers behind a lock is let wait (facts, R10).
LOCK_TIMEOUT = 5_000
# Without pg_temp, which would be the place to create in where there is no public.
SEARCH_PATH = "public"
ISO = "ISO, MDY"

# The timeouts come first: the statement that sets them is under those of before.
SETTINGS = {
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": str(LOCK_TIMEOUT),
    "exit_on_error": "off",
    # Where names are looked up, and where what is made goes to.
    "search_path": SEARCH_PATH,
    "default_tablespace": "",
    "temp_tablespaces": "",
    "default_table_access_method": "heap",
    # What a transaction is, and what it sees.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "row_security": "on",
    "restrict_nonsystem_relation_kind": "",
    "gin_fuzzy_search_limit": "0",
    # How statements are read.
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "xmloption": "content",
    "check_function_bodies": "on",
    "timezone_abbreviations": "Default",
    # How values are written.
    "TimeZone": "UTC",
    "DateStyle": ISO,
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "quote_all_identifiers": "off",
    "xmlbinary": "base64",
    "client_min_messages": "notice",
}
# The major version from which on every server knows a setting.
_SINCE = {"transaction_timeout": 17, "restrict_nonsystem_relation_kind": 17}
# These count where the connection's own options name them: who began the command wants to wait longer.
_CHOSEN = ("lock_timeout", "statement_timeout")


@dataclass(frozen=True)
class _Session:
    settings: dict[str, str]
    # Whether a pooler hands it to somebody else after each transaction.
    shared: bool


# How many blocks of ``own`` are open, in whatever thread.
_open_blocks = 0
# Of the connections that have our settings.
_sessions: WeakKeyDictionary[psycopg.Connection[Any], _Session] = WeakKeyDictionary()


@contextmanager
def own() -> Iterator[None]:
    """Give every connection that is opened in the block, by any thread, our settings; then close this thread's."""
    global _open_blocks
    _open_blocks += 1
    try:
        yield
    finally:
        _open_blocks -= 1
        for connection in connections.all(initialized_only=True):
            # An application that has called a command goes on with what it is configured with.
            if connection.connection in _sessions and not connection.in_atomic_block:
                connection.close()


def settle(connection: BaseDatabaseWrapper) -> None:
    """What an open connection begins with: our settings within ``own``, else what Django cannot do without."""
    raw = connection.connection
    if _open_blocks:
        take(connection)
    elif not (raw.info.parameter_status("DateStyle") or "ISO").startswith("ISO"):
        # As Django does it with the TimeZone; poolers keep both by client.
        with connection.wrap_database_errors:
            raw.execute("SELECT pg_catalog.set_config('DateStyle', %s, false)", [ISO])


def take(connection: BaseDatabaseWrapper) -> None:
    """Give an open connection our settings until it is closed, in one round trip; none if it has them.

    Raises CannotRun for a setting that only a superuser may change back.
    """
    raw = connection.connection
    if raw in _sessions:
        return
    settings = _settings(connection)
    is_another = sql.SQL("pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) {}").format(
        raw.info.backend_pid
    )
    query = sql.SQL("SELECT {}, pg_catalog.current_setting('session_replication_role'), {}").format(
        is_another,
        # Behind a pooler they are local, which here means that nothing has happened.
        sql.SQL(", ").join(
            sql.SQL("pg_catalog.set_config({}, {}, {})").format(name, value, is_another)
            for name, value in settings.items()
        ),
    )
    with connection.wrap_database_errors:
        shared, replication_role, *_ = raw.execute(query, prepare=False).fetchone()
    if replication_role != "origin":
        settings["session_replication_role"] = "origin"
        _fire_triggers(connection, shared)
    _sessions[raw] = _Session(settings, shared)
    if shared:
        _share(connection)


def is_shared(connection: BaseDatabaseWrapper) -> bool:
    """Whether a pooler stands between this connection, which has our settings, and its server."""
    session = _sessions.get(connection.connection)
    return session is not None and session.shared


def for_program(connection: BaseDatabaseWrapper, program: str) -> dict[str, str]:
    """What the session of pg_dump and its like is to begin with, on the server of this connection.

    Raises CannotRun behind a pooler that hands sessions on after each transaction: these programs set theirs
    outside of one, and leave them as they are.
    """
    if not is_shared(connection):
        return _settings(connection)
    if _is_handed_on(connection):
        raise CannotRun(
            f"Database {connection.alias!r} is reached through a pooler that hands sessions on, and {program} "
            f"would leave its settings to others. {set_direct(connection)}"
        )
    # The session is the program's own, but a pooler refuses what it does not keep itself.
    return {}


def require_session(connection: BaseDatabaseWrapper) -> None:
    """Raise CannotRun behind a pooler, where a statement outside of a transaction cannot bound its waiting.

    The lock timeout would be somebody else's a moment later.
    """
    if is_shared(connection):
        raise CannotRun(
            f"Database {connection.alias!r} is reached through a pooler, and a statement outside of a "
            f"transaction cannot have a lock timeout there. Nothing was changed. {set_direct(connection)}"
        )


@contextmanager
def outside_transactions(connection: BaseDatabaseWrapper, lock_timeout: int) -> Iterator[None]:
    """Bound the waiting of a statement that cannot run in a transaction, to this many milliseconds.

    Not for a session that ``require_session`` refuses.
    """
    raw = connection.connection
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.current_setting('lock_timeout')")
        (before,) = cursor.fetchone()
        cursor.execute(_LOCK_TIMEOUT, [str(lock_timeout)])
        try:
            yield
        finally:
            if not raw.closed:
                cursor.execute(_LOCK_TIMEOUT, [before])


def set_direct(connection: BaseDatabaseWrapper) -> str:
    """What a person can do about a pooler."""
    return (
        f"Set {DIRECT_URLS.get(connection.alias, 'its URL')} to the address of the server itself, which "
        "commands then use."
    )


def _settings(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Those that the connection's server knows, but for what is the user's to say."""
    raw = connection.connection
    options = connection.settings_dict["OPTIONS"].get("options") or os.environ.get("PGOPTIONS", "")
    major = raw.info.server_version // 10000
    if raw.info.transaction_status == TransactionStatus.IDLE:
        left = {name for name in _CHOSEN if name in options}
    else:
        # Whoever has begun it has said how long to wait.
        left = set(_CHOSEN)
    left |= {name for name, since in _SINCE.items() if major < since}
    if connection.alias not in APP_DATABASES.values():
        # Django's own tables are where its URL says, and applications look for them there.
        left.add("search_path")
    return {name: value for name, value in SETTINGS.items() if name not in left}


def _fire_triggers(connection: BaseDatabaseWrapper, shared: bool) -> None:
    """Without triggers no key is checked and no account opened; only a superuser may change it back."""
    try:
        with connection.wrap_database_errors:
            connection.connection.execute(
                "SELECT pg_catalog.set_config('session_replication_role', 'origin', %s)", [shared]
            )
    except DatabaseError as error:
        if not isinstance(error.__cause__, InsufficientPrivilege):
            raise
        raise CannotRun(
            f"Sessions of database {connection.alias!r} begin with session_replication_role = replica, in "
            "which no trigger and no foreign key works, and this role may not change that. Have a "
            "superuser reset it (ALTER ROLE or ALTER DATABASE ... RESET session_replication_role)."
        ) from error


# --- behind a pooler

# Looks at whose the sessions are: one that is free is handed to whoever asks next.
LOOKS = 5


def _is_handed_on(connection: BaseDatabaseWrapper) -> bool:
    """Whether two clients of the pooler are served by one session, or one client by two."""
    clients = (connection.copy(), connection.copy())
    try:
        seen = set()
        for _ in range(LOOKS):
            for client in clients:
                with client.cursor() as cursor:
                    cursor.execute("SELECT pg_catalog.pg_backend_pid()")
                    seen.add((client, *cursor.fetchone()))
    finally:
        for client in clients:
            client.close()
    return len(seen) != 2 or len({pid for _, pid in seen}) != 2


def _share(connection: BaseDatabaseWrapper) -> None:
    raw = connection.connection
    if raw.info.transaction_status == TransactionStatus.IDLE:
        # With BEGIN itself: the defaults that are set in a transaction are for the next one.
        raw.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        raw.read_only = raw.deferrable = False
    if _begin_with_settings not in connection.execute_wrappers:
        connection.execute_wrappers.append(_begin_with_settings)


def _begin_with_settings(
    execute: Callable[..., Any], statement: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Have every transaction begin with our settings, and every statement be in one that can be."""
    connection: BaseDatabaseWrapper = context["connection"]
    raw = connection.connection
    if not is_shared(connection) or raw.info.transaction_status != TransactionStatus.IDLE:
        return execute(statement, params, many, context)
    # Taking no snapshot, so that the transaction's isolation level may still be set.
    settings = sql.SQL("; ").join(
        sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in _sessions[raw].settings.items()
    )
    if not raw.autocommit:
        with connection.wrap_database_errors:
            raw.execute(settings, prepare=False)
        return execute(statement, params, many, context)
    try:
        with connection.wrap_database_errors, raw.transaction():
            raw.execute(settings, prepare=False)
            return execute(statement, params, many, context)
    except DatabaseError as error:
        # CREATE DATABASE, VACUUM.
        if not isinstance(error.__cause__, ActiveSqlTransaction):
            raise
    return execute(statement, params, many, context)


_LOCK_TIMEOUT = "SELECT pg_catalog.set_config('lock_timeout', %s, false)"
