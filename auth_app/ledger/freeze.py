"""Freeze what has changed in ``sql/`` for a new migration: ``python -m auth_app.ledger.freeze NAME``."""

from __future__ import annotations

import sys
from pathlib import Path

from fltr_project.postgres import functions

LIVING = Path(__file__).with_name("sql")
MIGRATIONS = LIVING.parent.parent / "migrations"


def main(name: str) -> None:
    made = functions.freeze("auth_app", LIVING, MIGRATIONS, name)
    sys.stdout.write(f"Wrote {made.name}.\n" if made else "No function has changed.\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
