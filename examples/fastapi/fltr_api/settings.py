"""What the environment says; each variable is described in the README beside this package."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    auth_database_url: str
    fltr_database_url: str
    # Better Auth's secret, with which it signs the tokens of sessions.
    better_auth_secret: str
    # What a worker sends to give credits back; without one nobody may.
    worker_token: str | None


def load() -> Settings:
    """The settings of this process. Raises SystemExit, naming what is missing."""
    missing = [
        name
        for name in ("AUTH_DATABASE_URL", "FLTR_DATABASE_URL", "BETTER_AUTH_SECRET")
        if not os.environ.get(name)
    ]
    if missing:
        raise SystemExit(f"Set {' and '.join(missing)}; the README says to what.")
    return Settings(
        auth_database_url=os.environ["AUTH_DATABASE_URL"],
        fltr_database_url=os.environ["FLTR_DATABASE_URL"],
        better_auth_secret=os.environ["BETTER_AUTH_SECRET"],
        worker_token=os.environ.get("WORKER_TOKEN") or None,
    )
