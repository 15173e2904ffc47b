"""models.py for SQLModel: with it Alembic finds nothing to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from fltr_project.catalog.facts import Column, Index, Key

from .indexes import Member, definition
from .tables import Table

# By the server's name of the type: Python's, and SQLAlchemy's.
TYPES = {
    "bigint": ("int", "BigInteger()"),
    "boolean": ("bool", "Boolean()"),
    "date": ("date", "Date()"),
    "double precision": ("float", "Double()"),
    "integer": ("int", "Integer()"),
    "jsonb": ("dict[str, Any]", "JSONB()"),
    "text": ("str", "Text()"),
    "timestamp without time zone": ("datetime", "DateTime()"),
    "uuid": ("UUID", "Uuid()"),
}
WIDTH = 100
_FROM = {
    "datetime": ("date", "datetime"),
    "typing": ("Any",),
    "uuid": ("UUID",),
    "sqlalchemy": (
        *("BigInteger", "Boolean", "CheckConstraint", "Column", "Date", "DateTime", "Double"),
        *("ForeignKey", "Index", "Integer", "Text", "UniqueConstraint", "Uuid", "text"),
    ),
    "sqlalchemy.dialects.postgresql": ("JSONB",),
    "sqlmodel": ("Field", "SQLModel"),
}


def models(tables: Sequence[Table], title: str) -> str:
    """The text of models.py. Pure; raises KeyError for a type that SQLAlchemy has no word for here."""
    body = [line for table in tables for line in ("", "", *_class(table))]
    used = set(re.findall(r"\b\w+\b", "\n".join(body)))
    imports = [
        f"from {module} import {', '.join(name for name in names if name in used)}"
        for module, names in _FROM.items()
        if used & set(names)
    ]
    standard = [line for line in imports if "sql" not in line]
    return "\n".join(
        [
            f'"""{title}',
            "",
            "Times are UTC without a zone, as all programs write them. What the database gives by itself may be left",
            "out of a new row. Only Django's migrations make tables: call no `create_all`.",
            '"""',
            "",
            *standard,
            *([""] if standard else []),
            *(line for line in imports if "sql" in line),
            *body,
            "",
        ]
    )


def _class(table: Table) -> Iterator[str]:
    yield f"class {table.row}(SQLModel, table=True):"
    yield f"    __tablename__ = {json.dumps(table.name)}"
    more = [*_constraints(table)]
    if more:
        yield "    __table_args__ = ("
        yield from (f"        {each}," for each in more)
        yield "    )"
    yield ""
    for column in table.columns:
        yield from _field(table, column)


def _annotation(column: Column) -> str:
    name, _ = TYPES[column.type]
    return f"{name} | None" if column.nullable else name


def _field(table: Table, column: Column) -> Iterator[str]:
    _, type_ = TYPES[column.type]
    words = [json.dumps(column.name), type_]
    if reference := table.reference(column.name):
        target = f"{reference.target}.{reference.target_columns[0]}"
        rule = ""
        if reference.on_delete != "NO ACTION":
            rule = f", ondelete={json.dumps(reference.on_delete)}"
        words.append(f"ForeignKey({json.dumps(target)}, name={json.dumps(reference.name)}{rule})")
    if column.name in table.primary:
        words.append("primary_key=True")
    else:
        words.append(f"nullable={column.nullable}")
    if column.default is not None:
        words.append(f"server_default={_text(column.default)}")
    # SQLAlchemy leaves out what is None where the server has a default.
    has_default = column.nullable or column.default is not None
    default = ["default=None"] if has_default else []
    made = [*default, f"sa_column=Column({', '.join(words)})"]
    begin = f"    {column.name}: {_annotation(column)} = Field("
    line = f"{begin}{', '.join(made)})"
    if len(line) <= WIDTH:
        yield line
    else:
        yield begin
        yield from (f"        {each}," for each in made)
        yield "    )"


def _constraints(table: Table) -> Iterator[str]:
    for key in table.keys:
        if key.constraint:
            columns = ", ".join(
                json.dumps(each.column) for each in definition(key.definition).members
            )
            yield f"UniqueConstraint({columns}, name={json.dumps(key.name)})"
        else:
            yield _index(key, "unique=True")
    for index in table.indexes:
        yield _index(index)
    for check in table.checks:
        yield f"CheckConstraint({_text(check.expression)}, name={json.dumps(check.name)})"


def _index(index: Key | Index, *more: str) -> str:
    parts = definition(index.definition)
    operators = {
        each.column: each.operators for each in parts.members if each.column and each.operators
    }
    words = [json.dumps(index.name), *map(_member, parts.members), *more]
    if parts.method != "btree":
        words.append(f"postgresql_using={json.dumps(parts.method)}")
    if operators:
        words.append(f"postgresql_ops={json.dumps(operators)}")
    if parts.where:
        words.append(f"postgresql_where={_text(parts.where)}")
    return f"Index({', '.join(words)})"


def _member(member: Member) -> str:
    return json.dumps(member.column) if member.column else _text(member.text)


def _text(expression: str) -> str:
    # A colon would begin a parameter, but for that of a cast.
    escaped = re.sub(r"(?<!:):(?!:)", r"\\:", expression)
    return f"text({json.dumps(escaped)})"
