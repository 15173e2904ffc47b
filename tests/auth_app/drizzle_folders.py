"""Folders of Drizzle migrations in both formats, written by hand as drizzle-kit writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# As the contract has them: names, types as Drizzle writes them, and the column that leads to users.id.
USERS = {"id": "text", "name": "text", "email": "text", "created_at": "timestamp"}
SESSIONS = {"id": "text", "token": "text", "user_id": "text", "expires_at": "timestamp"}
TABLES = {"users": USERS, "sessions": SESSIONS}
UNIQUE = {"users": "email", "sessions": "token"}
WHEN = 1_700_000_000_000
TAGS = ("0000_first", "0001_second")
DIRECTORIES = ("20231114221320_first", "20231114221321_second")


def journal(path: Path, tables: dict[str, dict[str, str]] = TABLES, **more: Any) -> Path:
    """A folder of drizzle-kit 0.x with two migrations; ``more`` replaces parts of the table ``sessions``."""
    (path / "meta").mkdir(parents=True)
    entries = []
    for number, tag in enumerate(TAGS):
        (path / f"{tag}.sql").write_text(f"-- {tag}")
        entries.append({"idx": number, "when": WHEN + number, "tag": tag})
    document = {"version": "7", "dialect": "postgresql", "entries": entries}
    (path / "meta" / "_journal.json").write_text(json.dumps(document))
    made = {f"public.{name}": _table(name, columns) for name, columns in tables.items()}
    if "public.sessions" in made:
        made["public.sessions"] |= more
    # What other programs keep elsewhere is not looked for.
    made["other.things"] = {**_table("things", {"id": "text"}), "schema": "other"}
    (path / "meta" / "0001_snapshot.json").write_text(json.dumps({"version": "7", "tables": made}))
    return path


def _table(name: str, columns: dict[str, str]) -> dict[str, Any]:
    unique = {"columns": [UNIQUE[name]]} if UNIQUE.get(name) in columns else None
    key = {
        "tableFrom": name,
        "tableTo": "users",
        "columnsFrom": ["user_id"],
        "columnsTo": ["id"],
        "onDelete": "cascade",
    }
    return {
        "name": name,
        "schema": "",
        "columns": {
            column: {"name": column, "type": type_, "primaryKey": column == "id", "notNull": True}
            for column, type_ in columns.items()
        },
        "indexes": {},
        "foreignKeys": {"k": key} if "user_id" in columns else {},
        "compositePrimaryKeys": {},
        "uniqueConstraints": {"u": unique} if unique else {},
    }


def directories(path: Path, tables: dict[str, dict[str, str]] = TABLES) -> Path:
    """The same of drizzle-kit 1.0: a directory a migration, and a flat snapshot in each."""
    entities: list[dict[str, Any]] = [{"entityType": "schemas", "name": "other"}]
    for name, columns in tables.items():
        of: dict[str, Any] = {"schema": "public", "table": name}
        entities.append({"entityType": "tables", "schema": "public", "name": name})
        entities += [
            {"entityType": "columns", "name": column, "type": type_, "dimensions": 0, **of}
            for column, type_ in columns.items()
        ]
        entities.append({"entityType": "pks", "columns": ["id"], **of})
        if UNIQUE.get(name) in columns:
            entities.append({"entityType": "uniques", "columns": [UNIQUE[name]], **of})
        if "user_id" in columns:
            parts = [{"value": "user_id", "isExpression": False, "asc": True}]
            index = {"isUnique": False, "where": None, "method": "btree", "columns": parts}
            entities.append({"entityType": "indexes", **index, **of})
            target = {"tableTo": "users", "columnsTo": ["id"], "onDelete": "CASCADE"}
            entities.append({"entityType": "fks", "columns": ["user_id"], **target, **of})
    for name in DIRECTORIES:
        (path / name).mkdir(parents=True)
        (path / name / "migration.sql").write_text(f"-- {name}")
        document = {"version": "8", "dialect": "postgres", "ddl": entities}
        (path / name / "snapshot.json").write_text(json.dumps(document))
    return path
