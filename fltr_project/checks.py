"""System checks: configuration that would harm a database is told before anything connects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

from .postgres import addresses
from .routers import APP_DATABASES, database_of


@register
def check_urls(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """fltr.E001: a database URL that is empty or cannot be read."""
    errors: list[CheckMessage] = []
    for alias, database in settings.DATABASES.items():
        for sentence in addresses.problems(database):
            problem, _, hint = sentence.partition(". ")
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
    try:
        if settings.DEBUG or settings.SECRET_KEY:
            return []
    except ImproperlyConfigured:
        # So Django says of an empty one.
        pass
    return [
        Error(
            "SECRET_KEY is not set, and DEBUG is off.",
            hint="Set SECRET_KEY to 50 or more random characters; for a server of your own machine "
            "DEBUG=on makes one.",
            id="fltr.E004",
        )
    ]


# What verifies the schema of an alias, while a command wants that: `migrate`, which is Django's own, runs the
# checks of databases too.
_verify: ContextVar[Callable[[str], list[CheckMessage]] | None] = ContextVar("verify", default=None)


@contextmanager
def verifying_schemas(verify: Callable[[str], list[CheckMessage]]) -> Iterator[None]:
    """Let ``check_schema`` ask ``verify`` about each database while the block runs."""
    token = _verify.set(verify)
    try:
        yield
    finally:
        _verify.reset(token)


@register(Tags.database)
def check_schema(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """fltr.E010, W010, I010: what differs from the contract of a database named with --database."""
    verify = _verify.get()
    aliases = [alias for alias in APP_DATABASES.values() if alias in (databases or ())]
    return [message for alias in aliases for message in verify(alias)] if verify else []
