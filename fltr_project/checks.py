"""System checks: configuration that would harm a database is told before anything connects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import Error as DatabaseError

from .errors import CleanSlateError, explain
from .postgres.target import ALIASES, connect, identify
from .routers import database_of
from .schema import contract
from .schema.aside import way_out
from .schema.catalog import read
from .schema.compare import Severity
from .schema.pending import with_pending
from .schema.verify import Entry, Verified, verify


@register
def check_urls(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """fltr.E001: a database URL that is empty or cannot be read."""
    errors: list[CheckMessage] = []
    for alias, database in settings.DATABASES.items():
        if "PROBLEM" in database:
            problem, _, hint = database["PROBLEM"].partition(". ")
            errors.append(
                Error(f"{problem}.", hint=hint, obj=f"database {alias!r}", id="fltr.E001")
            )
    return errors


@register
def check_distinct(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """fltr.E002: two aliases that name the same database by the same address.

    Two names of one server are seen only by asking it; the commands do (postgres.target).
    """
    errors: list[CheckMessage] = []
    seen: dict[tuple[str, ...], str] = {}
    for alias, database in settings.DATABASES.items():
        if "PROBLEM" in database or not database["NAME"]:
            continue
        host = database.get("HOST") or ""
        address = (
            database["ENGINE"],
            "localhost" if host in {"127.0.0.1", "::1"} else host,
            str(database.get("PORT") or "5432"),
            str(database["NAME"]),
        )
        first = seen.setdefault(address, alias)
        if first != alias:
            errors.append(
                Error(
                    f"The aliases {first!r} and {alias!r} both reach {database['NAME']!r}.",
                    hint="Give each alias a database of its own: rebuilding one would empty both.",
                    obj=f"database {alias!r}",
                    id="fltr.E002",
                )
            )
    return errors


@register(Tags.models)
def check_relations(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """fltr.E003: a foreign key whose two ends are in different databases."""
    return [
        Error(
            f"{field} references a table of database {there!r}, but its own table is in {here!r}.",
            hint="Store the key in a TextField with an index; no constraint can span databases.",
            obj=field,
            id="fltr.E003",
        )
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.get_fields(include_hidden=False)
        if field.concrete and field.is_relation and isinstance(field.related_model, type)
        if (here := database_of(model._meta.app_label))
        != (there := database_of(field.related_model._meta.app_label))
    ]


@register(Tags.security, deploy=True)
def check_secret_key(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """fltr.E004: no key to sign sessions with.

    A deployment check: commands that sign nothing, such as `migrate`, run without a key, and a web
    server without one does not start (wsgi.py, asgi.py).
    """
    if settings.DEBUG or settings._wrapped.SECRET_KEY:  # type: ignore[misc]
        return []
    return [
        Error(
            "SECRET_KEY is not set, and DEBUG is off.",
            hint="Set SECRET_KEY to 50 or more random characters; for a server of your own machine "
            "DEBUG=on makes one.",
            id="fltr.E004",
        )
    ]


# `migrate` runs the checks of databases too, and it is Django's own: only `check` verifies.
_verifies: ContextVar[bool] = ContextVar("verifies", default=False)


@contextmanager
def verifying_schemas() -> Iterator[None]:
    """Let ``check_schema`` look while the block runs."""
    token = _verifies.set(True)
    try:
        yield
    finally:
        _verifies.reset(token)


@register(Tags.database)
def check_schema(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """fltr.E010, W010, I010: what verify_schema finds in a database named with --database."""
    if not _verifies.get():
        return []
    return [
        message for alias in ALIASES if alias in (databases or ()) for message in _schema_of(alias)
    ]


def _schema_of(alias: str) -> list[CheckMessage]:
    try:
        connection = connect(alias)
        target = identify(connection)
        contract.require_built(target)
        catalog = read(connection, contract.tables(alias))
        elsewhere = {
            table: f"database {other!r}"
            for other in ALIASES
            if other != alias
            for table in contract.tables(other)
        }
        verified = with_pending(
            verify(target, contract.load(alias), catalog, elsewhere), connection
        )
    except (CleanSlateError, DatabaseError) as error:
        return [
            Error(
                f"The schema could not be verified: {explain(error) or error}",
                obj=f"database {alias!r}",
                id="fltr.E011",
            )
        ]
    return [_message(entry, verified) for entry in verified.entries]


def _message(entry: Entry, verified: Verified) -> CheckMessage:
    finding = entry.finding
    level, id_ = {
        Severity.ERROR: (checks.ERROR, "fltr.E010"),
        Severity.WARNING: (checks.WARNING, "fltr.W010"),
        Severity.NOTE: (checks.INFO, "fltr.I010"),
    }[finding.severity]
    return CheckMessage(
        level,
        f"{finding.object}: expected {finding.expected or 'nothing'}, found "
        f"{finding.found or 'nothing'}. {finding.meaning}",
        hint=_hint(entry, verified),
        obj=f"database {verified.target.alias!r}, {finding.id}",
        id=id_,
    )


def _hint(entry: Entry, verified: Verified) -> str | None:
    alias = verified.target.alias
    if entry.is_aside:
        return f"{way_out(alias)}."
    # What has no effect is not in the script.
    if entry.finding.severity is Severity.NOTE:
        return None
    return verified.migrate_first or f"manage.py verify_schema --database {alias} --sql"
