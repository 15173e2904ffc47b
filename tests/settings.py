"""The project's settings, with ``default`` on PostgreSQL too: out of the box it is SQLite."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

# The tests are for a server of their own, never for that of somebody's .env; the processes that
# they start inherit this.
os.environ["FLTR_ENV_FILE"] = str(Path(__file__).with_name("empty.env"))

from fltr_project.settings import *  # noqa: F403
from fltr_project.settings import DATABASES, VAR_DIR
from tests.memory import directory


def _server_root() -> Path:
    """Where the tests' own server is: in memory where there is room, else below var/.

    Every test that changes a schema has databases of its own, 700 files each, which take a third of
    the time in memory. One directory a checkout and user, so that later runs find it made.
    """
    memory, on_disk = directory(), VAR_DIR / "postgres-tests"
    if memory is None:
        return on_disk
    checkout = hashlib.sha256(os.fsencode(VAR_DIR)).hexdigest()[:12]
    ours = memory / f"clean-slate-tests-{os.geteuid()}-{checkout}"
    ours.mkdir(exist_ok=True)
    return ours if ours.stat().st_uid == os.geteuid() else on_disk


# A server of the tests' own, so that the one with a developer's data can be stopped or broken.
for database in DATABASES.values():
    if "EMBEDDED_ROOT" in database:
        database["EMBEDDED_ROOT"] = _server_root()
        database["EMBEDDED_LISTENS"] = False

if "CONTROL_DATABASE_URL" not in os.environ:
    # Beside fltr_auth on whatever server that is on; pytest-django names it test_fltr_control.
    # With a TEST of its own, into which pytest-django writes the name of each worker's database.
    DATABASES["default"] = {
        **DATABASES["auth"],
        "NAME": "fltr_control",
        "TEST": {"DEPENDENCIES": []},
    }

SECRET_KEY = "for tests only: " + "0123456789" * 5
DEBUG = False
SECURE_SSL_REDIRECT = False
ALLOWED_HOSTS = ["testserver", "localhost"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Of this run only, removed by the system; a process of its own that the tests start is told.
_scratch = Path(tempfile.mkdtemp(prefix="cs-"))
BACKUP_DIR = _scratch / "backups"
PROOF_DIR = _scratch / "proofs"
OPERATIONS_LOG = _scratch / "operations.jsonl"
