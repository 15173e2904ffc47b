"""Schemas that were set aside instead of being dropped: their names, and the records in their comments.

The record commits with the rename that sets the schema aside, so whoever finds the schema after a crash
knows which operation it was part of.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from fltr_project.postgres.search_path import pinned

PREFIX = "public_aside_"
_NAME = re.compile(rf"^{PREFIX}\d{{8}}_\d{{6}}_\d{{6}}$")


class State(StrEnum):
    """What has become of the operation that set a schema aside."""

    # The database has committed; whether the operation's other databases have is not known yet.
    COMMITTED = "committed"
    # Every database has committed. The schema waits for an undo or a purge.
    KEPT = "kept"
    # It is being dropped, so some of it may be gone.
    PURGING = "purging"


@dataclass(frozen=True)
class OperationRecord:
    """Why a schema was set aside: by which run of which command, together with which databases."""

    operation: str
    command: str
    aliases: tuple[str, ...]
    at: str
    state: State
    # The comment that the schema had as ``public``.
    comment: str | None = None

    @classmethod
    def begin(cls, command: str, operation: str, aliases: tuple[str, ...]) -> OperationRecord:
        """The record of an operation that begins now; ``operation`` is the run's own identifier."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(
            operation, command, aliases, at, State.KEPT if len(aliases) == 1 else State.COMMITTED
        )

    def about(self, comment: str | None) -> OperationRecord:
        """The record for a schema that has this comment, which goes back to it with an undo."""
        return replace(self, comment=comment)

    def as_comment(self) -> str:
        return json.dumps({"clean_slate": asdict(self)})


@dataclass(frozen=True)
class SetAside:
    """A schema that was set aside; without a record when somebody has overwritten its comment."""

    name: str
    record: OperationRecord | None

    @property
    def is_whole(self) -> bool:
        return self.record is None or self.record.state is not State.PURGING


def new_name() -> str:
    return PREFIX + datetime.now(UTC).strftime("%Y%m%d_%H%M%S_%f")


def is_aside(schema: str) -> bool:
    """Whether the name is one that this project gives to schemas that it sets aside."""
    return bool(_NAME.match(schema))


def waiting(cursor: CursorWrapper) -> tuple[SetAside, ...]:
    """The schemas that wait for an undo or a purge, newest first. Read-only."""
    cursor.execute(
        "SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace"
        " WHERE starts_with(nspname, %s) ORDER BY nspname DESC",
        [PREFIX],
    )
    return tuple(
        SetAside(name, _record(comment)) for name, comment in cursor.fetchall() if is_aside(name)
    )


def find(connection: BaseDatabaseWrapper) -> tuple[SetAside, ...]:
    """As ``waiting``, with a cursor of its own."""
    with pinned(connection) as cursor:
        return waiting(cursor)


def _record(comment: str | None) -> OperationRecord | None:
    try:
        entry: dict[str, Any] = json.loads(comment or "")["clean_slate"]
        return OperationRecord(
            **{**entry, "aliases": tuple(entry["aliases"]), "state": State(entry["state"])}
        )
    except (ValueError, TypeError, KeyError):
        return None
