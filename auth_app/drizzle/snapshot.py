"""What the newest snapshot of a Drizzle folder says about schema ``public``, compared with what is there.

Compared are tables, columns with their types, keys, foreign keys and indexes of plain
columns, by what they are and not by their names. Not compared are checks, defaults, views, policies and indexes
of expressions, whose spelling a server changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fltr_project.catalog.facts import Catalog, Column, ForeignKey, Index, Key, plain_columns

# Drizzle's words, and the server's.
TYPES = {
    "bigserial": "bigint",
    "bool": "boolean",
    "char": "character",
    "decimal": "numeric",
    "float4": "real",
    "float8": "double precision",
    "int": "integer",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "serial": "integer",
    "smallserial": "smallint",
    "varchar": "character varying",
}
TIMES = {"time": "time", "timetz": "time", "timestamp": "timestamp", "timestamptz": "timestamp"}
_TYPE = re.compile(
    r"(?P<name>.+?)\s*(?:\((?P<size>[^)]*)\))?(?P<zone>\s+with(?:out)? time zone)?(?P<array>(?:\[\d*\])*)",
    re.IGNORECASE,
)
PUBLIC = ("", "public", None)


@dataclass(frozen=True)
class Reference:
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    on_delete: str


@dataclass(frozen=True)
class WantedTable:
    """A table of schema ``public`` as Drizzle's migrations leave it."""

    name: str
    # Names and types, as the server writes them.
    columns: Mapping[str, str]
    primary: tuple[str, ...]
    uniques: tuple[tuple[str, ...], ...]
    indexes: tuple[tuple[str, ...], ...]
    references: tuple[Reference, ...]


def tables(snapshot: Mapping[str, Any] | None) -> tuple[WantedTable, ...]:
    """The tables of a snapshot of drizzle-kit 0.x or 1.0; raises what a document without sense raises."""
    if snapshot is None:
        return ()
    return tuple(_of_ddl(snapshot["ddl"]) if "ddl" in snapshot else _of_tables(snapshot["tables"]))


def missing(wanted: Sequence[WantedTable], found: Catalog) -> tuple[str, ...]:
    """What the database lacks of it, each in words. Pure."""
    return tuple(line for table in wanted for line in _missing(table, found))


def _missing(table: WantedTable, found: Catalog) -> Iterator[str]:
    if table.name not in found.tables:
        yield f"table {table.name}"
        return
    there = {each.name: each.type for each in found.of(Column) if each.table == table.name}
    for name, type_ in table.columns.items():
        if name not in there:
            yield f"column {table.name}.{name}"
        elif server_type(there[name]) != type_:
            yield f"column {table.name}.{name} as {type_} (it is {there[name]})"
    keys = [each for each in found.of(Key) if each.table == table.name and each.valid]
    primary = {frozenset(_plain(each)) for each in keys if each.primary}
    uniques = {frozenset(_plain(each)) for each in keys}
    leading = {_plain(each) for each in found.of(Index) if each.table == table.name and each.valid}
    if table.primary and frozenset(table.primary) not in primary:
        yield f"primary key of {table.name} ({', '.join(table.primary)})"
    for columns in table.uniques:
        if frozenset(columns) not in uniques:
            yield f"unique key of {table.name} ({', '.join(columns)})"
    for columns in table.indexes:
        if columns not in leading | {_plain(each) for each in keys}:
            yield f"index of {table.name} ({', '.join(columns)})"
    references = {
        Reference(each.columns, each.target, each.target_columns, each.on_delete)
        for each in found.of(ForeignKey)
        if each.table == table.name
    }
    for reference in table.references:
        if reference not in references:
            yield (
                f"foreign key {table.name}.{', '.join(reference.columns)} to {reference.target}."
                f"{', '.join(reference.target_columns)} ON DELETE {reference.on_delete}"
            )


def _plain(index: Key | Index) -> tuple[str, ...]:
    """The columns of an index that covers all rows; none for any other."""
    columns = None if " WHERE " in index.definition else plain_columns(index.definition)
    return tuple(column.strip('"') for column in columns or ())


