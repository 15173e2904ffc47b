"""Database URLs: from the environment into Django's settings, and back for other programs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import environ
import psycopg

POSTGRESQL = "django.db.backends.postgresql"
EMBEDDED = "fltr_project.postgres.backend"
# Answers every query with ImproperlyConfigured; system check fltr.E001 says why.
UNUSABLE = "django.db.backends.dummy"

LIBPQ_OPTIONS = frozenset(option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults())
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
    with warnings.catch_warnings():
        # django-environ may warn with the URL in its words.
        warnings.simplefilter("ignore")
        try:
            settings: dict[str, Any] = environ.Env.db_url_config(url, engine=POSTGRESQL)
            options = _options(url)
        except ValueError:
            return _unusable(
                f"{variable} is malformed: its host, port or options cannot be read. It should "
                "look like postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters "
                "as %XX."
            )
    # What libpq takes as an option too belongs where pg_dump and dbshell look for it.
    for option, name in (
        ("host", "HOST"),
        ("port", "PORT"),
        ("user", "USER"),
        ("password", "PASSWORD"),
        ("dbname", "NAME"),
    ):
        settings[name] = options.pop(option, settings[name])
    settings["HOST"] = unquote(settings["HOST"])
    if "conn_max_age" in options:
        settings["CONN_MAX_AGE"] = options.pop("conn_max_age")
    if unknown := sorted(options.keys() - LIBPQ_OPTIONS):
        return _unusable(
            f"{variable} has the option {unknown[0]!r}, which PostgreSQL's client library does not "
            "know. Remove it, or look for its right name in libpq's list of parameter key words."
        )
    if not settings["NAME"]:
        return _unusable(
            f"{variable} names no database. Add it after the host, as in "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
        )
    settings["OPTIONS"] = options
    return _with_defaults(settings)


def _options(url: str) -> dict[str, Any]:
    """The part after the question mark; the numbers among it as numbers. Raises ValueError."""
    options: dict[str, Any] = dict(
        parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
        if urlsplit(url).query
        else []
    )
    for name in options.keys() & {"connect_timeout", "conn_max_age"}:
        options[name] = int(options[name])
    return options


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
    ours = {"connect_timeout", "application_name", "passfile"}
    query |= {k: str(v) for k, v in settings["OPTIONS"].items() if k in LIBPQ_OPTIONS - ours}
    hosts = [f"[{name}]" if ":" in name else name for name in host.split(",")]
    ports = port.split(",") if port else []
    # One port serves all hosts, or each host has its own.
    places = zip(hosts, ports if len(ports) > 1 else ports * len(hosts), strict=False)
    address = ",".join(f"{name}:{number}" for name, number in places) or ",".join(hosts)
    return (
        "postgresql://"
        + (f"{user}@" if user else "")
        + address
        + "/"
        + quote(settings["NAME"], safe="")
        + (f"?{urlencode(query, safe='/', quote_via=quote)}" if query else "")
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
