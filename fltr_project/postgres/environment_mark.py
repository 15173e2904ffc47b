"""The mark that says what a database is: production, staging, test, development.

It stands in the database's comment, after whatever is written there, which is the one place that the owner
may write to on every server and that goes into no dump and no copy by template. It names its database by
name and oid, and counts for that one only: a renamed or restored one is unmarked, which protects its rows.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from .search_path import pinned

# The names are written without any character that could end a mark.
MARK = re.compile(r"\s*\[fltr\.environment=(\S+) of (\S+) (\d+)\]")
READ = """
    SELECT d.datname, d.oid::bigint, shobj_description(d.oid, 'pg_database')
    FROM pg_database d WHERE d.datname = current_database()
"""


def marked(comment: str | None, database: str, oid: int) -> str | None:
    """The environment that a comment gives to this database; None where it gives none."""
    found = [
        environment
        for environment, name, number in MARK.findall(comment or "")
        if (name, number) == (_written(database), str(oid))
    ]
    return found[-1] if found else None


def with_mark(comment: str | None, environment: str, database: str, oid: int) -> str:
    """The comment with this mark at its end, in place of every other mark."""
    rest = MARK.sub("", comment or "").rstrip()
    mark = f"[fltr.environment={environment} of {_written(database)} {oid}]"
    return f"{rest}\n{mark}" if rest else mark


def write(connection: BaseDatabaseWrapper, environment: str) -> None:
    """Mark the database of the connection, in the caller's transaction. Only its owner may."""
    with pinned(connection) as cursor:
        cursor.execute(READ)
        database, oid, comment = cursor.fetchone()
        if marked(comment, database, oid) != environment:
            cursor.execute(statement(comment, environment, database, oid))


def statement(
    comment: str | None, environment: str, database: str, oid: int, final_name: str | None = None
) -> sql.Composed:
    """The statement that marks; ``final_name`` is what the database is going to be renamed to."""
    return sql.SQL("COMMENT ON DATABASE {} IS {}").format(
        sql.Identifier(database),
        sql.Literal(with_mark(comment, environment, final_name or database, oid)),
    )


def _written(database: str) -> str:
    return quote(database, safe="")
