"""What clean_slate and nuke_schema have done, for a person and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.core.management.color import Style

from fltr_project.backup.backup import Backup
from fltr_project.catalog.facts import ForeignKey
from fltr_project.drift.compare import counts
from fltr_project.postgres.target import Target
from fltr_project.rebuild.build import Rebuilt
from fltr_project.rebuild.steps import Step
from fltr_project.words import counted

from . import advice
from .backups import backup_json


@dataclass(frozen=True)
class CleanSlate:
    """A clean_slate that has committed."""

    databases: Sequence[Rebuilt]
    steps: Sequence[Step]
    backups: Sequence[Backup]
    seconds: float
    # Whether the old schemas were to be kept.
    keep: bool

    def kept(self, database: Rebuilt) -> str | None:
        """The old schema that is still there."""
        return database.aside if self.keep or database.left else None


@dataclass(frozen=True)
class Nuked:
    """What nuke_schema has done to one database."""

    target: Target
    result: str
    # The schema that is kept.
    aside: str | None
    sentence: str
    warning: str = ""


def clean_slate_lines(done: CleanSlate, style: Style) -> Iterator[str]:
    """The tables and foreign keys, as a person checks them by eye, what is kept, and the verdict."""
    for database in done.databases:
        catalog, name = database.catalog, database.target.database
        yield ""
        yield f"{name}: {counted(len(catalog.tables), 'tables')}"
        yield f"  {', '.join(catalog.tables)}"
        keys = catalog.of(ForeignKey)
        yield f"{name}: {counted(len(keys), 'foreign keys')}"
        width = max((len(key.object) for key in keys), default=0)
        for key in keys:
            yield f"  {key.object:<{width}}  {key.rule}"
    yield ""
    for database in done.databases:
        alias = database.target.alias
        if database.left:
            yield style.WARNING(database.left.reason)
        if kept := done.kept(database):
            way_out = advice.left(alias, database.left) if database.left else advice.way_out(alias)
            yield f"The old schema of {database.target.database} is kept in {kept}: {way_out}."
    tables = counted(sum(len(each.catalog.tables) for each in done.databases), "tables")
    keys_in_all = sum(len(each.catalog.of(ForeignKey)) for each in done.databases)
    names = " and ".join(each.target.database for each in done.databases)
    proven = any(each.proven for each in done.databases)
    verdict = "rebuilt, verified and proven" if proven else "rebuilt and verified"
    yield style.SUCCESS(
        f"Clean slate: {names} {verdict} in {done.seconds:.1f} s "
        f"({tables}, {counted(keys_in_all, 'foreign keys')})."
    )


def clean_slate_json(done: CleanSlate) -> dict[str, Any]:
    return {
        "milliseconds": round(done.seconds * 1000),
        "steps": steps_json(done.steps),
        "backups": [backup_json(made) for made in done.backups],
        "databases": [_database_json(each, done.kept(each)) for each in done.databases],
    }


def steps_json(steps: Sequence[Step]) -> list[dict[str, Any]]:
    return [
        {
            "step": step.name,
            "alias": step.target.alias,
            "database": step.target.database,
            "server": step.target.server,
            "milliseconds": step.milliseconds,
            "ok": step.ok,
            "detail": step.detail,
        }
        for step in steps
    ]


def nuked_json(done: Nuked, backups: Sequence[Backup]) -> dict[str, Any]:
    return {
        "database": done.target.as_json(),
        "result": done.result,
        "aside": done.aside,
        "backup": backup_json(backups[0]) if backups else None,
        "warning": done.warning or None,
    }


def _database_json(database: Rebuilt, kept: str | None) -> dict[str, Any]:
    return {
        **database.target.as_json(),
        "tables": list(database.catalog.tables),
        "foreign_keys": [
            {
                "table": key.table,
                "columns": list(key.columns),
                "target": key.target,
                "target_columns": list(key.target_columns),
                "on_delete": key.on_delete,
            }
            for key in database.catalog.of(ForeignKey)
        ],
        "checked": counts(database.catalog),
        "findings": [
            asdict(finding)
            for finding in database.findings
            # The old schema was found before it was purged.
            if kept or finding.object != f"schema {database.aside}"
        ],
        "aside": kept,
    }
