"""schema.ts for drizzle-orm: with it drizzle-kit finds nothing to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from fltr_project.catalog.facts import Column, Index, Key

from .indexes import Member, definition
from .tables import Table, allowed_values, camel

# By the server's name of the type: Drizzle's, and the options that it takes.
TYPES = {
    "bigint": ("bigint", '{ mode: "number" }'),
    "boolean": ("boolean", ""),
    "date": ("date", ""),
    "double precision": ("doublePrecision", ""),
    "integer": ("integer", ""),
    "jsonb": ("jsonb", ""),
    "text": ("text", ""),
    "timestamp without time zone": ("timestamp", ""),
    "uuid": ("uuid", ""),
}
# Those of the tables that keep a record of migrations. drizzle-kit push looks at every sequence, whatever
# tablesFilter says, and would drop those that it does not know.
SEQUENCES = {
    "auth": {"django_migrations_id_seq": 2**63 - 1, "__drizzle_migrations_id_seq": 2**31 - 1},
    "fltr": {"django_migrations_id_seq": 2**63 - 1},
}
_LITERAL = re.compile(
    r"(?P<number>-?\d+(\.\d+)?)|'(?P<text>[^'\\]*)'::text|(?P<boolean>true|false)"
)


def schema(alias: str, tables: Sequence[Table], title: str) -> str:
    """The text of schema.ts. Pure; raises KeyError for a type that Drizzle has no word for here."""
    body = [line for table in tables for line in ("", *_table(table))]
    body += ["", "// Of the records of migrations: so that `drizzle-kit push` leaves them alone."]
    for name, most in SEQUENCES[alias].items():
        options = f'{{ maxValue: "{most}" }}'
        body.append(f"export const {camel(name)} = pgSequence({json.dumps(name)}, {options});")
    words = sorted({"pgTable", *re.findall(r"(?<![.\w])(\w+)\(", "\n".join(body))} & _WORDS)
    names = ", ".join(json.dumps(table.name) for table in tables)
    return "\n".join(
        [
            f"// {title}",
            "// Triggers, functions and rights are not Drizzle's business: only Django's migrations make tables.",
            "// In drizzle.config.ts, so that drizzle-kit leaves all else alone:",
            f"//   tablesFilter: [{names}]",
            'import { sql } from "drizzle-orm";',
            f'import {{ {", ".join(words)} }} from "drizzle-orm/pg-core";',
            *body,
            "",
        ]
    )


_WORDS = {
    "pgTable",
    "pgSequence",
    "check",
    "index",
    "primaryKey",
    "unique",
    "uniqueIndex",
    "foreignKey",
} | {word for word, _ in TYPES.values()}


def _table(table: Table) -> Iterator[str]:
    yield f"export const {camel(table.name)} = pgTable("
    yield f"  {json.dumps(table.name)},"
    yield "  {"
    for column in table.columns:
        yield f"    {camel(column.name)}: {_column(table, column)},"
    yield "  },"
    more = [*_constraints(table)]
    if more:
        yield "  (table) => ["
        yield from (f"    {each}," for each in more)
        yield "  ],"
    yield ");"
    yield f"export type {table.row} = typeof {camel(table.name)}.$inferSelect;"
    yield f"export type New{table.row} = typeof {camel(table.name)}.$inferInsert;"


def _column(table: Table, column: Column) -> str:
    word, options = TYPES[column.type]
    values = allowed_values(table, column.name)
    if values:
        options = f"{{ enum: [{', '.join(map(json.dumps, values))}] }}"
    text = f"{word}({', '.join(filter(None, (json.dumps(column.name), options)))})"
    if table.primary == (column.name,):
        text += ".primaryKey()"
    elif not column.nullable:
        text += ".notNull()"
    if column.default is not None:
        text += f".default({_default(column.default)})"
    if reference := table.reference(column.name):
        rule = ""
        if reference.on_delete != "NO ACTION":
            rule = f", {{ onDelete: {json.dumps(reference.on_delete.lower())} }}"
        target = f"{camel(reference.target)}.{camel(reference.target_columns[0])}"
        text += f".references(() => {target}{rule})"
    return text


def _default(expression: str) -> str:
    found = _LITERAL.fullmatch(expression)
    if found is None:
        # As drizzle-kit reads it, without the cast to the column's own type.
        return _sql(re.sub(r"::[\w ]+$", "", expression))
    return json.dumps(found["text"]) if found["text"] is not None else found[0]


def _constraints(table: Table) -> Iterator[str]:
    if len(table.primary) > 1:
        columns = ", ".join(f"table.{camel(name)}" for name in table.primary)
        yield f"primaryKey({{ columns: [{columns}] }})"
    for key in table.keys:
        yield _indexed("unique" if key.constraint else "uniqueIndex", key)
    for index in table.indexes:
        yield _indexed("index", index)
    for check in table.checks:
        yield f"check({json.dumps(check.name)}, {_sql(check.expression)})"


def _indexed(word: str, index: Key | Index) -> str:
    parts = definition(index.definition)
    # drizzle-kit takes all members for expressions where one is.
    mixed = any(each.column is None for each in parts.members)
    using = ", ".join(_sql(each.text) if mixed else _member(each) for each in parts.members)
    on = f".on({using})" if parts.method == "btree" else f'.using("{parts.method}", {using})'
    where = f".where({_sql(parts.where)})" if parts.where else ""
    return f"{word}({json.dumps(index.name)}){on}{where}"


def _member(member: Member) -> str:
    operators = f".op({json.dumps(member.operators)})" if member.operators else ""
    return f"table.{camel(member.column or '')}{operators}"


def _sql(expression: str) -> str:
    escaped = expression.replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${")
    return f"sql`{escaped}`"
