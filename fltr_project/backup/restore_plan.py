"""What a restore would bring back, keep, leave out and stumble over; reads only, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connections
from django.db.backends.utils import CursorWrapper

from fltr_project.errors import CannotRun
from fltr_project.postgres.search_path import pinned
from fltr_project.postgres.target import Target

from . import archive, database_settings, roles
from .archive import Archive
from .manifest import Manifest
from .restore import Owners, choose
from .script import TABLE_DATA, Piece, pieces


@dataclass(frozen=True)
class RestorePlan:
    tables: int
    rows: int
    # What the archive has and the database keeps as it is.
    kept: tuple[str, ...]
    # What is never restored, and what is not, because roles are not there.
    left_out: tuple[str, ...]
    # How many settings of the database are set again.
    settings: int
    # Roles that the archive names and the server does not know.
    missing_roles: frozenset[str]
    # What would make the restore fail, a sentence each.
    problems: tuple[str, ...]


def read(target: Target, source: Archive, manifest: Manifest, owners: Owners) -> RestorePlan:
    """The plan of restoring the archive over the database. Read-only, one transaction."""
    connection = connections[target.alias]
    with pinned(connection) as cursor:
        chosen = choose(cursor, manifest)
        needed, owning, asked = _roles(source, [each.id for each in chosen.entries], owners)
        known, usable = _known_roles(cursor, needed)
        available = _extensions(cursor)
    missing = frozenset(needed - known)
    problems = []
    if lost := sorted(missing if not owners.mine else missing & asked):
        named = " nor ".join(map(repr, lost))
        problems.append(
            f"the server has no role {named}, and a policy or a user mapping is for it: say --role-map OLD=NEW"
            if owners.mine
            else f"the server has no role {named}: say --role-map OLD=NEW, or --no-owner to own "
            "everything yourself"
        )
    if not owners.mine and (foreign := sorted((owning & known) - usable)):
        problems.append(
            f"{target.role} may not make {' or '.join(map(repr, foreign))} an owner: say --no-owner or "
            "--role-map OLD=NEW, or restore as a role that may"
        )
    problems += [
        f"extension {each.name} is not installed on the server"
        for each in chosen.entries
        if each.kind == "EXTENSION" and each.name not in available
    ]
    rows = {
        (each.schema, each.name): manifest.data.tables[each.schema, each.name].count
        for each in chosen.entries
        if each.kind == TABLE_DATA and (each.schema, each.name) in manifest.data.tables
    }
    unmapped = sorted(missing) if owners.mine else []
    return RestorePlan(
        tables=len(rows),
        rows=sum(rows.values()),
        kept=chosen.kept,
        left_out=(*chosen.left_out, *(f"rights of role {name}" for name in unmapped)),
        settings=len(database_settings.statements(source, manifest.entries)),
        missing_roles=missing,
        problems=tuple(problems),
    )


def require_possible(plan: RestorePlan, source: Archive) -> None:
    """Raise CannotRun when the plan says that the restore would fail."""
    if plan.problems:
        raise CannotRun(
            f"{source.path.name} cannot be restored here: {'; '.join(plan.problems)}. "
            "Nothing was touched."
        )


def _roles(source: Archive, ids: list[int], owners: Owners) -> tuple[set[str], set[str], set[str]]:
    """The roles that the definitions name once the owners are changed, those that own something, and
    those that something other than a right is about, which cannot be left out."""
    needed, owning, asked = set[str](), set[str](), set[str]()
    options = ("--no-owner",) if owners.mine else ()
    renamed = owners.renamed or {}
    with archive.script(source, ids, "--schema-only", *options) as stream:
        for piece in pieces(stream):
            if not isinstance(piece, Piece):
                continue
            for place in roles.places(piece):
                role = renamed.get(place.role, place.role)
                needed.add(role)
                if place.owns:
                    owning.add(role)
                elif piece.kind not in roles.RIGHTS:
                    asked.add(role)
    return needed, owning, asked


def _known_roles(cursor: CursorWrapper, needed: set[str]) -> tuple[set[str], set[str]]:
    """Those of the roles that are there, and those that this role may make owners."""
    cursor.execute(
        """
        SELECT rolname::text, pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles
        WHERE rolname = ANY (%s::text[])
        """,
        [sorted(needed)],
    )
    found = cursor.fetchall()
    return {name for name, _ in found}, {name for name, usable in found if usable}


def _extensions(cursor: CursorWrapper) -> set[str]:
    cursor.execute("SELECT name::text FROM pg_available_extensions")
    return {name for (name,) in cursor.fetchall()}
