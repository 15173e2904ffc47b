"""What a fact is, and how the rows of a catalog query become facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

# The catalog queries look at this schema.
PUBLIC = "(SELECT oid FROM pg_namespace WHERE nspname = 'public')"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a database holds, in the server's own canonical words.

    The fields in ``key`` say which thing it is; the others say how it is. Names of constraints and
    indexes take no part in comparison. ``table`` is empty for what belongs to no table.
    """

    kind: ClassVar[str]
    plural: ClassVar[str]
    key: ClassVar[tuple[str, ...]] = ("table",)

    table: str

    @property
    def identity(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.key)

    @property
    def object(self) -> str:
        """The thing's name for people."""
        return self.table

    @property
    def description(self) -> str:
        """What the thing is, in words of SQL where they exist."""
        return f"{'an' if self.kind[0] in 'aeiou' else 'a'} {self.kind}"


@dataclass
class Rows:
    """What the catalog queries have answered: by the name of the query, rows with named fields."""

    results: dict[str, list[Any]]
    # The role that owns most of the database.
    owner: str = field(default="")

    def __getitem__(self, query: str) -> list[Any]:
        return self.results[query]

    def role(self, name: str) -> str:
        """The name of a role; "" is the one that owns most, so that a contract fits every server."""
        return "" if name in {self.owner, "pg_database_owner"} else name


@dataclass(frozen=True)
class Source:
    """A query of the server's catalogs, and the facts that its rows give."""

    name: str
    # For a server of the given major version.
    query: Callable[[int], str]
    read: Callable[[Rows], Iterator[Fact]]
    # Where each row has an ``oid``: the catalog that it is of, so that the members of extensions can
    # be left out. None where a row has its own field ``catalog``, "" where there is nothing to leave out.
    catalog: str | None = ""


# When a trigger or rule runs, by pg_trigger.tgenabled.
ENABLED = {"O": "enabled", "D": "disabled", "R": "on replicas only", "A": "always"}


def enabled_in_words(enabled: str) -> str:
    return enabled if enabled in {"enabled", "disabled"} else f"enabled {enabled}"


def deferrability(deferrable: bool, deferred: bool) -> str:
    """As the clause of a constraint has it."""
    if not deferrable:
        return "NOT DEFERRABLE"
    return "DEFERRABLE INITIALLY " + ("DEFERRED" if deferred else "IMMEDIATE")


def on_one_line(text: str) -> str:
    """A statement that the server prints over several lines."""
    return " ".join(text.split()).removesuffix(";")
