"""The one settings module; every environment variable is read once, here.

`.env.example` lists the variables. An unset one means its default. An empty or malformed database
URL does not stop Django from starting, because system check ``fltr.E001`` and every command can
then say which variable it is; it never falls back to another database.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

from .postgres import addresses

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"
# Verified dumps, and one JSON line for everything that was planned, refused or done to a schema.
BACKUP_DIR = VAR_DIR / "backups"
OPERATIONS_LOG = VAR_DIR / "operations.jsonl"

env = environ.Env()
_env_file = Path(os.environ.get("FLTR_ENV_FILE") or BASE_DIR / ".env")
if _env_file.is_file():
    env.read_env(_env_file)
elif "FLTR_ENV_FILE" in os.environ:
    raise ImproperlyConfigured(
        f"FLTR_ENV_FILE names {str(_env_file)!r}, which is not a file. Name the file that holds "
        "the variables of .env.example, or unset it."
    )


def _boolean(name: str, default: bool) -> bool:
    """A strict boolean: django-environ reads any unknown word as False."""
    value = env.str(name, default="on" if default else "off").strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}, which is not a boolean. Use on or off.")


def _natural(name: str, default: int) -> int:
    value = env.str(name, default=str(default)).strip()
    # user_credits.credits is a PostgreSQL integer.
    if not (value.isascii() and value.isdigit() and int(value) < 2**31):
        raise ImproperlyConfigured(f"{name} is {value!r}. Use a whole number from 0 to 2147483647.")
    return int(value)


def _database(name: str, default: dict[str, Any]) -> dict[str, Any]:
    if name not in os.environ:
        return default
    with warnings.catch_warnings():
        # django-environ warns about an unknown scheme; addresses.parse turns it into an error.
        warnings.simplefilter("ignore")
        return addresses.parse(name, os.environ[name])


DATABASES: dict[str, dict[str, Any]] = {
    "default": _database(
        "CONTROL_DATABASE_URL",
        {"ENGINE": "django.db.backends.sqlite3", "NAME": VAR_DIR / "control.sqlite3"},
    ),
    "auth": _database("AUTH_DATABASE_URL", addresses.embedded("fltr_auth", VAR_DIR)),
    "fltr": _database("FLTR_DATABASE_URL", addresses.embedded("fltr", VAR_DIR)),
}
DATABASE_ROUTERS = ["fltr_project.routers.AppRouter"]

# Credits of a new user, the same for every client: written into the database when it is migrated.
SIGNUP_BONUS_CREDITS = _natural("SIGNUP_BONUS_CREDITS", 100)

# Both databases embedded means a person at their own machine; anything else is safe by default.
DEBUG = _boolean(
    "DEBUG", default=all(addresses.is_embedded(DATABASES[alias]) for alias in ("auth", "fltr"))
)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[])
ALLOWED_HOSTS = [host.strip() for host in ALLOWED_HOSTS]


def _secret_key() -> str:
    """The key from the environment; with DEBUG one that this checkout made for itself.

    Without either it stays empty: commands run, and Django refuses to sign anything.
    """
    if "SECRET_KEY" in os.environ or not DEBUG:
        return str(env.str("SECRET_KEY", default=""))
    path = VAR_DIR / "secret_key"
    VAR_DIR.mkdir(exist_ok=True)
    try:
        # Exclusive creation: of two first runs at once one writes and the other reads.
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(get_random_secret_key())
    except FileExistsError:
        pass
    return path.read_text() or get_random_secret_key()


SECRET_KEY = _secret_key()

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
