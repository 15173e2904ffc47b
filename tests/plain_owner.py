"""A role that owns its databases and nothing else, as managed servers give one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from tests.conftest import ALL_ALIASES, Databases


@dataclass(frozen=True)
class PlainOwner(Databases):
    """The databases of ``role``, all empty; ``application`` may log in and no more."""

    role: str
    application: str
    host: str
    port: int

    def url(self, alias: str) -> str:
        host = quote(self.host, safe="")
        return f"postgresql://{self.role}@/{self.names[alias]}?host={host}&port={self.port}"

    def connect(self, alias: str, **options: Any) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url(alias), **options, autocommit=True)

    def environment(self) -> dict[str, str]:
        return {
            "AUTH_DATABASE_URL": self.url("auth"),
            "FLTR_DATABASE_URL": self.url("fltr"),
            "CONTROL_DATABASE_URL": self.url("default"),
            "SIGNUP_BONUS_CREDITS": "50",
            "DEBUG": "off",
            "ALLOWED_HOSTS": "localhost",
            "SECRET_KEY": "for this test only: " + "0123456789" * 5,
        }


@contextmanager
def plain_owner(databases: Databases) -> Iterator[PlainOwner]:
    """Make the role on the server of ``databases``, and drop it with all it has when the block ends."""
    run_id = uuid.uuid4().hex[:8]
    role, application = f"plain_{run_id}", f"plain_{run_id}_app"
    names = {alias: f"cs_plain_{alias}_{run_id}" for alias in (*ALL_ALIASES, "target")}
    with databases.connect("auth") as superuser:
        for each in (role, application):
            superuser.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(each)))
        for name in names.values():
            superuser.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
                    sql.Identifier(name), sql.Identifier(role)
                )
            )
        try:
            server = superuser.info
            yield PlainOwner(names, role, application, server.host, server.port)
        finally:
            for name in names.values():
                superuser.execute(
                    sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
                )
            for each in (role, application):
                superuser.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(each)))
