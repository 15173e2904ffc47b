"""What each database must hold: the canonical catalog of a freshly migrated one, kept in a file.

Each app keeps its ``contract.json`` beside its migrations, and so does each part that a project has besides. It is generated
from the migrations, one fact a line so that a review shows what changed, and a test proves it
current.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps

from fltr_project.errors import CannotRun
from fltr_project.parts import ContractPart
from fltr_project.postgres.search_path import pinned
from fltr_project.postgres.target import Target, connect
from fltr_project.routers import APP_DATABASES, parts

from . import aside
from .facts import KINDS, TRACKING_TABLES, Catalog, Fact

FORMAT = 1
# Fields that take no part in a comparison, but in a repair.
CARRIED = frozenset({"name", "constraint", "replica_identity"})


def path(alias: str) -> Path:
    """Where the contract of ``alias`` is kept that everybody has."""
    return path_of(home(alias))


def home(alias: str) -> AppConfig:
    """The app whose contract everybody has in the database ``alias``."""
    return apps.get_app_config(next(label for label, at in APP_DATABASES.items() if at == alias))


@cache
def load(alias: str) -> Catalog:
    """The contract of ``alias`` with its parts, from their files; touches no database."""
    return Catalog(
        tuple(fact for app in (home(alias), *parts(alias)) for fact in load_of(app).facts)
    )


def load_of(app: AppConfig) -> Catalog:
    """What one app's file says. Raises CannotRun where a part has none."""
    file = path_of(app)
    if isinstance(app, ContractPart) and not file.exists():
        raise CannotRun(
            f"{app.name} has no {file.name}, which says what its migrations make. Write it: "
            f"FLTR_CONTRACT_EXTRAS={app.name} manage.py verify_schema --database {app.database} --write-contract"
        )
    document = json.loads(file.read_text(encoding="utf-8"))
    return Catalog(
        tuple(
            kind(**{"table": "", **{name: _frozen(value) for name, value in entry.items()}})
            for kind in KINDS
            for entry in document["facts"].get(kind.plural, [])
        )
    )


def path_of(app: AppConfig) -> Path:
    """Where what the app adds to a contract is kept."""
    return Path(app.path) / "contract.json"


def dump(catalog: Catalog) -> str:
    """The file's text for a catalog: each kind in the catalog's order, one fact a line."""
    groups = [
        f"    {json.dumps(kind.plural)}: [\n      " + ",\n      ".join(lines) + "\n    ]"
        for kind in KINDS
        if (lines := [json.dumps(_entry(fact)) for fact in catalog.of(kind)])
    ]
    return f'{{\n  "format": {FORMAT},\n  "facts": {{\n' + ",\n".join(groups) + "\n  }\n}\n"


def write(app: AppConfig, catalog: Catalog) -> Path:
    """Make the catalog what the app's file says; the file is whole at every moment."""
    file = path_of(app)
    beside = file.with_suffix(".new")
    beside.write_text(dump(catalog), encoding="utf-8")
    beside.replace(file)
    load.cache_clear()
    return file


def tables(alias: str) -> tuple[str, ...]:
    return load(alias).tables


def own_tables(alias: str) -> tuple[str, ...]:
    """The tables of the contract without the records of what migrations ran."""
    return tuple(table for table in tables(alias) if table not in TRACKING_TABLES)


class NotBuilt(CannotRun):
    """None of the contract's tables is there."""

    def __init__(self, target: Target, tables: int, *, has_schema: bool, has_aside: bool) -> None:
        super().__init__(
            f"The schema of {target} is not there: none of its {tables} tables exists."
        )
        self.alias = target.alias
        # Migrations build in a schema public, and do not make one.
        self.has_schema = has_schema
        # Whether a schema that was set aside could be brought back.
        self.has_aside = has_aside


def require_built(target: Target) -> None:
    """Raise NotBuilt where no table of the contract is there, so that nothing could be said of any.

    Read-only. A schema that is there in part passes: a comparison says what it lacks.
    """
    wanted = own_tables(target.alias)
    connection = connect(target.alias)
    with pinned(connection) as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename = ANY(%s)),"
            " to_regnamespace('public') IS NOT NULL",
            [list(wanted)],
        )
        built, has_schema = cursor.fetchone()
    if not built:
        raise NotBuilt(
            target,
            len(wanted),
            has_schema=has_schema,
            has_aside=bool(aside.find(connection)),
        )


def _entry(fact: Fact) -> dict[str, Any]:
    """The fact without what is as usual, so that what is special stands out."""
    return {
        item.name: getattr(fact, item.name)
        for item in fields(fact)
        if not (item.name == "table" and not fact.table)
        and (item.compare or item.name in CARRIED)
        and (item.default is MISSING or getattr(fact, item.name) != item.default)
    }


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
