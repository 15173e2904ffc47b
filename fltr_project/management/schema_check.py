"""What verify_schema finds, as messages of Django's check framework."""

from __future__ import annotations

from django.core import checks
from django.core.checks import CheckMessage, Error
from django.db import Error as DatabaseError

from fltr_project.catalog import contract
from fltr_project.drift.compare import Severity
from fltr_project.drift.live import verify_live
from fltr_project.drift.report import FindingWithRepair, Verified
from fltr_project.errors import CleanSlateError
from fltr_project.postgres.target import connect, identify
from fltr_project.words import visible

from . import advice


def messages(alias: str) -> list[CheckMessage]:
    """The findings of a database, or why it could not be looked at. Read-only."""
    try:
        connection = connect(alias)
        target = identify(connection)
        contract.require_built(target)
        verified = verify_live(connection, target)
    except CleanSlateError as error:
        reason = advice.sentence(error)
    except DatabaseError as error:
        reason = advice.explained(error) or str(error)
    else:
        return [
            *(_message(entry, verified) for entry in verified.entries),
            *(_not_verified(alias, f"{each.what}: {each.why}") for each in verified.unknown),
        ]
    return [_not_verified(alias, reason)]


def _not_verified(alias: str, reason: str) -> CheckMessage:
    return Error(
        f"The schema could not be verified: {visible(reason)}",
        obj=f"database {alias!r}",
        id="fltr.E011",
    )


def _message(entry: FindingWithRepair, verified: Verified) -> CheckMessage:
    finding = entry.finding
    object_, expected, found, meaning = (
        visible(words or "nothing")
        for words in (finding.object, finding.expected, finding.found, finding.meaning)
    )
    level, id_ = {
        Severity.ERROR: (checks.ERROR, "fltr.E010"),
        Severity.WARNING: (checks.WARNING, "fltr.W010"),
        Severity.NOTE: (checks.INFO, "fltr.I010"),
    }[finding.severity]
    return CheckMessage(
        level,
        f"{object_}: expected {expected}, found {found}. {meaning}",
        hint=_hint(entry, verified),
        obj=f"database {verified.target.alias!r}, {finding.id}",
        id=id_,
    )


def _hint(entry: FindingWithRepair, verified: Verified) -> str | None:
    alias = verified.target.alias
    if entry.is_aside:
        return f"{advice.way_out(alias)}."
    # What has no effect is not in the script.
    if entry.finding.severity is Severity.NOTE:
        return None
    return advice.migrate_first(verified) or f"manage.py verify_schema --database {alias} --sql"
