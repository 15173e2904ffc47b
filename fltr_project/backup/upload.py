"""Send a proven archive on, by a command of the operator's."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from .manifest import MANIFEST

# The last of what a command has said, in characters.
SAID = 300


@dataclass(frozen=True)
class Upload:
    """What became of sending an archive on."""

    command: str
    # None where it succeeded.
    problem: str | None


def upload(path: Path) -> Upload | None:
    """Run ``BACKUP_UPLOAD`` with the paths of the archive and its manifest; None where it is not set.

    The paths are its last two arguments and ARCHIVE and MANIFEST of its environment. It has
    ``BACKUP_UPLOAD_TIMEOUT`` seconds. Never raises: the backup is there, whatever becomes of the copy.
    """
    command = settings.BACKUP_UPLOAD
    if not command:
        return None
    beside = path.with_suffix(MANIFEST)
    try:
        words = shlex.split(command)
        ended = subprocess.run(
            [*words, str(path), str(beside)],
            env={**os.environ, "ARCHIVE": str(path), "MANIFEST": str(beside)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=settings.BACKUP_UPLOAD_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Upload(command, f"it took longer than {settings.BACKUP_UPLOAD_TIMEOUT} seconds")
    except (OSError, ValueError) as error:
        return Upload(command, str(error))
    if ended.returncode == 0:
        return Upload(command, None)
    said = " ".join(ended.stdout.decode(errors="replace").split())[-SAID:]
    return Upload(command, f"it ended with status {ended.returncode}: {said}")
