"""The project's settings out of the box, with the embedded server in a directory of the tests."""

from __future__ import annotations

import os
from pathlib import Path

from fltr_project.settings import *  # noqa: F403
from fltr_project.settings import DATABASES

for database in DATABASES.values():
    if "EMBEDDED_ROOT" in database:
        database["EMBEDDED_ROOT"] = Path(os.environ["TESTS_EMBEDDED_ROOT"])
