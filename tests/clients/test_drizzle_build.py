"""A database built by the real `drizzle-kit migrate` from the contract's tables is no drift."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fltr_project.schema import contract
from fltr_project.schema.facts import Check, Column, ForeignKey, Index, Key, plain_columns
from fltr_project.schema.statements import create_function, create_trigger
from tests.conftest import Databases, Outcome
from tests.schema.conftest import emptied, functions_and_triggers

Node = Callable[..., "subprocess.CompletedProcess[str]"]
KIT = "node_modules/drizzle-kit/bin.cjs"
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
    columns = plain_columns(index.definition)
    assert columns, f"an index that this test cannot declare: {index.definition}"
    of = ", ".join(f"t.{column}" for column in columns)
    predicate = index.definition.partition(" WHERE ")[2]
    name = json.dumps(f"{table}_{'_'.join(columns)}_index"[:63])
    if isinstance(index, Key) and not predicate:
        return f"unique().on({of})"
    word = "uniqueIndex" if isinstance(index, Key) else "index"
    return f"{word}({name}).on({of})" + (
        f".where(sql.raw({json.dumps(predicate)}))" if predicate else ""
    )


@pytest.mark.parametrize("alias", ["auth", "fltr"])
def test_a_database_built_by_drizzle_kit_has_no_errors(
    alias: str,
    databases: Databases,
    node: Node,
    clients: Path,
    run: Callable[..., Outcome],
    tmp_path: Path,
) -> None:
    emptied(databases, alias)
    declarations = clients / f"contract_{alias}.mjs"
    declarations.write_text(schema(alias))
    out = tmp_path / "drizzle"
    variables = {
        "DRIZZLE_SCHEMA": f"./{declarations.name}",
        # drizzle-kit puts "./" before it when it reads its own snapshots.
        "DRIZZLE_OUT": os.path.relpath(out, clients),
        "DRIZZLE_URL": databases.environment()[f"{alias.upper()}_DATABASE_URL"],
    }

    def kit(*arguments: str) -> None:
        done = node(KIT, *arguments, "--config=contract.config.mjs", **variables)
        assert done.returncode == 0, done.stdout + done.stderr

    # What Drizzle cannot declare, its migrations hold as SQL, as drizzle-kit offers to write it.
    functions, triggers = functions_and_triggers(alias)
    for name, statements in (
        ("functions", [create_function(each) for each in functions]),
        ("tables", None),
        ("triggers", [each.sql for one in triggers for each in create_trigger(one)]),
    ):
        kit("generate", f"--name={name}", *([] if statements is None else ["--custom"]))
        if statements is not None:
            (file,) = out.glob(f"*_{name}.sql")
            file.write_text("\n--> statement-breakpoint\n".join(statements) or "SELECT 1;")
    kit("migrate")

    outcome = run("verify_schema", "--database", alias, "--format", "json")
    assert outcome.code == 0, outcome.out
    (database,) = json.loads(outcome.out)["databases"]
    assert {finding["severity"] for finding in database["findings"]} == {"note"}
    assert len(database["findings"]) <= 3
    assert run("verify_schema", "--database", alias, "--strict").code == 0
