"""The history of schema operations: a row in `default` and a JSON line in a file, of everything
that was planned, refused, begun and done.

Neither can make an operation fail: a database is often emptied because something is broken. What
could not be written is said in the report instead.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError

from .errors import explain

PLANNED = "planned"
REFUSED = "refused"
BEGUN = "begun"
DONE = "done"
FAILED = "failed"


@dataclass(frozen=True)
class Event:
    """What happened, to which databases, by whose hand; no secret is ever among it."""

    operation: str
    event: str
    command: str
    # What postgres.target says about each database.
    databases: tuple[dict[str, Any], ...]
    exit_code: int | None
    detail: str
    token: str = ""
    # SHA-256 of the archives that were made or restored.
    backups: tuple[str, ...] = ()
    person: str = field(default_factory=lambda: person())
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))


def person() -> str:
    """Who runs this and where, as the operating system knows them."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


class History:
    """Writes the events of one run; ``problems`` says what could not be written, each once."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.problems: dict[str, str] = {}

    def write(self, event: Event) -> None:
        """Write the event to both places; never raises for what keeps it from being written."""
        if "log" not in self.problems:
            self._append(event)
        if "default" not in self.problems:
            self._insert(event)

    def _append(self, event: Event) -> None:
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            # One write of one line, so that lines of runs at the same time do not mix.
            descriptor = os.open(self._log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            try:
                os.write(descriptor, (json.dumps(asdict(event)) + "\n").encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            self.problems["log"] = f"{self._log} could not be written: {error.strerror}."

    def _insert(self, event: Event) -> None:
        # Imported here, because the models are not there before Django is set up.
        from .models import SchemaOperation

        try:
            SchemaOperation.objects.using("default").create(
                operation=event.operation,
                event=event.event,
                command=event.command,
                databases=", ".join(each["database"] for each in event.databases),
                targets=list(event.databases),
                exit_code=event.exit_code,
                detail=event.detail,
                token=event.token,
                backups=list(event.backups),
                person=event.person,
                at=datetime.fromisoformat(event.at),
            )
        except (DatabaseError, ImproperlyConfigured) as error:
            reason = explain(error) or "its tables are not there; `manage.py migrate` makes them."
            self.problems["default"] = f"The history in `default` was not written: {reason}"


def databases(targets: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """The targets as a history holds them."""
    return tuple(
        {
            "alias": target.alias,
            "database": target.database,
            "server": target.server,
            "system_identifier": str(target.system_identifier),
            "role": target.role,
            "environment": target.environment,
        }
        for target in targets
    )
