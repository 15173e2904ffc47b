"""What is there and no kind of fact tells of, so that it is not taken for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .base import PUBLIC, Fact, Rows, Source

# The newest PostgreSQL whose catalogs are known.
NEWEST = 18


@dataclass(frozen=True)
class Unread:
    """What could not be read or is not known, and why; ``kinds`` are not compared for it."""

    what: str
    why: str
    kinds: tuple[type[Fact], ...] = ()


# Kinds of relations, types, constraints and functions that came later, or that only a superuser makes.
QUERY = f"""
    SELECT 'pg_class' AS catalog, c.oid, pg_describe_object('pg_class'::regclass, c.oid, 0) AS name
    FROM pg_class c
    WHERE c.relnamespace = {PUBLIC} AND c.relkind NOT IN ('r', 'p', 'f', 'v', 'm', 'S', 'i', 'I', 'c', 't')
    UNION ALL
    SELECT 'pg_type', t.oid, pg_describe_object('pg_type'::regclass, t.oid, 0)
    FROM pg_type t
    WHERE t.typnamespace = {PUBLIC} AND t.typtype NOT IN ('e', 'd', 'r', 'c', 'm') AND t.typelem = 0
    UNION ALL
    SELECT 'pg_constraint', con.oid, pg_describe_object('pg_constraint'::regclass, con.oid, 0)
    FROM pg_constraint con
    WHERE con.connamespace = {PUBLIC} AND con.contype NOT IN ('c', 'f', 'n', 'p', 'u', 't', 'x')
    UNION ALL
    SELECT 'pg_proc', p.oid, pg_describe_object('pg_proc'::regclass, p.oid, 0)
    FROM pg_proc p
    WHERE p.pronamespace = {PUBLIC} AND p.prokind NOT IN ('f', 'p', 'a', 'w')
"""


def read(rows: Rows) -> Iterator[Fact]:
    """No facts: ``strange`` tells of them."""
    yield from ()


def strange(rows: Rows, major: int) -> Iterator[Unread]:
    """What this program does not know, on a server of the given major version."""
    if major > NEWEST:
        why = f"PostgreSQL {major} is newer than {NEWEST}, the newest that is known here"
        yield Unread("what has come with this version", why)
    for name in sorted(row.name for row in rows["unknown"]):
        yield Unread(name, "it is of a kind that is not compared")


SOURCE = Source("unknown", lambda major: QUERY, read, None)
