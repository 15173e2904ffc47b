"""Tables and views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .base import PUBLIC, Fact, Rows, Source, on_one_line


@dataclass(frozen=True, slots=True)
class Table(Fact):
    kind, plural = "table", "tables"
    # table, partitioned table, foreign table, view, materialized view
    type: str
    persistence: str = "permanent"
    row_security: bool = False
    force_row_security: bool = False
    replica_identity: str = "default"
    inherits: tuple[str, ...] = ()
    # PARTITION BY of a parent, FOR VALUES of a partition.
    partition_key: str | None = None
    partition_bound: str | None = None
    options: tuple[str, ...] = ()
    # Of a view.
    definition: str | None = None
    owner: str = ""

    @property
    def is_view(self) -> bool:
        return self.type in {"view", "materialized view"}

    @property
    def description(self) -> str:
        return f"{self.type} inheriting {', '.join(self.inherits)}" if self.inherits else self.type


QUERY = f"""
    SELECT c.oid, c.relname AS name, c.relkind AS type, c.relpersistence AS persistence,
           c.relrowsecurity AS row_security, c.relforcerowsecurity AS force_row_security,
           -- Without the index that it names, no column is told.
           CASE WHEN c.relreplident = 'i' AND NOT EXISTS (
               SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisreplident)
               THEN 'n' ELSE c.relreplident END AS replica_identity,
           CASE WHEN c.relhassubclass OR c.relispartition OR c.relkind = 'r' THEN array(
               SELECT i.inhparent::regclass::text FROM pg_inherits i
               WHERE i.inhrelid = c.oid ORDER BY i.inhseqno) ELSE '{{}}' END AS inherits,
           CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
           pg_get_expr(c.relpartbound, c.oid) AS partition_bound,
           c.reloptions AS options,
           CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END AS definition,
           pg_get_userbyid(c.relowner) AS owner
    FROM pg_class c
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND c.relnamespace = {PUBLIC}
"""
TYPES = {
    "r": "table",
    "p": "partitioned table",
    "f": "foreign table",
    "v": "view",
    "m": "materialized view",
}
PERSISTENCE = {"p": "permanent", "u": "unlogged", "t": "temporary"}
REPLICA_IDENTITY = {"d": "default", "n": "nothing", "f": "full", "i": "index"}


def read(rows: Rows) -> Iterator[Table]:
    for row in rows["tables"]:
        yield Table(
            table=row.name,
            type=TYPES[row.type],
            persistence=PERSISTENCE[row.persistence],
            row_security=row.row_security,
            force_row_security=row.force_row_security,
            replica_identity=REPLICA_IDENTITY[row.replica_identity],
            inherits=tuple(parent.removeprefix("public.") for parent in row.inherits or ()),
            partition_key=row.partition_key,
            partition_bound=row.partition_bound,
            options=tuple(sorted(row.options or ())),
            definition=on_one_line(row.definition) if row.definition else None,
            owner=rows.role(row.owner),
        )


SOURCE = Source("tables", lambda major: QUERY, read, "pg_class")
