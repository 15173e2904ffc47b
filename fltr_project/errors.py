"""What can go wrong, one class per cause, and how each is told to a person.

CleanSlateError
├── CannotRun      2  usage, connection, permission
├── Refused        3  a guard said no
├── Declined       4  the person said no
├── Blocked        5  other sessions hold a lock
├── BackupFailed   6  nothing was touched
└── RolledBack     7  it failed half-way and is as it was before
"""

from __future__ import annotations

import re
import sqlite3

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db.migrations.exceptions import MigrationSchemaMissing

from .words import visible

# What the server says of a statement that a client has prepared, or has not, in somebody else's session.
PREPARED_ELSEWHERE = (
    psycopg.errors.InvalidSqlStatementName,
    psycopg.errors.DuplicatePreparedStatement,
)


class CleanSlateError(Exception):
    """A failure with a sentence for the user and the exit code of its cause."""

    exit_code = 2


class CannotRun(CleanSlateError):
    """Usage, connection or permission: nothing was done."""


class ChecksFailed(CleanSlateError):
    """What was done stands, and a check of it has failed."""

    exit_code = 1


class Refused(CleanSlateError):
    """A guard refused; the message names the guard and how to satisfy it."""

    exit_code = 3


class Declined(CleanSlateError):
    """The person at the prompt said no."""

    exit_code = 4


class Blocked(CleanSlateError):
    """Other sessions hold what this needs; the message names them."""

    exit_code = 5


class BackupFailed(CleanSlateError):
    """No verified backup could be made, so nothing was touched."""

    exit_code = 6


class RolledBack(CleanSlateError):
    """It failed half-way; every change was rolled back."""

    exit_code = 7


def cause_of(error: BaseException) -> BaseException:
    """What a database client has raised, where Django has wrapped it; else the error itself."""
    if isinstance(error, MigrationSchemaMissing) and error.__context__ is not None:
        # `migrate` could not make the table of its record; the reason is what it was handling.
        return cause_of(error.__context__)
    return (error.__cause__ or error) if isinstance(error, DatabaseError) else error


def explain(error: BaseException) -> str | None:
    """What happened, for an error that is the user's to mend, or None for one that is ours.

    Never repeats a password: PostgreSQL and libpq do not print them, and the settings that hold
    them are not quoted here.
    """
    if isinstance(error, CleanSlateError | ImproperlyConfigured):
        return str(error)
    if isinstance(error, PermissionError) and error.filename:
        return f"This user may not use {error.filename}. Run as its owner, or change its mode."
    cause = cause_of(error)
    if isinstance(cause, sqlite3.OperationalError) and "no such table" in str(cause):
        return f"Django's own tables are not there: {cause}."
    if isinstance(cause, sqlite3.OperationalError):
        return (
            f"Django's own database, the SQLite file {settings.DATABASES['default']['NAME']}, cannot be used: "
            f"{cause}. Make its directory writable, or set CONTROL_DATABASE_URL to another database."
        )
    if not isinstance(cause, psycopg.Error):
        return None
    reason = _first_line(cause)
    if where := _inside(cause):
        return f"The server refused: {reason}, in {where}."
    if isinstance(cause, psycopg.errors.InsufficientPrivilege):
        if "row-level security" in reason:
            return f"The server refused: {reason}. Connect as a superuser or a role with BYPASSRLS."
        return (
            f"The server refused: {reason}. Connect as the owner of what it names, or a superuser."
        )
    if isinstance(cause, PREPARED_ELSEWHERE):
        return (
            f"A pooler has handed on the session that a statement was prepared in: {reason}. Set "
            "PREPARED_STATEMENTS=off, or use a pooler that knows prepared statements (PgBouncer 1.21 or newer, "
            "with max_prepared_statements)."
        )
    if isinstance(cause, psycopg.errors.ReadOnlySqlTransaction):
        return f"The server is read-only: {reason}. Connect to the primary server."
    if isinstance(cause, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled):
        return f"The server gave up waiting: {reason}. Try again when the other sessions are done."
    if isinstance(cause, psycopg.errors.InvalidSchemaName):
        return f"There is no schema public: {reason}."
    if isinstance(cause, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedFunction):
        return f"The schema is not there or not whole: {reason}."
    if isinstance(cause, psycopg.OperationalError) and (
        # A connection that never was still carries what libpq has to say; psycopg resolves the host.
        cause.pgconn is not None or "resolve host" in reason
    ):
        return (
            f"Cannot connect: {reason}. Check that the server runs and that the URL names the "
            "right host, port, database, user and password."
        )
    if isinstance(cause, psycopg.ProgrammingError) and cause.sqlstate is None:
        return f"The database URL cannot be used: {reason}. Check its options."
    if isinstance(cause, psycopg.OperationalError):
        return f"The server ended the work: {reason}. Check the server, then run the command again."
    return None


def _first_line(error: psycopg.Error) -> str:
    text = error.diag.message_primary or next(iter(str(error).strip().splitlines()), "no reason")
    return visible(text.removeprefix("connection failed: ").strip().rstrip("."))


# In a function of PL/pgSQL, as the server says it.
FUNCTION = re.compile(r"PL/pgSQL function (\S+\(.*?\))")
REFUSALS = (psycopg.errors.RaiseException, psycopg.errors.InsufficientPrivilege)


def _inside(error: psycopg.Error) -> str | None:
    """The function of somebody's that has refused, where one has."""
    found = FUNCTION.findall(error.diag.context or "")
    return f"function {visible(found[-1])}" if found and isinstance(error, REFUSALS) else None
