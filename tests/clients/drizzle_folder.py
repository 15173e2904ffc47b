"""A Drizzle folder for the tables of the contract, as somebody would declare them for Drizzle."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Check, Column, ForeignKey, Index, Key, plain_columns
from fltr_project.drift.repair.routines import create_function, create_trigger
from tests.drift.conftest import comes_first, functions_and_triggers, revocations

KIT = "node_modules/drizzle-kit/bin.cjs"
CONFIG = "--config=contract.config.mjs"
TYPES = {
    "text": "text",
    "integer": "integer",
    "bigint": "bigint",
    "boolean": "boolean",
    "timestamp without time zone": "timestamp",
    "jsonb": "jsonb",
    "uuid": "uuid",
    "double precision": "doublePrecision",
    "date": "date",
}
# drizzle-kit makes its own record.
OWN = "__drizzle_migrations"


def schema(alias: str) -> str:
    """schema.mjs for the tables of the contract, as somebody would declare them for Drizzle."""
    expected = contract.load(alias)
    words = ["check", "index", "pgTable", "unique", "uniqueIndex", *sorted(TYPES.values())]
    lines = [
        'import { sql } from "drizzle-orm";',
        f'import {{ {", ".join(words)} }} from "drizzle-orm/pg-core";',
    ]
    for table in expected.tables:
        if table == OWN:
            continue
        columns = [
            f"  {column.name}: {declared(column, alias)}"
            for column in expected.of(Column)
            if column.table == table
        ]
        more = [
            f"check({json.dumps(f'{table}_check_{place}')}, sql.raw({json.dumps(check.expression)}))"
            for place, check in enumerate(
                each for each in expected.of(Check) if each.table == table
            )
        ]
        more += [
            indexed(table, index)
            for index in indexes(alias)
            if index.table == table and not (isinstance(index, Key) and index.primary)
        ]
        lines.append(
            f"export const {table} = pgTable({json.dumps(table)}, {{\n"
            + ",\n".join(columns)
            + f"\n}}, (t) => [{', '.join(more)}]);"
        )
    return "\n\n".join(lines)


def indexes(alias: str) -> list[Index | Key]:
    return [*contract.load(alias).of(Index), *contract.load(alias).of(Key)]


def declared(column: Column, alias: str) -> str:
    """A column with its type, default and reference, in Drizzle's words."""
    expected = contract.load(alias)
    mode = ', { mode: "number" }' if column.type == "bigint" else ""
    text = f"{TYPES[column.type]}({json.dumps(column.name)}{mode})"
    primary = [key for key in expected.of(Key) if key.primary and key.table == column.table]
    if plain_columns(primary[0].definition) == (column.name,):
        text += ".primaryKey()"
    if not column.nullable:
        text += ".notNull()"
    if column.default is not None:
        text += f".default(sql.raw({json.dumps(column.default)}))"
    for key in expected.of(ForeignKey):
        if (key.table, key.columns) == (column.table, (column.name,)):
            rule = json.dumps({"onDelete": key.on_delete.lower()})
            text += f".references(() => {key.target}.{key.target_columns[0]}, {rule})"
    return text


def indexed(table: str, index: Index | Key) -> str:
    """A unique constraint, or an index under a name of Drizzle's."""
    listed, _, predicate = index.definition.partition(" WHERE ")
    if columns := plain_columns(listed):
        of = ", ".join(f"t.{column}" for column in columns)
        name = json.dumps(f"{table}_{'_'.join(columns)}_index"[:63])
    else:
        of = f"sql.raw({json.dumps(listed.removeprefix('btree (')[:-1])})"
        name = json.dumps(index.name)
    if isinstance(index, Key) and not predicate:
        return f"unique().on({of})"
    word = "uniqueIndex" if isinstance(index, Key) else "index"
    return f"{word}({name}).on({of})" + (
        f".where(sql.raw({json.dumps(predicate)}))" if predicate else ""
    )


def variables(alias: str, clients: Path, out: Path, url: str) -> dict[str, str]:
    """What contract.config.mjs reads."""
    return {
        "DRIZZLE_SCHEMA": f"./contract_{alias}.mjs",
        # drizzle-kit puts "./" before it when it reads its own snapshots.
        "DRIZZLE_OUT": os.path.relpath(out, clients),
        "DRIZZLE_URL": url,
    }


def generate(
    alias: str, clients: Path, out: Path, kit: Callable[..., None], *, everything: bool = True
) -> None:
    """Let drizzle-kit generate the migrations into ``out``; ``kit`` runs it with its arguments.

    ``everything`` adds what Drizzle cannot declare, its triggers and their functions.
    """
    (clients / f"contract_{alias}.mjs").write_text(schema(alias))
    # Such migrations hold SQL, as drizzle-kit offers to write it.
    functions, triggers = functions_and_triggers(alias)
    custom = {
        "functions": [create_function(each) for each in functions if comes_first(each, alias)],
        "triggers": [create_function(each) for each in functions if not comes_first(each, alias)]
        + [each.sql for one in triggers for each in create_trigger(one)]
        + revocations(alias),
    }
    for name in ("functions", "tables", *(["triggers"] if everything else [])):
        kit("generate", CONFIG, f"--name={name}", *(["--custom"] if name in custom else []))
        if name in custom:
            (file,) = out.glob(f"*_{name}.sql")
            file.write_text("\n--> statement-breakpoint\n".join(custom[name]) or "SELECT 1;")
