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

import sqlite3

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db.migrations.exceptions import MigrationSchemaMissing


class CleanSlateError(Exception):
    """A failure with a sentence for the user and the exit code of its cause."""

    exit_code = 2


class CannotRun(CleanSlateError):
    """Usage, connection or permission: nothing was done."""


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


def explain(error: BaseException) -> str | None:
    """One sentence for an error that is the user's to mend, or None for one that is ours.

    Never repeats a password: PostgreSQL and libpq do not print them, and the settings that hold
    them are not quoted here.
    """
    if isinstance(error, CleanSlateError | ImproperlyConfigured):
        return str(error)
    if isinstance(error, PermissionError) and error.filename:
        return f"This user may not use {error.filename}. Run as its owner, or change its mode."
    if isinstance(error, MigrationSchemaMissing) and error.__context__ is not None:
        # `migrate` could not make the table of its record; the reason is what it was handling.
        return explain(error.__context__)
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    if isinstance(cause, sqlite3.OperationalError) and "no such table" in str(cause):
        return f"Django's own tables are not there: {cause}. Run `manage.py migrate`."
    if isinstance(cause, sqlite3.OperationalError):
        return (
            f"Django's own database, a SQLite file under var/, cannot be used: {cause}. Make var/ "
            "writable, or set CONTROL_DATABASE_URL to a PostgreSQL database."
        )
    if not isinstance(cause, psycopg.Error):
        return None
    reason = _first_line(cause)
    if isinstance(cause, psycopg.errors.InsufficientPrivilege):
        return f"The server refused: {reason}. Connect as a role that owns the database."
    if isinstance(cause, psycopg.errors.ReadOnlySqlTransaction):
        return (
            f"The connection is read-only: {reason}. Connect to the primary server, as a role "
            "without default_transaction_read_only."
        )
    if isinstance(cause, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled):
        return f"The server gave up waiting: {reason}. Try again when the other sessions are done."
    if isinstance(cause, psycopg.errors.InvalidSchemaName):
        return (
            f"There is no schema public: {reason}. Run `manage.py nuke_schema --database ALIAS`, "
            "which makes an empty one."
        )
    if isinstance(cause, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedFunction):
        return f"The schema is not there or not whole: {reason}. Run `manage.py verify_schema`."
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
    return text.removeprefix("connection failed: ").strip().rstrip(".")
