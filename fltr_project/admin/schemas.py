"""How both databases stand: what they are, what a verification found, and what is kept of them.

Reads only. What empties or restores a database stays in the terminal; the page has the commands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import DatabaseError, connections
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from fltr_project.backup import directory
from fltr_project.backup.directory import Stored
from fltr_project.catalog import aside, contract
from fltr_project.catalog.aside import SetAside
from fltr_project.drift.live import verify_live
from fltr_project.errors import CleanSlateError, explain
from fltr_project.management import advice, backups, reports
from fltr_project.models import Observation, SchemaOperation
from fltr_project.postgres.target import ALIASES, Target, identify
from fltr_project.rebuild.set_aside import half_done
from fltr_project.web.health import PERMISSION
from fltr_project.words import counted

# The newest events of the history that the page shows; the rest is a click away.
EVENTS = 20
# What keeps a database from being looked at, and leaves the rest of the page.
TROUBLE = (DatabaseError, ImproperlyConfigured, CleanSlateError)


@dataclass(frozen=True)
class Backup:
    """An archive, for people."""

    name: str
    at: datetime | None
    size: str
    rows: int
    # How it was proven, in words; empty where it was not.
    proof: str
    proven_at: datetime | None
    problem: str = ""


@dataclass(frozen=True)
class Database:
    """A database; ``trouble`` in words where it does not answer, and then nothing else is known."""

    alias: str
    name: str
    contract: str
    target: Target | None
    kept: tuple[SetAside, ...]
    # What a killed run has left half done, and what to do about it.
    half_done: str
    looked: Observation | None
    backups: tuple[Backup, ...]
    trouble: str = ""


def subject(alias: str) -> str:
    """The subject of the Observation of a verification."""
    return f"schema of {alias}"


@dataclass(frozen=True)
class Schemas:
    databases: tuple[Database, ...]
    # Archives whose manifest cannot be read, so that nobody knows of which database they are.
    unreadable: tuple[Backup, ...]
    # Why the archives cannot be listed.
    problem: str


def schemas() -> Schemas:
    """How each database stands now, and what the last verification found. Two queries each, one of ``default``."""
    targets: dict[str, Target] = {}
    troubles: dict[str, str] = {}
    kept: dict[str, Sequence[SetAside] | None] = {}
    for alias in ALIASES:
        try:
            targets[alias] = identify(connections[alias])
            kept[alias] = aside.find(connections[alias])
        except TROUBLE as error:
            troubles[alias], kept[alias] = in_words(error), None
    halves = {half.alias: advice.half_done(half) for half in half_done(kept)}
    looked = Observation.objects.using("default").in_bulk([subject(alias) for alias in ALIASES])
    stored, problem = _stored()
    found = tuple(
        Database(
            alias=alias,
            name=str(connections[alias].settings_dict["NAME"]),
            contract=contract_id(alias),
            target=None if alias in troubles else targets[alias],
            kept=tuple(kept[alias] or ()),
            half_done=halves.get(alias, ""),
            looked=looked.get(subject(alias)),
            backups=tuple(
                _backup(each) for each in stored if each.manifest and each.manifest.alias == alias
            ),
            trouble=troubles.get(alias, ""),
        )
        for alias in ALIASES
    )
    return Schemas(found, tuple(_backup(each) for each in stored if not each.manifest), problem)


def verify(person: str) -> dict[str, Observation]:
    """Compare both databases with their contracts, and keep what was found; by alias.

    Reads only, but for what it keeps in ``default``. A database that cannot be looked at is kept as such.
    """
    return {alias: _keep(alias, person, _verified(alias)) for alias in ALIASES}


def contract_id(alias: str) -> str:
    """By which a contract is told from another: the beginning of its file's SHA-256."""
    return hashlib.sha256(contract.dump(contract.load(alias)).encode()).hexdigest()[:12]


def in_words(error: Exception) -> str:
    """What keeps a database from being looked at, for people."""
    if isinstance(error, CleanSlateError):
        return advice.sentence(error)
    return advice.explained(error) or explain(error) or type(error).__name__


def _verified(alias: str) -> dict[str, Any]:
    try:
        connection = connections[alias]
        connection.ensure_connection()
        target = identify(connection)
        contract.require_built(target)
        result = verify_live(connection, target)
    except TROUBLE as error:
        return {"exit_code": 2, "word": "not verified", "trouble": in_words(error)}
    (document,) = reports.databases([result])
    code = result.exit_code(strict=False)
    return {
        **{name: document[name] for name in ("findings", "unknown", "ignored")},
        "exit_code": code,
        "wrong": len(result.wrong),
        "notes": len(result.entries) - len(result.wrong),
        "word": {0: "as the contract says", 1: "drift", 2: "not all could be looked at"}[code],
        "tally": reports.tally(result),
        "contract": contract_id(alias),
        "pending": list(result.pending),
        "first": advice.migrate_first(result),
    }


def _keep(alias: str, person: str, found: Mapping[str, Any]) -> Observation:
    looked, _ = Observation.objects.using("default").update_or_create(
        subject=subject(alias),
        defaults={"at": timezone.now(), "person": person, "found": dict(found)},
    )
    return looked


def _stored() -> tuple[tuple[Stored, ...], str]:
    """The archives in the directory, and why they cannot be listed."""
    try:
        return directory.stored(settings.BACKUP_DIR), ""
    except CleanSlateError as error:
        return (), str(error)


def _backup(stored: Stored) -> Backup:
    made = stored.manifest
    proof = made.proof if made else None
    return Backup(
        name=stored.path.name,
        at=made.time if made else None,
        size=backups.size(stored.bytes),
        rows=made.rows if made else 0,
        proof=backups.proof_line(proof) if proof else "",
        proven_at=datetime.fromisoformat(proof.at) if proof else None,
        problem=stored.problem,
    )


def page(request: HttpRequest) -> HttpResponse:
    """Both databases, for whoever may see operations."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    events = SchemaOperation.objects.using("default").order_by("-at", "-pk")[:EVENTS]
    return TemplateResponse(
        request,
        "admin/schemas.html",
        {
            **admin.site.each_context(request),
            "title": "Schemas",
            "schemas": schemas(),
            "events": list(events),
            "backup_directory": settings.BACKUP_DIR,
        },
    )


def look(request: HttpRequest) -> HttpResponse:
    """Verify both, when somebody asks."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    for alias, looked in verify(request.user.get_username()).items():
        found = looked.found
        number = found.get("wrong", 0)
        findings = f", {counted(number, 'findings')}" if number else ""
        level = messages.INFO if found["exit_code"] == 0 else messages.WARNING
        messages.add_message(request, level, f"Schema of {alias}: {found['word']}{findings}.")
    return HttpResponseRedirect(reverse("admin:schemas"))
