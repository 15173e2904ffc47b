"""What stands in a database under another name than the contract's, and what would be there without that.

Pure. A table is the same one where most of its columns are; a column where its name is in another style
(``userId`` for ``user_id``), or where it is the only one that is missing and all but the name agrees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from fltr_project.catalog.facts import (
    Catalog,
    Check,
    Column,
    Fact,
    ForeignKey,
    Function,
    Grants,
    Index,
    Key,
    Policy,
    Rule,
    Table,
    Trigger,
)

# Of all columns of two tables, how many have to be the same.
ALIKE = 0.6
# A text in SQL, which is left alone, or an identifier.
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")+\"|[^\W\d][\w$]*")
_BARE = re.compile(r"[a-z_][a-z0-9_$]*")


@dataclass(frozen=True)
class Renames:
    """Names that are found, with those of the contract; columns by their table's name in the contract."""

    tables: dict[str, str]
    columns: dict[tuple[str, str], str]
    # Views in the place of a table that is to have its name back.
    views: dict[str, Table]

    def __bool__(self) -> bool:
        return bool(self.tables or self.columns)

    @property
    def touched(self) -> frozenset[str]:
        """The tables of the contract whose name, or a column's, is another one."""
        return frozenset({*self.tables.values(), *(table for table, _ in self.columns)})


def find(expected: Catalog, found: Catalog) -> Renames:
    """The renames that would bring ``found`` nearer to ``expected``; none where there is a choice."""
    wanted, there = _columns(expected), _columns(found)
    views = {table.table: table for table in found.of(Table) if table.is_view}
    missing = {table: columns for table, columns in wanted.items() if table not in there}
    extra = {table: columns for table, columns in there.items() if table not in wanted}
    tables = dict(_pairs(extra, missing, _are_alike))
    columns: dict[tuple[str, str], str] = {}
    for old, have in there.items():
        table = tables.get(old, old)
        if want := wanted.get(table):
            lost = {name: column for name, column in want.items() if name not in have}
            left = {
                name: replace(column, table=table)
                for name, column in have.items()
                if name not in want
            }
            columns |= {(table, new): name for new, name in _renamed_columns(left, lost)}
    in_the_way = {table: views[table] for table in tables.values() if table in views}
    return Renames(tables, columns, in_the_way)


def applied(found: Catalog, renames: Renames) -> Catalog:
    """The catalog as it would be read after the renames."""
    return replace(
        found,
        facts=tuple(
            _renamed(fact, renames) for fact in found.facts if fact.table not in renames.views
        ),
    )


def concerns(fact: Fact | None, renames: Renames) -> frozenset[str]:
    """Which of the touched tables of the contract a fact, of before or after, is about."""
    tables = {fact.table} if fact else set()
    if isinstance(fact, ForeignKey):
        tables.add(fact.target)
    if isinstance(fact, Grants):
        tables |= {each for each in renames.touched if _is_on(fact, each)}
    return renames.touched & {renames.tables.get(table, table) for table in tables}


def _columns(catalog: Catalog) -> dict[str, dict[str, Column]]:
    columns: dict[str, dict[str, Column]] = {
        table.table: {} for table in catalog.of(Table) if table.type == "table"
    }
    for column in catalog.of(Column):
        if column.table in columns:
            columns[column.table][column.name] = column
    return columns


def _pairs[A, B](
    ones: dict[str, A], others: dict[str, B], alike: Callable[[A, B], bool]
) -> Iterator[tuple[str, str]]:
    """The names of what is alike, where neither is like anything else."""
    like = {
        name: [other for other, value in others.items() if alike(one, value)]
        for name, one in ones.items()
    }
    for name, candidates in like.items():
        if len(candidates) == 1 and sum(candidates[0] in each for each in like.values()) == 1:
            yield name, candidates[0]