def server_type(text: str) -> str:
    """A type as the server writes it, without the schema ``public``."""
    match = _TYPE.fullmatch(text.strip())
    if match is None:
        return text
    name = match["name"].strip().strip('"').removeprefix("public.").strip('"')
    size = f"({match['size'].replace(' ', '')})" if match["size"] else ""
    arrays = re.sub(r"\[\d+\]", "[]", match["array"])
    if name.lower() in TIMES:
        zone = (match["zone"] or "").strip().lower()
        zone = zone or ("with time zone" if name.lower().endswith("tz") else "without time zone")
        return f"{TIMES[name.lower()]}{size} {zone}{arrays}"
    name = TYPES.get(name.lower(), name)
    # One character where no number is given.
    return f"{name}{size or ('(1)' if name == 'character' else '')}{arrays}"


def _of_tables(document: Mapping[str, Any]) -> Iterator[WantedTable]:
    """Those of drizzle-kit 0.x: each table with its parts."""
    for table in document.values():
        if table["schema"] not in PUBLIC:
            continue
        columns = table["columns"].values()
        composite = [tuple(each["columns"]) for each in table["compositePrimaryKeys"].values()]
        own = tuple(each["name"] for each in columns if each["primaryKey"])
        indexes = [
            (bool(each["isUnique"]), tuple(part["expression"] for part in each["columns"]))
            for each in table["indexes"].values()
            if _is_plain(each)
        ]
        yield WantedTable(
            name=table["name"],
            columns={each["name"]: server_type(each["type"]) for each in columns},
            primary=composite[0] if composite else own,
            uniques=(
                *(tuple(each["columns"]) for each in table["uniqueConstraints"].values()),
                *(parts for is_unique, parts in indexes if is_unique),
            ),
            indexes=tuple(parts for is_unique, parts in indexes if not is_unique),
            references=tuple(
                Reference(
                    tuple(each["columnsFrom"]),
                    each["tableTo"],
                    tuple(each["columnsTo"]),
                    (each.get("onDelete") or "no action").upper(),
                )
                for each in table["foreignKeys"].values()
            ),
        )


def _of_ddl(entities: Sequence[Mapping[str, Any]]) -> Iterator[WantedTable]:
    """Those of drizzle-kit 1.0: a flat list of all parts."""
    of: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in entities:
        if each.get("schema") in PUBLIC and "table" in each:
            of.setdefault((each["entityType"], each["table"]), []).append(each)
    for table in entities:
        if table["entityType"] != "tables" or table.get("schema") not in PUBLIC:
            continue
        name = table["name"]
        indexes = [
            (bool(each["isUnique"]), tuple(part["value"] for part in each["columns"]))
            for each in of.get(("indexes", name), ())
            if _is_plain(each)
        ]
        primary = of.get(("pks", name), ())
        yield WantedTable(
            name=name,
            columns={
                each["name"]: server_type(each["type"] + "[]" * int(each.get("dimensions") or 0))
                for each in of.get(("columns", name), ())
            },
            primary=tuple(primary[0]["columns"]) if primary else (),
            uniques=(
                *(tuple(each["columns"]) for each in of.get(("uniques", name), ())),
                *(parts for is_unique, parts in indexes if is_unique),
            ),
            indexes=tuple(parts for is_unique, parts in indexes if not is_unique),
            references=tuple(
                Reference(
                    tuple(each["columns"]),
                    each["tableTo"],
                    tuple(each["columnsTo"]),
                    (each.get("onDelete") or "no action").upper(),
                )
                for each in of.get(("fks", name), ())
            ),
        )


def _is_plain(index: Mapping[str, Any]) -> bool:
    """Whether it is an ordinary index of columns, ascending, for all rows."""
    return (
        not index.get("where")
        and (index.get("method") or "btree") == "btree"
        and all(_is_plain_part(part) for part in index["columns"])
    )


def _is_plain_part(part: Mapping[str, Any]) -> bool:
    """Whether it is a column, ascending, by the usual operators; Drizzle 1.0 names those too."""
    operators = part.get("opclass")
    usual = operators.get("default") if isinstance(operators, Mapping) else not operators
    return bool(usual and not part["isExpression"] and part.get("asc", True))
