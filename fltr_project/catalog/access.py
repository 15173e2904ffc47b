"""What each kind of program may: the rights of a role on what the contract of a database holds.

The apps say which kinds there are and what each needs (``registry.access``). Here that becomes rights and
statements; nothing is read or run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from psycopg import sql

from fltr_project import registry
from fltr_project.routers import parts

from . import contract
from .facts import Function

# In the order in which people say them.
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "USAGE", "EXECUTE")
# What may be granted on, as the catalog's facts name it, and the privileges there, as GRANT has them.
type Rights = dict[str, frozenset[str]]


@dataclass(frozen=True)
class Access:
    """What one kind of program may do in one database; names are of things in schema ``public``."""

    # Privileges as GRANT has them, with the columns in parentheses where it is not all.
    tables: Mapping[str, tuple[str, ...]]
    # Those that it may execute.
    functions: tuple[str, ...] = ()
    sequences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # On what the owner makes from now on, by "tables" and "sequences".
    new: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def kinds(alias: str) -> dict[str, Access]:
    """The kinds of programs of the database ``alias``, by their names; touches no database."""
    found = {kind: access for each in registry.access.of(alias) for kind, access in each().items()}
    for part in parts(alias):
        for kind, tables in part.rights.items():
            found[kind] = replace(found[kind], tables={**found[kind].tables, **tables})
    return found


def tables(alias: str) -> tuple[str, ...]:
    """The tables of the contract, and those in which programs record their migrations."""
    named = {table for access in kinds(alias).values() for table in access.tables}
    return tuple(sorted({*contract.tables(alias), *named}))


def wanted(alias: str, kind: str | None) -> Rights:
    """The rights of a kind, or of None no right, on each thing of the contract; touches no database."""
    expected = contract.load(alias)
    access = kinds(alias)[kind] if kind else Access({})
    sequences = {name for each in kinds(alias).values() for name in each.sequences}
    usage = frozenset({"USAGE"}) if kind else frozenset()
    return {
        "SCHEMA public": usage,
        **{
            f"TABLE public.{table}": frozenset(_each_column(access.tables.get(table, ())))
            for table in tables(alias)
        },
        **{
            f"SEQUENCE public.{name}": frozenset(access.sequences.get(name, ()))
            for name in sorted(sequences)
        },
        **{
            f"FUNCTION public.{each.name}({each.arguments})": frozenset(
                {"EXECUTE"} if each.name in access.functions else ()
            )
            for each in expected.of(Function)
        },
        **{
            f"new {things} of the owner": frozenset(access.new.get(things, ()))
            for things in ("tables", "sequences")
        },
    }


def script(alias: str, role: str, kind: str | None, owner: str) -> tuple[str, ...]:
    """The statements that give the role these rights and no others, whatever it has; touches no database.

    ``owner`` is the role that makes new tables.
    """
    want = wanted(alias, kind)
    taken = [statement("REVOKE", on, ("ALL",), role, owner) for on in want]
    return (*taken, *grants(want, role, owner))


def _each_column(privileges: Iterable[str]) -> Iterator[str]:
    """SELECT (a, b) as the catalog has it: SELECT (a) and SELECT (b)."""
    for privilege in privileges:
        word, _, columns = privilege.partition(" (")
        names = columns.removesuffix(")").split(", ") if columns else []
        yield from (f"{word} ({name})" for name in names)
        if not names:
            yield word


def grants(want: Rights, role: str, owner: str) -> Iterator[str]:
    for on, rights in want.items():
        if rights:
            yield statement("GRANT", on, tuple(_joined(rights)), role, owner)


def _joined(rights: Iterable[str]) -> Iterator[str]:
    """SELECT (a) and SELECT (b) as GRANT has it: SELECT (a, b)."""
    columns: dict[str, list[str]] = {}
    for right in sorted(rights, key=lambda right: (PRIVILEGES.index(right.split(" ")[0]), right)):
        word, _, column = right.partition(" (")
        columns.setdefault(word, []).extend([column.removesuffix(")")] if column else [])
    for word, names in columns.items():
        quoted = ", ".join(sql.Identifier(name).as_string() for name in names)
        yield f"{word} ({quoted})" if names else word


def statement(verb: str, on: str, rights: tuple[str, ...], role: str, owner: str) -> str:
    name = sql.Identifier(role).as_string()
    to = f"{'TO' if verb == 'GRANT' else 'FROM'} {name}"
    if match := re.fullmatch(r"new (\w+) of the owner", on):
        maker = sql.Identifier(owner).as_string()
        return (
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {maker} IN SCHEMA public {verb} "
            f"{', '.join(rights)} ON {match[1].upper()} {to};"
        )
    return f"{verb} {', '.join(rights)} ON {on} {to};"
