"""What ``ALTER DATABASE ... SET`` has stored: the TimeZone.

Read from the catalog, not with ``current_setting``: a session can set those values for itself, and
keeps the ones that it began with.
"""

from __future__ import annotations

import logging

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from .search_path import pinned

logger = logging.getLogger(__name__)

READ = """
    SELECT d.datname, pg_has_role(d.datdba, 'USAGE'),
           array(SELECT unnest(s.setconfig) FROM pg_db_role_setting s
                 WHERE s.setdatabase = d.oid AND s.setrole = 0)
    FROM pg_database d WHERE d.datname = current_database()
"""


def get(connection: BaseDatabaseWrapper, name: str) -> str | None:
    """The value stored for all roles of this database, or None. Read-only."""
    with pinned(connection) as cursor:
        cursor.execute(READ)
        _, _, stored = cursor.fetchone()
    return _value(stored, name)


def ensure(connection: BaseDatabaseWrapper, name: str, value: str) -> bool:
    """Store the setting for all roles of this database unless it stands there; whether it does now.

    Transactional. A role that does not own the database cannot: that is logged, not raised,
    because migrating a schema does not need the ownership.
    """
    with pinned(connection) as cursor:
        cursor.execute(READ)
        database, owns, stored = cursor.fetchone()
        if _value(stored, name) == value:
            return True
        if not owns:
            logger.warning(
                "%s of database %s was not set to %s: only its owner may. Run as the owner: "
                "ALTER DATABASE %s SET %s = '%s'",
                *(name, database, value, database, name, value),
            )
            return False
        cursor.execute(
            sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                sql.Identifier(database), sql.Identifier(*name.split(".")), sql.Literal(value)
            )
        )
    return True


def _value(stored: list[str], name: str) -> str | None:
    settings = (setting.partition("=") for setting in stored)
    # PostgreSQL keeps the spelling of its own settings, not that of the statement: TimeZone.
    return next((value for key, _, value in settings if key.lower() == name.lower()), None)
