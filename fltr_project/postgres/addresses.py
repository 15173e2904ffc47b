"""Database URLs: from the environment into Django's settings, and back for other programs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

# Each alias's own variable, and the one for schema work past a pooler.
DATABASE_URLS = {
    "default": "CONTROL_DATABASE_URL",
    "auth": "AUTH_DATABASE_URL",
    "fltr": "FLTR_DATABASE_URL",
}
DIRECT_URLS = {"auth": "AUTH_DIRECT_URL", "fltr": "FLTR_DIRECT_URL"}
VARIABLES = frozenset([*DATABASE_URLS.values(), *DIRECT_URLS.values()])
# The value that asks for the embedded server where the other database is elsewhere.
EMBEDDED_WORD = "embedded"

POSTGRESQL = "fltr_project.postgres.backend"
CONTROL_FILE = "fltr_project.control_file"
EMBEDDED = "fltr_project.postgres.embedded"
# Answers every query with ImproperlyConfigured; system check fltr.E001 says why.
UNUSABLE = "django.db.backends.dummy"

_KNOWN = psycopg.pq.Conninfo.get_defaults()
LIBPQ_OPTIONS = frozenset(option.keyword.decode() for option in _KNOWN)
# Those that libpq says to hide, or to show for debugging only: passwords and keys.
SECRET_OPTIONS = frozenset(option.keyword.decode() for option in _KNOWN if option.dispchar)
SCHEMES = ("postgresql://", "postgres://")
# A file by a path from the project's directory, or from the root.
SQLITE = re.compile(r"sqlite:///([^?#:][^?#]*[^?#/])")


def databases(environment: Mapping[str, str], var: Path) -> dict[str, dict[str, Any]]:
    """Django's settings for all databases, from the variables of the environment; ``var`` has their defaults.

    Never raises: an entry that cannot be used has a ``PROBLEM``, as ``parse`` says. The settings for schema
    work past a pooler are the entry's ``DIRECT``.
    """
    found = {
        "default": _control(environment, var),
        **{alias: _app(alias, environment, var) for alias in DIRECT_URLS},
    }
    for alias, variable in DIRECT_URLS.items():
        if variable in environment:
            found[alias]["DIRECT"] = (
                _unusable(
                    f"{variable} is set, and {DATABASE_URLS[alias]} names no server. Set that too, or unset "
                    f"{variable}."
                )
                if is_embedded(found[alias])
                else parse(variable, environment[variable])
            )
    return found


def problems(settings: Mapping[str, Any]) -> list[str]:
    """What is wrong with an alias's settings, a sentence each."""
    both = (settings, settings.get("DIRECT", {}))
    return [each["PROBLEM"] for each in both if "PROBLEM" in each]


def _control(environment: Mapping[str, str], var: Path) -> dict[str, Any]:
    variable = DATABASE_URLS["default"]
    url = environment.get(variable)
    if url is None:
        return {"ENGINE": CONTROL_FILE, "NAME": var / "control.sqlite3"}
    if not url.startswith("sqlite:"):
        return parse(variable, url)
    match = SQLITE.fullmatch(url)
    if match is None:
        return _unusable(
            f"{variable} names no SQLite file. It should look like sqlite:///control.sqlite3, in this "
            "project's directory, or sqlite:////srv/control.sqlite3."
        )
    return {"ENGINE": CONTROL_FILE, "NAME": var.parent / unquote(match[1])}


def _app(alias: str, environment: Mapping[str, str], var: Path) -> dict[str, Any]:
    variable = DATABASE_URLS[alias]
    (other,) = (DATABASE_URLS[each] for each in DIRECT_URLS if each != alias)
    own = embedded({"auth": "fltr_auth", "fltr": "fltr"}[alias], var)
    if variable in environment:
        url = environment[variable]
        return own if url.strip() == EMBEDDED_WORD else parse(variable, url)
    if environment.get(other, EMBEDDED_WORD).strip() == EMBEDDED_WORD:
        return own
    return _unusable(
        f"{variable} is unset, and {other} is not: one database here and one elsewhere is hardly what you "
        f"mean. Set {variable} too, or to {EMBEDDED_WORD} for the embedded server."
    )


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
    place, _, query = url.partition("?")
    # Django's own option is not for libpq, and libpq's error would not say which one it does not know.
    options = [option.partition("=") for option in query.split("&") if option]
    ours = {name: value for name, _, value in options if name == "conn_max_age"}
    theirs = "&".join("".join(option) for option in options if option[0] not in ours)
    malformed = _unusable(
        f"{variable} is malformed: its host, port or options cannot be read. It should look like "
        "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters as %XX."
    )
    if _may_show_a_password(url):
        return malformed
    names = {unquote(name) for name, _, _ in options} - ours.keys()
    if unknown := sorted(names - LIBPQ_OPTIONS):
        return _unusable(
            f"{variable} has the option {unknown[0]!r}, which PostgreSQL's client library does not "
            "know. Remove it, or look for its right name in libpq's list of parameter key words."
        )
    try:
        found = conninfo_to_dict(f"{place}?{theirs}" if theirs else place)
        numbers = {name: int(value) for name, value in ours.items()}
        if "connect_timeout" in found:
            found["connect_timeout"] = int(found["connect_timeout"] or "")
        ports = [int(port) for port in str(found.get("port") or "").split(",") if port]
    except (psycopg.ProgrammingError, ValueError):
        return malformed
    settings: dict[str, Any] = {
        "ENGINE": POSTGRESQL,
        "NAME": found.pop("dbname", ""),
        "USER": found.pop("user", ""),
        "PASSWORD": found.pop("password", ""),
        "HOST": found.pop("host", ""),
        "PORT": found.pop("port", ""),
        # What is left, libpq takes as it is.
        "OPTIONS": found,
        **{name.upper(): number for name, number in numbers.items()},
    }
    if len(ports) == 1:
        (settings["PORT"],) = ports
    if not settings["NAME"]:
        return _unusable(
            f"{variable} names no database. Add it after the host, as in "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
        )
    return _with_defaults(settings)


def _may_show_a_password(url: str) -> bool:
    """Whether a part of a password that is not written as %XX would be read as something else.

    libpq ends the password at the first of these characters, and takes the rest for a host, a database or an
    option, which errors show.
    """
    authority = re.split("[/?]", url.partition("://")[2])[0]
    return authority.count("@") > 1 or ("@" not in authority and "@" in url)


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
            # On 127.0.0.1 too, for the other programs.
            "EMBEDDED_LISTENS": True,
        }
    )


def is_embedded(settings: dict[str, Any]) -> bool:
    return bool(settings["ENGINE"] == EMBEDDED)


def url_of(settings: dict[str, Any], password: str = "") -> str:
    """The database's URL for psql, node-postgres and SQLAlchemy, with no password but the one that is given."""
    user = quote(settings["USER"], safe="") + (f":{quote(password, safe='')}" if password else "")
    host, port = str(settings["HOST"]), str(settings["PORT"])
    query: dict[str, str] = {}
    if host.startswith("/"):
        query["host"], host = host, ""
    if port and not host:
        query["port"], port = port, ""
    # These are this program's own: other programs have their defaults, and their names.
    ours = {"connect_timeout", "application_name", "passfile"}
    shown = LIBPQ_OPTIONS - SECRET_OPTIONS - ours
    query |= {k: str(v) for k, v in settings["OPTIONS"].items() if k in shown}
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
