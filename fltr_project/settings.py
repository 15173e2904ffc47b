"""The one settings module; every environment variable is read once, here.

`.env.example` lists the variables. An unset one means its default. An empty or malformed database
URL does not stop Django from starting, because system check ``fltr.E001`` and every command can
then say which variable it is; it never falls back to another database.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import environment
from .postgres import addresses

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"
# Verified dumps, and one JSON line for everything that was planned, refused or done to a schema.
BACKUP_DIR = VAR_DIR / "backups"
OPERATIONS_LOG = VAR_DIR / "operations.jsonl"

environment.read_env_file(default=BASE_DIR / ".env")


def _database(name: str, default: dict[str, Any]) -> dict[str, Any]:
    return addresses.parse(name, os.environ[name]) if name in os.environ else default


DATABASES: dict[str, dict[str, Any]] = {
    "default": _database(
        "CONTROL_DATABASE_URL",
        {"ENGINE": "django.db.backends.sqlite3", "NAME": VAR_DIR / "control.sqlite3"},
    ),
    "auth": _database("AUTH_DATABASE_URL", addresses.embedded("fltr_auth", VAR_DIR)),
    "fltr": _database("FLTR_DATABASE_URL", addresses.embedded("fltr", VAR_DIR)),
}
DATABASE_ROUTERS = ["fltr_project.routers.AppRouter"]

# Credits of a new user, the same for every client: `migrate` writes them into the database, whose
# trigger takes 100 where nothing is written. None leaves what is written as it is.
SIGNUP_BONUS_CREDITS = environment.natural("SIGNUP_BONUS_CREDITS", most=999_999_999)

# What operations cost, in credits: a number, or steps of (up to so many bytes, credits), the last
# without an end (auth_app.pricing).
_MB = 1024 * 1024
CREDIT_PRICES: dict[str, int | list[tuple[int | None, int]]] = {
    "document": [(1 * _MB, 2), (5 * _MB, 3), (10 * _MB, 6), (25 * _MB, 12), (None, 25)],
    "query.standard": 1,
    "query.hybrid": 2,
    "query.premium": 5,
    "dataset": 2,
}

# Both databases embedded means a person at their own machine; anything else is safe by default.
DEBUG = environment.boolean(
    "DEBUG", default=all(addresses.is_embedded(DATABASES[alias]) for alias in ("auth", "fltr"))
)
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS")
SECRET_KEY = environment.secret_key("SECRET_KEY", own=VAR_DIR / "secret_key" if DEBUG else None)

# The ledger's statements are prepared on the server once a connection has sent them five times,
# which saves up to a tenth of a consume. Off by default for a server of your own: behind a pooler
# that hands out connections by transaction, another client's statement may have the same name.
if environment.boolean("PREPARED_STATEMENTS", default=addresses.is_embedded(DATABASES["auth"])):
    DATABASES["auth"].setdefault("OPTIONS", {})["prepare_threshold"] = 5

INSTALLED_APPS = [
    "fltr_project",
    "auth_app",
    "data_app",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

ROOT_URLCONF = "fltr_project.urls"
WSGI_APPLICATION = "fltr_project.wsgi.application"
ASGI_APPLICATION = "fltr_project.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"

if not DEBUG:
    # Behind a proxy that ends TLS and says so.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^health$"]
    SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
