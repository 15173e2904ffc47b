"""What the repair of one difference may need to know beyond its two facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fltr_project.catalog.facts import Catalog
from fltr_project.drift.findings import Difference

from .names import literal, name
from .statement import Hazard, Stage, Statement, hazards


@dataclass(frozen=True)
class Context:
    expected: Catalog
    found: Catalog
    difference: Difference

    def differs(self, *fields: str) -> bool:
        """Whether nothing but these fields differs."""
        return set(self.difference.changed) <= set(fields)

    @property
    def owner(self) -> str:
        """The role that owns most of the database."""
        return self.found.owner


def change_owner(on: str, want: Any, have: Any, here: Context) -> Iterator[Statement]:
    """Give ``on``, as in ALTER, the owner that is wanted."""
    if want.owner != have.owner:
        yield Statement(
            Stage.RIGHTS,
            f"ALTER {on} OWNER TO {name(want.owner or here.owner)};",
            hazards(Hazard.TAKES_RIGHTS),
            sessions_of(have.owner or here.owner),
        )


def sessions_of(role: str) -> str:
    """A query that counts who works as a role that is about to lose rights."""
    return (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        f"AND usename = {literal(role)};"
    )
