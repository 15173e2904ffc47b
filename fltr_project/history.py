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
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db.models import TextChoices

from .errors import explain


class Event(TextChoices):
    """What can happen to an operation."""

    PLANNED = "planned"
    REFUSED = "refused"
    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class HistoryEntry:
    """What happened, to which databases, by whose hand; no secret is ever among it."""

    operation: str
    event: Event
    command: str
    # Each as Target.as_json says it.
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

    def write(self, entry: HistoryEntry) -> None:
        """Write the entry to both places; never raises for what keeps it from being written."""
        if "log" not in self.problems:
            self._append(entry)
        if "default" not in self.problems:
            self._insert(entry)

    def _append(self, entry: HistoryEntry) -> None:
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            # One write of one line, so that lines of runs at the same time do not mix.
            descriptor = os.open(self._log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            try:
                os.write(descriptor, (json.dumps(asdict(entry)) + "\n").encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            self.problems["log"] = f"{self._log} could not be written: {error.strerror}."

    def _insert(self, entry: HistoryEntry) -> None:
        # From the registry: the model takes its events from this module.
        operation = apps.get_model("fltr_project", "SchemaOperation")(
            operation=entry.operation,
            event=entry.event,
            command=entry.command,
            databases=", ".join(each["database"] for each in entry.databases),
            targets=list(entry.databases),
            exit_code=entry.exit_code,
            detail=entry.detail,
            token=entry.token,
            backups=list(entry.backups),
            person=entry.person,
            at=datetime.fromisoformat(entry.at),
        )
        try:
            operation.save(using="default", force_insert=True)
        except (DatabaseError, ImproperlyConfigured) as error:
            reason = explain(error) or "its tables are not there; `manage.py migrate` makes them."
            self.problems["default"] = f"The history in `default` was not written: {reason}"
