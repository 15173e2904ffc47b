"""The one settings module; every environment variable is read once, here.

`.env.example` lists the variables. An unset one means its default. An empty or malformed database
URL does not stop Django from starting, because system check ``fltr.E001`` and every command can
then say which variable it is; it never falls back to another database.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.utils.csp import CSP

from . import environment
from .postgres import addresses

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"
# Archives of the databases, and one JSON line for everything that was planned, refused or done to a schema.
BACKUP_DIR = VAR_DIR / "backups"
# Servers that stand for the time of a proof, where the database's own has no room for it.
PROOF_DIR = VAR_DIR / "proofs"
OPERATIONS_LOG = VAR_DIR / "operations.jsonl"

VARIABLES = addresses.VARIABLES | {
    *("ALLOWED_HOSTS", "DEBUG", "PREPARED_STATEMENTS", "SECRET_KEY", "SIGNUP_BONUS_CREDITS"),
    *(
        "FLTR_CONTRACT_EXTRAS",
        "PROOF_DATABASE_URL",
        "BACKUP_UPLOAD",
        "BACKUP_UPLOAD_TIMEOUT",
        "DRIZZLE_FOLDER",
    ),
}
environment.read_env_file(BASE_DIR / ".env", VARIABLES)

DATABASES: dict[str, dict[str, Any]] = addresses.databases(os.environ, VAR_DIR)

# Where a backup is proven that neither the database's own server nor one started here can hold.
PROOF_DATABASE_URL = environment.text("PROOF_DATABASE_URL")
# A command that gets the paths of each proven archive and its manifest, and the seconds that it has.
BACKUP_UPLOAD = environment.text("BACKUP_UPLOAD")
BACKUP_UPLOAD_TIMEOUT = environment.natural("BACKUP_UPLOAD_TIMEOUT", most=86_400) or 3_600
DATABASE_ROUTERS = ["fltr_project.routers.AppRouter"]

# Migrations of the Next.js application, which are recorded as applied after ours.
DRIZZLE_FOLDER = environment.text("DRIZZLE_FOLDER")

# Credits of a new user, the same for every client: `migrate` writes them into the database, whose
# trigger takes 100 where nothing is written. None leaves what is written as it is.
SIGNUP_BONUS_CREDITS = environment.natural("SIGNUP_BONUS_CREDITS", most=999_999_999)

# What operations cost, in credits: a number, or steps of (up to so many bytes, credits), the last
# without an end (auth_app.ledger.pricing).
_MB = 1024 * 1024
CREDIT_PRICES: dict[str, int | list[tuple[int | None, int]]] = {
    "document": [(1 * _MB, 2), (5 * _MB, 3), (10 * _MB, 6), (25 * _MB, 12), (None, 25)],
    "query.standard": 1,
    "query.hybrid": 2,
    "query.premium": 5,
    "dataset": 2,
}

# No database but this checkout's own means a person at their own machine; anything else is safe by default.
DEBUG = environment.boolean("DEBUG", default=not addresses.VARIABLES & os.environ.keys())
# Django's page of an error shows the variables of the code and of the environment.
DEFAULT_EXCEPTION_REPORTER_FILTER = "fltr_project.secrets.SecretsHidden"
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS")
SECRET_KEY = environment.secret_key("SECRET_KEY", own=VAR_DIR / "secret_key" if DEBUG else None)

# Prepare what a connection to fltr_auth sends more than five times, which saves a consume a fifth of
# its time. Only parameters that the server binds allow that. Off by default for a server of your own:
# behind a pooler that hands out connections by transaction, another client's statement may have the
# same name.
if environment.boolean("PREPARED_STATEMENTS", default=addresses.is_embedded(DATABASES["auth"])):
    DATABASES["auth"].setdefault("OPTIONS", {}).update(
        server_side_binding=True, prepare_threshold=5
    )

# What the contract has besides what everybody has: plugins of Better Auth, or apps of a team's own.
CONTRACT_EXTRAS = environment.apps(
    "FLTR_CONTRACT_EXTRAS",
    known={
        "better-auth-admin": "plugins.better_auth_admin",
        "better-auth-jwt": "plugins.better_auth_jwt",
        "better-auth-organization": "plugins.better_auth_organization",
        "better-auth-two-factor": "plugins.better_auth_two_factor",
    },
)

INSTALLED_APPS = [
    "fltr_project",
    "auth_app",
    "data_app",
    *CONTRACT_EXTRAS,
    "fltr_project.admin_apps.CleanSlateAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "fltr_project.web.health.Health",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "fltr_project.web.hostile.HostileAddresses",
    "fltr_project.web.timeouts.StatementTimeouts",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # The last, so that it sees the errors of the views only.
    "fltr_project.web.trouble.DatabaseTrouble",
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

# Everything comes from this server, and nothing stands in the pages themselves.
SECURE_CSP = {
    "default-src": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
    "object-src": [CSP.NONE],
}
X_FRAME_OPTIONS = "DENY"
# A working day.
SESSION_COOKIE_AGE = 12 * 60 * 60

if not DEBUG:
    # Behind a proxy that ends TLS and says so.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
