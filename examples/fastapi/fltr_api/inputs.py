"""Kinds of input that PostgreSQL takes, no NUL and not longer than sensible, and of output."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Header
from pydantic import AfterValidator, StringConstraints

Line = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Text = Annotated[str, StringConstraints(max_length=5_000, pattern=r"^[^\x00]*$")]
Id = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_-]+$")]
IdempotencyKey = Annotated[
    str,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Any text that is new for each piece of work, and the same when it is sent again",
    ),
]
# A time as the databases have it, without a zone, told with the one that it is of.
Utc = Annotated[datetime, AfterValidator(lambda time: time.replace(tzinfo=UTC))]