def _are_alike(have: dict[str, Column], want: dict[str, Column]) -> bool:
    """Of equal tables, the names are enough; others share most of their columns."""
    one, other = ({(_style(c.name), c.type) for c in each.values()} for each in (have, want))
    return len(one & other) > 1 and len(one & other) >= ALIKE * len(one | other)


def _renamed_columns(left: dict[str, Column], lost: dict[str, Column]) -> Iterator[tuple[str, str]]:
    named: dict[str, str] = {}
    # Of two that are called alike the one of the same type; alone it may have another type, which is mended then.
    for alike in (_is_in_another_style, _is_called_alike):
        rest = {name: column for name, column in left.items() if name not in named}
        gone = {name: column for name, column in lost.items() if name not in named.values()}
        named |= dict(_pairs(rest, gone, alike))
    yield from named.items()
    others = [column for name, column in left.items() if name not in named]
    missing = [column for name, column in lost.items() if name not in named.values()]
    if len(others) == len(missing) == 1 and replace(others[0], name=missing[0].name) == missing[0]:
        yield others[0].name, missing[0].name


def _is_in_another_style(have: Column, want: Column) -> bool:
    return _is_called_alike(have, want) and have.type == want.type


def _is_called_alike(have: Column, want: Column) -> bool:
    return _style(have.name) == _style(want.name)


def _style(name: str) -> str:
    """A name as it is in every style: user_id, userId, USER-ID."""
    return re.sub(r"[\W_]", "", name).lower()


def _renamed(fact: Fact, renames: Renames) -> Fact:
    table = renames.tables.get(fact.table, fact.table)
    columns = {old: new for (of, old), new in renames.columns.items() if of == table}
    words = {**renames.tables, **columns}
    change: dict[str, Any] = {"table": table}
    if isinstance(fact, Column):
        change["name"] = columns.get(fact.name, fact.name)
        change["generated"] = fact.generated and _respelled(fact.generated, columns)
    elif isinstance(fact, ForeignKey):
        target = renames.tables.get(fact.target, fact.target)
        there = {old: new for (of, old), new in renames.columns.items() if of == target}
        change["columns"] = _each(fact.columns, columns)
        change["target"] = target
        change["target_columns"] = _each(fact.target_columns, there)
        change["on_delete"] = _respelled(fact.on_delete, columns)
    elif isinstance(fact, Check):
        change["expression"] = _respelled(fact.expression, columns)
    elif isinstance(fact, Key | Index | Policy):
        change["definition"] = _respelled(fact.definition, columns)
    elif isinstance(fact, Trigger | Rule):
        change["definition"] = _respelled(fact.definition, words)
    elif isinstance(fact, Function):
        for field in ("arguments", "returns", "defaults"):
            change[field] = _respelled(getattr(fact, field), renames.tables)
    elif isinstance(fact, Grants):
        change["on"] = _respelled(fact.on, renames.tables)
        change["granted"] = tuple(sorted(_respelled(each, columns) for each in fact.granted))
        change["revoked"] = tuple(sorted(_respelled(each, columns) for each in fact.revoked))
    elif isinstance(fact, Table):
        change["inherits"] = tuple(_respelled(each, renames.tables) for each in fact.inherits)
        if fact.definition:
            change["definition"] = _respelled(fact.definition, renames.tables)
    return replace(fact, **change)


def _each(names: Iterable[str], words: dict[str, str]) -> tuple[str, ...]:
    return tuple(words.get(name, name) for name in names)


def _respelled(text: str, words: dict[str, str]) -> str:
    """SQL as the server would print it with other names in it."""

    def word(match: re.Match[str]) -> str:
        token = match[0]
        name = token[1:-1].replace('""', '"') if token.startswith('"') else token
        new = None if token.startswith("'") else words.get(name)
        if new is None:
            return token
        return new if _BARE.fullmatch(new) else '"' + new.replace('"', '""') + '"'

    return _TOKEN.sub(word, text) if words else text


def _is_on(grants: Grants, table: str) -> bool:
    return grants.on == _respelled("TABLE public.t", {"t": table})
