"""What is sent to PostgreSQL, by whatever way, and where names were looked up at that moment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import pq, sql


@dataclass(frozen=True)
class Sent:
    text: str
    # Of the server, as it was before the statement; "" in a transaction that had failed.
    search_path: str

    @property
    def is_pinned(self) -> bool:
        schemas = {name.strip().strip('"') for name in self.search_path.split(",")}
        return (
            schemas <= {"pg_catalog", "pg_temp", ""} or SETS_IT_FIRST.match(self.text) is not None
        )

    @property
    def calls(self) -> tuple[str, ...]:
        """The functions and operators that are named without their schema."""
        text = NO_CODE.sub(" ", self.text)
        text = QUALIFIED_OPERATOR.sub(" ", text)
        functions = {name.lower() for name in CALL.findall(text)} - SYNTAX
        return tuple(sorted(functions | set(OPERATOR.findall(text))))


# One message of several statements, the first of which look nothing up.
SETS_IT_FIRST = re.compile(
    r"\s*((BEGIN[\w ,]*|SAVEPOINT \w+);\s*)?SET LOCAL search_path = (''|pg_catalog, pg_temp)\s*(;|$)"
)
NO_CODE = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|%\(\w+\)s|%s")
QUALIFIED_OPERATOR = re.compile(r"OPERATOR\s*\(pg_catalog\.[^)]+\)")
CALL = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s*\(")
OPERATOR = re.compile(r"(?<![-+*/<>=~!@#%^&|`?:(.,])[-+*/<>=~!@#^&|?]+(?![-+*/<>=~!@#%^&|`?)])")
# What looks like a call and is none.
SYNTAX = frozenset(
    """and any array as by check coalesce conflict exists extract filter from greatest in into key least
    lateral not nullif on or over partition references returning row select table then unique using values
    when where with all materialized numeric varchar char default""".split()  # noqa: SIM905
)


@contextmanager
def spying(patch: pytest.MonkeyPatch) -> Iterator[list[Sent]]:
    """Every statement of the block that goes through psycopg."""
    sent: list[Sent] = []

    def watched(name: str) -> None:
        original = getattr(psycopg.Cursor, name)

        def method(self: psycopg.Cursor[Any], query: Any, *arguments: Any, **options: Any) -> Any:
            text = query.as_string(self.connection) if isinstance(query, sql.Composable) else query
            text = text.decode() if isinstance(text, bytes) else text
            sent.append(Sent(text, _search_path(self.connection)))
            return original(self, query, *arguments, **options)

        inside.setattr(psycopg.Cursor, name, method)

    with patch.context() as inside:
        for name in ("execute", "executemany", "stream", "copy"):
            watched(name)
        yield sent


def _search_path(connection: psycopg.Connection[Any]) -> str:
    if connection.info.transaction_status == pq.TransactionStatus.INERROR:
        return ""
    # By libpq itself, so that this is not seen here, and begins no transaction.
    result = connection.pgconn.exec_(b"SHOW search_path")
    return (result.get_value(0, 0) or b"").decode()
