"""Settings of the database that change what its clients read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .base import Fact, Rows, Source


@dataclass(frozen=True, slots=True)
class Setting(Fact):
    kind, plural = "setting", "settings"
    key = ("name",)
    name: str
    value: str

    @property
    def object(self) -> str:
        return f"{self.name} of the database"

    @property
    def description(self) -> str:
        return self.value


# The database's own, or what the session has: that is what a client gets that sets none.
QUERY = """
    SELECT coalesce((SELECT split_part(setting, '=', 2)
                     FROM pg_db_role_setting s, unnest(s.setconfig) AS setting
                     WHERE s.setdatabase = d.oid AND s.setrole = 0
                       AND lower(setting) LIKE 'timezone=%'),
                    current_setting('TimeZone')) AS time_zone,
           d.datname AS database, pg_get_userbyid(d.datdba) AS owner
    FROM pg_database d WHERE d.datname = current_database()
"""
UTC = frozenset({"UTC", "ETC/UTC", "UCT", "ETC/UCT", "UNIVERSAL", "ETC/UNIVERSAL", "ZULU"})


def read(rows: Rows) -> Iterator[Setting]:
    for row in rows["settings"]:
        yield Setting("", "TimeZone", "UTC" if row.time_zone.upper() in UTC else row.time_zone)


SOURCE = Source("settings", lambda major: QUERY, read)
