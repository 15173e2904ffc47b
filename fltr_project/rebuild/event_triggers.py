"""The event triggers of others that run on what is done to schema ``public``: named, and taken back where they only hang on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from fltr_project.drift.compare import Finding
from fltr_project.postgres.search_path import pinned
from fltr_project.words import counted, listed

from .schema_properties import SCHEMA


@dataclass(frozen=True)
class EventTrigger:
    """One that runs on some command of a rebuild."""

    name: str
    event: str
    # With its schema, and whose it is.
    function: str
    owner: str

    def __str__(self) -> str:
        return f"{self.name} (at {self.event}, function {self.function} of role {self.owner})"


def firing(cursor: CursorWrapper) -> tuple[EventTrigger, ...]:
    """Those that run on what this project does in this session. Read-only; within ``pinned``."""
    cursor.execute(FIRING, [list(COMMANDS)])
    return tuple(EventTrigger(*row) for row in cursor.fetchall())


def named(triggers: Iterable[EventTrigger]) -> str:
    """A sentence for an error that they may have made; empty where there are none. Pure."""
    names = [str(each) for each in triggers]
    if not names:
        return ""
    return f" Event triggers run on what is made there, and may have done this: {listed(names)}."


def made(
    triggers: Sequence[EventTrigger], before: Collection[Finding], after: Iterable[Finding]
) -> str:
    """What they have made of new tables, which are otherwise as the contract says; empty for nothing. Pure."""
    known = {each.id for each in before}
    new = [each.title for each in after if each.id not in known]
    if not triggers or not new:
        return ""
    return f"event triggers made besides: {listed(new)}"


def take_back_row_security(
    connection: BaseDatabaseWrapper, triggers: Sequence[EventTrigger], tables: Iterable[str]
) -> str:
    """Turn off what migrations never turn on, in the caller's transaction; a few words, empty for nothing.

    Where it was on before, it is put back with the rest of what hung on the tables (``put_back``).
    """
    if not triggers:
        return ""
    with pinned(connection) as cursor:
        cursor.execute(SECURED, [SCHEMA, list(tables)])
        secured = [name for (name,) in cursor.fetchall()]
        for name in secured:
            cursor.execute(
                sql.SQL(
                    "ALTER TABLE {} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY"
                ).format(sql.Identifier(SCHEMA, name))
            )
    if not secured:
        return ""
    names = ", ".join(each.name for each in triggers)
    return (
        f"row security of {counted(len(secured), 'tables')} turned off, which no migration but an event "
        f"trigger turned on ({names})"
    )


# What migrations, setting aside and putting back send, as event triggers name it.
COMMANDS = (
    *("CREATE SCHEMA", "ALTER SCHEMA", "CREATE TABLE", "ALTER TABLE", "DROP TABLE", "CREATE INDEX"),
    *("CREATE SEQUENCE", "ALTER SEQUENCE", "CREATE FUNCTION", "ALTER FUNCTION", "CREATE TRIGGER"),
    *("CREATE TYPE", "CREATE VIEW", "CREATE POLICY", "CREATE STATISTICS", "COMMENT", "GRANT"),
    *("REVOKE", "ALTER DEFAULT PRIVILEGES", "ALTER EXTENSION", "ALTER PUBLICATION", "DROP SCHEMA"),
)
FIRING = """
    SELECT e.evtname, e.evtevent, format('%%I.%%I()', n.nspname, p.proname),
           pg_get_userbyid(p.proowner)
    FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
    JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE e.evtenabled = ANY (CASE current_setting('session_replication_role')
                              WHEN 'replica' THEN '{R,A}' ELSE '{O,A}' END::"char"[])
      AND e.evtevent <> 'login' AND (e.evttags IS NULL OR e.evttags && %s::text[])
    ORDER BY 1
"""
SECURED = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relname = ANY (%s) AND (c.relrowsecurity OR c.relforcerowsecurity)
    ORDER BY 1
"""
