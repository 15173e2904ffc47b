"""The tables of a contract as every language of the exports wants them: whole, and in the order of the models."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from django.apps import apps

from fltr_project.catalog import contract
from fltr_project.catalog.facts import (
    TRACKING_TABLES,
    Check,
    Column,
    ForeignKey,
    Index,
    Key,
    plain_columns,
)

_AMONG = re.compile(
    r"\((?P<column>\w+) = ANY \((?:ARRAY\[(?P<list>.+)\]|'\{(?P<braces>[\w,]+)\}'::text\[\])\)\)"
)


@dataclass(frozen=True)
class Table:
    """A table with all that the contract says of it."""

    name: str
    # The class of one row: User of users.
    row: str
    columns: tuple[Column, ...]
    primary: tuple[str, ...]
    # Unique constraints, and unique indexes of some rows only.
    keys: tuple[Key, ...]
    indexes: tuple[Index, ...]
    checks: tuple[Check, ...]
    references: tuple[ForeignKey, ...]

    def reference(self, column: str) -> ForeignKey | None:
        """The foreign key of this column alone."""
        return next((each for each in self.references if each.columns == (column,)), None)


def tables(alias: str) -> tuple[Table, ...]:
    """The tables of the contract of ``alias``, those that others refer to first. Touches no database."""
    catalog = contract.load(alias)
    models = {
        model._meta.db_table: model
        for config in apps.get_app_configs()
        for model in config.get_models()
    }
    found = []
    for name in catalog.tables:
        if name in TRACKING_TABLES:
            continue
        model = models.get(name)
        order = [str(field.column) for field in model._meta.concrete_fields] if model else []
        keys = [each for each in catalog.of(Key) if each.table == name]
        primary = next((plain_columns(each.definition) for each in keys if each.primary), None)
        columns = [_as_clients_see(each) for each in catalog.of(Column) if each.table == name]
        found.append(
            Table(
                name=name,
                row=model.__name__ if model else camel(name, upper=True),
                columns=tuple(sorted(columns, key=lambda each: _place(each.name, order))),
                primary=tuple(primary or ()),
                keys=tuple(each for each in keys if not each.primary),
                indexes=tuple(each for each in catalog.of(Index) if each.table == name),
                checks=tuple(each for each in catalog.of(Check) if each.table == name),
                references=tuple(each for each in catalog.of(ForeignKey) if each.table == name),
            )
        )
    return tuple(_referred_first(found))


def allowed_values(table: Table, column: str) -> list[str]:
    """What a check lets the column be, where it names each value; else nothing."""
    for check in table.checks:
        found = _AMONG.fullmatch(check.expression)
        if found and found["column"] == column:
            if found["braces"]:
                return found["braces"].split(",")
            return re.findall(r"'([^']*)'::text", found["list"])
    return []


def camel(name: str, *, upper: bool = False) -> str:
    """``api_key`` as ``apiKey``, or as ``ApiKey``."""
    first, *rest = [word for word in name.split("_") if word]
    return (first.capitalize() if upper else first) + "".join(word.capitalize() for word in rest)


def _as_clients_see(column: Column) -> Column:
    """With the default as the server prints it to whoever has schema public in the search_path."""
    if column.default is None:
        return column
    return replace(column, default=re.sub(r"\bpublic\.(?=\w+\()", "", column.default))


def _place(column: str, order: list[str]) -> tuple[bool, int, str]:
    """As in the model, but for what every table has, which comes last."""
    place = order.index(column) if column in order else len(order)
    return (column in {"created_at", "updated_at"}, place, column)


def _referred_first(found: list[Table]) -> list[Table]:
    """In the order in which they can be made; tables that refer to each other stay as they come."""
    left, made = list(found), list[Table]()
    while left:
        known = {each.name for each in made}
        ready = [
            each
            for each in left
            if all(key.target in known or key.target == each.name for key in each.references)
        ]
        made += ready or left
        left = [each for each in left if ready and each not in ready]
    return made
