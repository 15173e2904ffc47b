"""Tell Drizzle that its migrations have been applied: Django has built these tables.

A Next.js build runs `drizzle-kit migrate`, which looks at the newest ``created_at`` in its record
and applies every journal entry whose ``when`` is later. On tables that exist without a record it
exits 1 (measured with drizzle-kit 0.31).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from django.db import connections, transaction

from fltr_project.errors import CannotRun
from fltr_project.postgres import locks

JOURNAL = Path("meta") / "_journal.json"


@dataclass(frozen=True)
class Adoption:
    # The journal's entries, oldest first, and those among them that were not recorded before.
    entries: tuple[str, ...]
    recorded: tuple[str, ...]


def adopt(folder: Path, using: str = "auth") -> Adoption:
    """Record every migration of a Drizzle folder in ``__drizzle_migrations`` of database ``using``.

    One transaction; idempotent: an entry that is recorded is left alone. Raises CannotRun when the
    folder is no Drizzle migrations folder.
    """
    entries = _journal(folder)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        # Two at once would both find an entry missing; readers go on reading.
        cursor.execute("LOCK TABLE public.__drizzle_migrations IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute("SELECT created_at FROM public.__drizzle_migrations")
        known = {when for (when,) in cursor.fetchall()}
        missing = [(tag, when, digest) for tag, when, digest in entries if when not in known]
        if missing:
            cursor.executemany(
                "INSERT INTO public.__drizzle_migrations (hash, created_at) VALUES (%s, %s)",
                [(digest, when) for _, when, digest in missing],
            )
    return Adoption(tuple(tag for tag, *_ in entries), tuple(tag for tag, *_ in missing))


def _journal(folder: Path) -> list[tuple[str, int, str]]:
    """Each entry's tag, time in milliseconds and the hash that Drizzle gives its file."""
    path = folder / JOURNAL
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["entries"]
        return [
            (
                entry["tag"],
                # Milliseconds; within what a bigint and Drizzle's Date both hold.
                range(1 << 53)[entry["when"]],
                hashlib.sha256((folder / f"{entry['tag']}.sql").read_bytes()).hexdigest(),
            )
            for entry in entries
        ]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CannotRun(
            f"{str(folder)!r} is not a Drizzle migrations folder: there is no {error.filename}. "
            "Name the folder that drizzle.config.ts has as `out`."
        ) from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CannotRun(
            f"Drizzle's journal {str(path)!r} cannot be read. Run `drizzle-kit generate` again, or "
            "name the folder that drizzle.config.ts has as `out`."
        ) from error
