"""The PostgreSQL backend over the embedded server, which it starts on the first connection.

Lazy on purpose: ``help``, ``makemigrations`` and type checking import the settings and must not
start a server. With a URL in the environment this module is never imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import psycopg
from django.db.backends.postgresql import client

from fltr_project.postgres.backend import base

from . import server


class DatabaseClient(client.DatabaseClient):
    def runshell(self, parameters: Iterable[str]) -> None:
        # `dbshell` reads the address from the settings, which know it once the server runs.
        self.connection.ensure_connection()
        super().runshell(parameters)


class DatabaseWrapper(base.DatabaseWrapper):
    client_class = DatabaseClient

    def get_connection_params(self) -> dict[str, Any]:
        self.server.join()
        # In the settings, where Django's `dbshell` and other programs' URLs take an address from.
        self.settings_dict["HOST"] = str(self.server.socket_directory)
        self.settings_dict["PORT"] = self.server.port
        params: dict[str, Any] = super().get_connection_params()
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            if not server.is_missing_database(error):
                raise
            if not self.server.create_database(conn_params["dbname"]):
                raise
            return super().get_new_connection(conn_params)

    @cached_property
    def server(self) -> server.EmbeddedServer:
        return server.of(self.settings_dict)
