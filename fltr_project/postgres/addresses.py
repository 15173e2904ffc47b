"""Database URLs: from the environment into Django's settings, and back for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import environ

POSTGRESQL = "django.db.backends.postgresql"
EMBEDDED = "fltr_project.postgres.backend"
# Answers every query with ImproperlyConfigured; system check fltr.E001 says why.
UNUSABLE = "django.db.backends.dummy"

SCHEMES = ("postgresql://", "postgres://")


def parse(variable: str, url: str) -> dict[str, Any]:
    """Django's settings for the database URL that ``variable`` holds.

    Never raises: a URL that cannot be used gives an entry whose ``PROBLEM`` is a sentence naming
    the variable and what to do, without the URL, which may hold a password.
    """
    if not url.strip():
        return _unusable(
            f"{variable} is empty. Set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
            "or unset it for the default."
        )
    if not url.startswith(SCHEMES):
        return _unusable(
            f"{variable} is not a PostgreSQL URL. It should look like "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
        )
    try:
        settings: dict[str, Any] = environ.Env.db_url_config(url, engine=POSTGRESQL)
    except ValueError:
        return _unusable(
            f"{variable} is malformed: its host or port cannot be read. It should look like "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters as %XX."
        )
    if not settings["NAME"]:
        return _unusable(
            f"{variable} names no database. Add it after the host, as in "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
        )
    options = settings.setdefault("OPTIONS", {})
    # A socket directory (?host=/run/postgresql) belongs where pg_dump and dbshell look for it.
    settings["HOST"] = options.pop("host", settings["HOST"])
    settings["PORT"] = options.pop("port", settings["PORT"])
    return _with_defaults(settings)


def embedded(database: str, var: Path) -> dict[str, Any]:
    """Django's settings for a database of the embedded server, whose data is below ``var``."""
    return _with_defaults(
        {
            "ENGINE": EMBEDDED,
            "NAME": database,
            "USER": "postgres",
            "PASSWORD": "",
            "HOST": "",
            "PORT": "",
            "OPTIONS": {},
            "EMBEDDED_ROOT": var / "postgres",
        }
    )


def is_embedded(settings: dict[str, Any]) -> bool:
    return bool(settings["ENGINE"] == EMBEDDED)


def url_of(settings: dict[str, Any]) -> str:
    """The database's URL for psql, node-postgres and SQLAlchemy, without its password."""
    user = quote(settings["USER"], safe="")
    host, port = str(settings["HOST"]), str(settings["PORT"])
    query: dict[str, str] = {}
    if host.startswith("/"):
        query["host"], host = host, ""
    if port and not host:
        query["port"], port = port, ""
    if "sslmode" in settings["OPTIONS"]:
        query["sslmode"] = settings["OPTIONS"]["sslmode"]
    host = f"[{host}]" if ":" in host and "," not in host else host
    return (
        "postgresql://"
        + (f"{user}@" if user else "")
        + (f"{host}:{port}" if port else host)
        + "/"
        + quote(settings["NAME"], safe="")
        + (f"?{urlencode(query, safe='/')}" if query else "")
    )


def _with_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    options = settings["OPTIONS"]
    # Seconds. Without it a firewall that drops packets holds a command for two minutes.
    options.setdefault("connect_timeout", 10)
    # What a blocked colleague sees in pg_stat_activity.
    options.setdefault("application_name", "clean_slate")
    # Without it a test that names one database only fails with a "Circular dependency".
    return {**settings, "TEST": {"DEPENDENCIES": []}}


def _unusable(problem: str) -> dict[str, Any]:
    return {"ENGINE": UNUSABLE, "NAME": "", "PROBLEM": problem, "TEST": {"DEPENDENCIES": []}}
