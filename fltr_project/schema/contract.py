"""What each database must hold: the canonical catalog of a freshly migrated one, kept in a file.

Each app keeps its ``contract.json`` beside its migrations. It is generated
(`verify_schema --write-contract`), one fact a line so that a review shows what changed, and a test
proves it current.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

from django.apps import apps

from fltr_project.errors import CannotRun
from fltr_project.postgres.target import Target, connect
from fltr_project.routers import APP_DATABASES

from . import aside
from .facts import KINDS, TRACKING_TABLES, Catalog, Fact

FORMAT = 1


def path(alias: str) -> Path:
    """Where the contract of ``alias`` is kept."""
    app_label = next(label for label, home in APP_DATABASES.items() if home == alias)
    return Path(apps.get_app_config(app_label).path) / "contract.json"


@cache
def load(alias: str) -> Catalog:
    """The contract of ``alias``, from its file; touches no database."""
    document = json.loads(path(alias).read_text(encoding="utf-8"))
    facts = tuple(
        kind(**{"table": "", **{name: _frozen(value) for name, value in entry.items()}})
        for kind in KINDS
        for entry in document["facts"].get(kind.plural, [])
    )
    return Catalog(facts)


def dump(catalog: Catalog) -> str:
    """The file's text for a catalog: each kind in the catalog's order, one fact a line."""
    groups = [
        f"    {json.dumps(kind.plural)}: [\n      " + ",\n      ".join(lines) + "\n    ]"
        for kind in KINDS
        if (lines := [json.dumps(_entry(fact)) for fact in catalog.of(kind)])
    ]
    return f'{{\n  "format": {FORMAT},\n  "facts": {{\n' + ",\n".join(groups) + "\n  }\n}\n"


def tables(alias: str) -> tuple[str, ...]:
    return load(alias).tables


def own_tables(alias: str) -> tuple[str, ...]:
    """The tables of the contract without the records of what migrations ran."""
    return tuple(table for table in tables(alias) if table not in TRACKING_TABLES)


def require_built(target: Target) -> None:
    """Raise CannotRun where nothing of the contract is there: all else would be said of nothing.

    Read-only. A schema that is there in part passes; ``verify_schema`` says what it lacks.
    """
    wanted = own_tables(target.alias)
    connection = connect(target.alias)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename = ANY(%s)),"
            " to_regnamespace('public') IS NOT NULL",
            [list(wanted)],
        )
        built, migratable = cursor.fetchone()
    if not built:
        # `migrate` builds in a schema public, and does not make one.
        command = "migrate" if migratable else "clean_slate"
        raise CannotRun(
            f"The schema of {target} is not there: none of its {len(wanted)} tables exists. "
            f"Build it with `manage.py {command} --database {target.alias}`."
            + (f" {aside.hint(target.alias)}" if aside.find(connection) else "")
        )


def _entry(fact: Fact) -> dict[str, Any]:
    """The fact without what is as usual, so that what is special stands out."""
    return {
        item.name: getattr(fact, item.name)
        for item in fields(fact)
        if not (item.name == "table" and not fact.table)
        and (item.compare or item.name in {"name", "constraint"})
        and (item.default is MISSING or getattr(fact, item.name) != item.default)
    }


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
