"""What has no module of its own here: operators, collations, statistics, aggregates, event triggers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .base import PUBLIC, Fact, Rows, Source


@dataclass(frozen=True, slots=True)
class Other(Fact):
    kind, plural = "other object", "other objects"
    key = ("type", "name")
    type: str
    name: str
    definition: str = ""

    @property
    def object(self) -> str:
        return f"{self.type} {self.name}"

    @property
    def description(self) -> str:
        return self.definition or "an other object"


QUERY = f"""
    SELECT d.classid::regclass::text AS catalog, d.objid AS oid, o.type, o.identity AS name,
           CASE d.classid WHEN 'pg_statistic_ext'::regclass
           THEN pg_get_statisticsobjdef(d.objid) ELSE '' END AS definition
    FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) o
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = {PUBLIC}
      AND (d.classid NOT IN ('pg_class'::regclass, 'pg_type'::regclass,
                             'pg_proc'::regclass, 'pg_extension'::regclass,
                             'pg_default_acl'::regclass)
           OR d.classid = 'pg_proc'::regclass AND EXISTS (
               SELECT FROM pg_proc p WHERE p.oid = d.objid AND p.prokind IN ('a', 'w')))
    UNION ALL
    SELECT 'pg_event_trigger', oid, 'event trigger', quote_ident(evtname),
           'ON ' || evtevent || ' EXECUTE FUNCTION ' || evtfoid::regproc || '() enabled '
               || evtenabled::text
    FROM pg_event_trigger
"""


def read(rows: Rows) -> Iterator[Other]:
    for row in rows["others"]:
        yield Other("", row.type, row.name, row.definition)


SOURCE = Source("others", lambda major: QUERY, read, None)
