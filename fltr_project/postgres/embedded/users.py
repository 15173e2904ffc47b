"""Which processes use an embedded server: the first one starts it, the last one stops it.

Each user holds a shared ``flock`` on ``users.lock`` for as long as it lives, so the kernel counts them and
forgets one that was killed. Who starts, joins, leaves or stops the server holds ``start.lock`` alone. The
file ``keep`` says that the server stays up without users.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .placement import file_errors_explained

# The shared locks that this process holds, by home, with its number: a fork inherits the dictionary, and
# not the use. It belongs to the process and to no object: each thread has connections of its own, and a
# lock that came and went with them would stop the server under the others.
_joined: dict[Path, tuple[int, int]] = {}


@dataclass(frozen=True)
class Users:
    """The users of the server in ``home``, this process among them once it has joined."""

    home: Path

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep other processes from starting, joining, leaving and stopping while the block runs."""
        with file_errors_explained(self.home):
            descriptor = os.open(self.home / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def has_joined(self) -> bool:
        return _joined.get(self.home, (None, -1))[0] == os.getpid()

    def join(self) -> bool:
        """Make this process a user, within ``exclusively``; False when it is one already."""
        if self.has_joined():
            return False
        descriptor = os.open(self.home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _joined[self.home] = os.getpid(), descriptor
        return True

    def leave(self) -> None:
        """End this process's use, within ``exclusively``."""
        if self.has_joined():
            _, descriptor = _joined.pop(self.home)
            os.close(descriptor)

    def are_any(self) -> bool:
        """Whether a process uses the server, this one included; asked within ``exclusively``."""
        descriptor = os.open(self.home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def keep(self, wanted: bool) -> None:
        """Say whether the server stays up when nobody uses it."""
        path = self.home / "keep"
        if wanted:
            path.touch()
        else:
            path.unlink(missing_ok=True)

    def is_kept(self) -> bool:
        with file_errors_explained(self.home):
            return os.path.lexists(self.home / "keep")
