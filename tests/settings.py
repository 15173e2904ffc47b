"""The project's settings, with ``default`` on PostgreSQL too: out of the box it is SQLite."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# The tests are for a server of their own, never for that of somebody's .env; the processes that
# they start inherit this.
os.environ["FLTR_ENV_FILE"] = str(Path(__file__).with_name("empty.env"))

from fltr_project.settings import *  # noqa: F403
from fltr_project.settings import DATABASES, VAR_DIR

# A server of the tests' own, so that the one with a developer's data can be stopped or broken.
for database in DATABASES.values():
    if "EMBEDDED_ROOT" in database:
        database["EMBEDDED_ROOT"] = VAR_DIR / "postgres-tests"

if "CONTROL_DATABASE_URL" not in os.environ:
    # Beside fltr_auth on whatever server that is on; pytest-django names it test_fltr_control.
    DATABASES["default"] = {**DATABASES["auth"], "NAME": "fltr_control"}

SECRET_KEY = "for tests only: " + "0123456789" * 5
DEBUG = False
SECURE_SSL_REDIRECT = False
ALLOWED_HOSTS = ["testserver", "localhost"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Of this run only, removed by the system; a process of its own that the tests start is told.
_scratch = Path(tempfile.mkdtemp(prefix="cs-"))
BACKUP_DIR = _scratch / "backups"
OPERATIONS_LOG = _scratch / "operations.jsonl"
