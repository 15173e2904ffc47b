"""Django's SQLite backend, for a file that nobody else may read.

It holds the staff's accounts and their sessions.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.db.backends.sqlite3 import base

# What a group and others may.
ANYBODY = stat.S_IRWXG | stat.S_IRWXO


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        file = Path(conn_params["database"])
        # Where it cannot be made or is somebody else's, SQLite says why, or opens it as it is.
        with suppress(OSError):
            # A new clone has no var/.
            file.parent.mkdir(exist_ok=True)
            os.close(os.open(file, os.O_RDONLY | os.O_CREAT, 0o600))
            if file.stat().st_mode & ANYBODY:
                file.chmod(0o600)
        return super().get_new_connection(conn_params)
