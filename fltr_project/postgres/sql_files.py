"""SQL that a migration installs lives in a file of its own, under ``sql/`` beside the migration."""

from __future__ import annotations

from pathlib import Path

from django.db.migrations import RunSQL


def run_sql_file(migration: str, name: str, reverse_sql: str) -> RunSQL:
    """The operation that runs ``sql/<name>`` beside the migration whose ``__file__`` is given."""
    path = Path(migration).with_name("sql") / name
    return RunSQL(path.read_text(encoding="utf-8"), reverse_sql)
