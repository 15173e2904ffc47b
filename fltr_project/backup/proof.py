"""Prove an archive: restore it into a scratch database, and compare what came back with what was dumped.

Filled by the code that restores (``fill``). Rows, sequences and large objects are compared with the manifest's
digests, everything else with the archive itself: pg_dump reads the scratch database, and whatever kind an
object is of, its definition, owner, rights and comment must be the archive's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import IO

import psycopg
from django.db import Error as DatabaseError
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import errors

from fltr_project.errors import BackupFailed, CannotRun, explain
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned

from . import archive, choice, database_settings, digests, fingerprint, roles, wording
from .archive import Archive
from .choice import Choice
from .fill import NotFilled, fill
from .manifest import Manifest, Proof
from .places import Place, places
from .reading import Seen
from .restore import AS_THEY_WERE, Owners, changes
from .script import Piece, pieces

# What says that a place cannot hold the archive, not that the archive is broken: rights, roles,
# extensions, languages and settings that are not there.
OF_THE_PLACE = (
    errors.InsufficientPrivilege,
    errors.FeatureNotSupported,
    errors.UndefinedFile,
    errors.UndefinedObject,
)


# A materialized view's rows are made anew, from those that are compared.
OF_DATA = frozenset({"MATERIALIZED VIEW DATA", "SEQUENCE SET", "BLOB METADATA", "BLOB"})
# At the end of an entry, for those that follow.
BETWEEN = re.compile(r"(?:\s*^SET default_\w+ = [^\n]*;$)+\s*\Z", re.MULTILINE)
# A scratch database is lost with the machine anyway.
FAST = "SET LOCAL synchronous_commit = off; SET LOCAL maintenance_work_mem = '256MB'"


@dataclass(frozen=True)
class Unproven:
    """Why an archive could not be proven anywhere; it says nothing against the archive."""

    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(self.reasons)


class _PlaceUnfit(Exception):
    """This place cannot hold the archive."""


def prove(
    source: Archive,
    manifest: Manifest,
    progress: Callable[[Place, Seen], None] = lambda place, seen: None,
) -> Proof | Unproven:
    """Restore the archive into the first place that can hold it, and compare.

    The database of its alias is only asked about itself; the scratch database is removed. ``progress`` is
    told where and what has been restored, after each table. Raises BackupFailed when what came back is
    not what was dumped, or does not come back at all.
    """
    named = sorted(_roles(source, manifest))
    reasons = []
    for place in places(manifest.alias, manifest.major, named):
        start = time.perf_counter()
        try:
            with place.open() as connection:
                apart_from = _proven_in(connection, place, source, manifest, progress)
                server = str(connection.connection.info.server_version // 10000)
        except (CannotRun, _PlaceUnfit) as unfit:
            reasons.append(f"in {place.name}: {str(unfit).rstrip('.')}")
            continue
        except (DatabaseError, psycopg.Error) as error:
            said = explain(error) or " ".join(str(error).split())
            reasons.append(f"in {place.name}: {said.rstrip('.')}")
            continue
        return Proof(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            place=place.name,
            server=server,
            pg_restore=str(archive.pg_restore().major),
            seconds=round(time.perf_counter() - start, 1),
            apart_from=apart_from,
        )
    none = "the role may not create databases, no server can be started here, and PROOF_DATABASE_URL is not set"
    return Unproven(tuple(reasons) or (none,))


def _proven_in(
    connection: BaseDatabaseWrapper,
    place: Place,
    source: Archive,
    manifest: Manifest,
    progress: Callable[[Place, Seen], None],
) -> tuple[str, ...]:
    """Restore and compare in an empty database; what was left out, in words."""
    connection.ensure_connection()
    raw = connection.connection
    owners = AS_THEY_WERE if place.has_roles else Owners(mine=True)
    chosen = choice.whole(manifest.entries)
    missing = frozenset() if place.has_roles else frozenset(_roles(source, manifest))
    changed = replace(changes(owners, missing), settings=FAST)
    try:
        fill(raw, source, chosen.entries, changed, lambda seen: progress(place, seen))
    except NotFilled as error:
        sentence = f"{error.entry} cannot be restored: {' '.join(str(error.error).split())}"
        # What a function says that the archive has, the archive says.
        if isinstance(error.error, OF_THE_PLACE) and not error.error.diag.context:
            raise _PlaceUnfit(sentence) from error
        raise BackupFailed(_failed(manifest, sentence)) from error
    settings = database_settings.statements(source, manifest.entries)
    refused = database_settings.apply(raw, connection.settings_dict["NAME"], settings)
    if problem := _difference(connection, source, manifest, chosen, owners):
        raise BackupFailed(_failed(manifest, problem))
    named = () if place.has_roles else ("owners and grants, as its roles are not there",)
    return (*chosen.left_out, *refused, *named)


def _difference(
    connection: BaseDatabaseWrapper,
    source: Archive,
    manifest: Manifest,
    chosen: Choice,
    owners: Owners,
) -> str | None:
    """The first thing that did not come back as it was, in words."""
    with transaction.atomic(using=connection.alias), pinned(connection) as cursor:
        locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, archive.STATEMENT_TIMEOUT)
        seed, tables = manifest.data.seed, manifest.data.tables
        found = digests.read(connection, seed, tables, manifest.data.sequences)
        problem = digests.difference(manifest.data, found) or fingerprint.difference(
            manifest.fingerprint, fingerprint.read(connection), owners=owners.as_they_were
        )
    if problem:
        return problem
    options = () if owners.as_they_were else ("--no-owner", "--no-privileges")
    with archive.script(
        source, [each.id for each in chosen.entries], "--schema-only", *options
    ) as stream:
        expected = _definitions(stream)
    with archive.schema(connection, *options) as stream:
        return _first_difference(expected, _definitions(stream))


def _definitions(stream: IO[bytes]) -> list[Piece]:
    found = (piece for piece in pieces(stream) if isinstance(piece, Piece))
    return [piece for piece in found if piece.kind not in OF_DATA]


def _first_difference(expected: Sequence[Piece], found: Sequence[Piece]) -> str | None:
    want, have = ({_said(each): each for each in side} for side in (expected, found))
    missing = [want[said] for said in want.keys() - have.keys()]
    extra = [have[said] for said in have.keys() - want.keys()]
    # Where only the way of printing differs, both sides say the same.
    known = {(each.kind, wording.reduced(_said(each))) for each in extra}
    other = {(each.kind, wording.reduced(_said(each))) for each in missing}
    for piece in sorted(missing, key=str):
        if (piece.kind, wording.reduced(_said(piece))) not in known:
            return f"{piece} did not come back as it was"
    for piece in sorted(extra, key=str):
        if (piece.kind, wording.reduced(_said(piece))) not in other:
            return f"{piece} is there and was not in the backup"
    return None


def _said(piece: Piece) -> str:
    """An entry's statements, without the settings between entries, which depend on their order."""
    return BETWEEN.sub("", piece.text.decode(errors="surrogateescape")).strip()


def _roles(source: Archive, manifest: Manifest) -> set[str]:
    """Every role that the archive's definitions name."""
    ids = [each.id for each in choice.whole(manifest.entries).entries]
    found = set()
    with archive.script(source, ids, "--schema-only") as stream:
        for piece in _definitions(stream):
            found |= {place.role for place in roles.places(piece)}
    return found


def _failed(manifest: Manifest, problem: str) -> str:
    return (
        f"The backup of {manifest.database} does not come back: {problem}. "
        "It was restored into a scratch database to find out; nothing else was touched."
    )
