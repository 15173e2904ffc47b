"""JSON Schema of the rows, as `row_to_json` writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fltr_project.catalog.facts import Column

from .tables import Table, allowed_values

TYPES: dict[str, dict[str, Any]] = {
    "bigint": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "double precision": {"type": "number"},
    "integer": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    # Any JSON.
    "jsonb": {},
    "text": {"type": "string"},
    # In UTC, without a zone, so it is no date-time of JSON Schema.
    "timestamp without time zone": {
        "type": "string",
        "pattern": r"^\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?$",
    },
    "uuid": {"type": "string", "format": "uuid"},
}


def json_schema(tables: Sequence[Table], title: str) -> str:
    """The text of the schema: a definition for each table's row. Pure."""
    return (
        json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": title,
                "$defs": {table.name: _row(table) for table in tables},
            },
            indent=2,
        )
        + "\n"
    )


def _row(table: Table) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {column.name: _value(table, column) for column in table.columns},
        # A row has all of its columns.
        "required": [column.name for column in table.columns],
        "additionalProperties": False,
    }


def _value(table: Table, column: Column) -> dict[str, Any]:
    value = dict(TYPES[column.type])
    if values := allowed_values(table, column.name):
        value = {"enum": [*values, *([None] if column.nullable else [])]}
    elif column.nullable and value:
        value["type"] = [value["type"], "null"]
    return value
