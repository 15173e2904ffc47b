"""The file that an export goes into: whole at every moment, whatever stops the writing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fltr_project.errors import CannotRun


def read(path: Path) -> str | None:
    """What the file says; None where there is none. Raises CannotRun for one that cannot be read as text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CannotRun(f"{path} cannot be read: {_why(error)}.") from error


def write(path: Path, text: str) -> None:
    """Put the text into the file, and leave it as it was where that fails. Raises CannotRun."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            # As a new file would have it; one that was there keeps its own.
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
            os.chmod(name, mode)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise CannotRun(f"{path} cannot be written: {_why(error)}.") from error


def _umask() -> int:
    # It can only be read by setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is no UTF-8 text"
