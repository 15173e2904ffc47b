"""The sign-up bonus: the function ``signup_bonus_credits()``, written from SIGNUP_BONUS_CREDITS by ``migrate``.

A function, because whoever may migrate may write it, a dump has it, and a sign-up has nothing to look up.
"""

from __future__ import annotations

import logging
import re
from typing import TextIO

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from fltr_project.postgres.search_path import pinned
from fltr_project.routers import database_of
from fltr_project.words import counted

logger = logging.getLogger(__name__)

FUNCTION = "signup_bonus_credits"
# Its text, which every role may read; calling it is not everybody's right.
READ = """
    SELECT p.prosrc, pg_has_role(p.proowner, 'USAGE')
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = %s AND p.proname = %s AND p.pronargs = 0
"""
TEXT = re.compile(r"\s*SELECT (\d{1,10})\s*")


def stored(connection: BaseDatabaseWrapper, schema: str = "public") -> int | None:
    """The credits that a new user gets; None without the function, or with another text. Read-only."""
    return _read(connection, schema)[0]


def write(connection: BaseDatabaseWrapper, credits_: int) -> bool:
    """Make it ``credits_``; whether it is that now. In the caller's transaction.

    A role that does not own the function cannot: that is logged, not raised, as migrating where nothing
    is left to migrate is everybody's right. Nothing is done where there is no such function.
    """
    before, owns = _read(connection, "public")
    if owns is None or before == credits_:
        return before == credits_
    if not owns:
        logger.warning(
            "New users get %s still, not %s: only the owner of public.%s() may change that. Run "
            "`manage.py migrate` as the owner.",
            *(before, credits_, FUNCTION),
        )
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "CREATE OR REPLACE FUNCTION {}() RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS {}"
            ).format(sql.Identifier("public", FUNCTION), sql.Literal(f"SELECT {credits_}"))
        )
    return True


def write_configured(
    using: str, verbosity: int = 0, stdout: TextIO | None = None, **kwargs: object
) -> None:
    """After a migration: write SIGNUP_BONUS_CREDITS where it is set."""
    bonus = settings.SIGNUP_BONUS_CREDITS
    if using != database_of("auth_app") or bonus is None:
        return
    connection = connections[using]
    before = stored(connection)
    if write(connection, bonus) and before != bonus and verbosity and stdout:
        stdout.write(
            f"  New users get {counted(bonus, 'credits')} from now on (SIGNUP_BONUS_CREDITS); "
            f"before it were {'none' if before is None else before}.\n"
        )


def carry(connection: BaseDatabaseWrapper, old: str) -> str | None:
    """After a rebuild: take the bonus over from the schema ``old``, unless SIGNUP_BONUS_CREDITS is set.

    In the caller's transaction. What was done, in words; None where there was nothing to do.
    """
    kept = stored(connection, old)
    if kept is None or kept == stored(connection) or settings.SIGNUP_BONUS_CREDITS is not None:
        return None
    write(connection, kept)
    return f"new users get {counted(kept, 'credits')} as before"


def _read(connection: BaseDatabaseWrapper, schema: str) -> tuple[int | None, bool | None]:
    with pinned(connection) as cursor:
        cursor.execute(READ, [schema, FUNCTION])
        row = cursor.fetchone()
    if row is None:
        return None, None
    match = TEXT.fullmatch(row[0])
    return int(match.group(1)) if match else None, row[1]
