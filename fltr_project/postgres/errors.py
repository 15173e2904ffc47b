"""Why a database is not worked on, with the facts that a command needs to say what to do."""

from __future__ import annotations

from fltr_project.errors import Blocked, CannotRun


class SessionsInTheWay(Blocked):
    """Other transactions are at work on the schema and did not end in time."""


class LockTimedOut(Blocked):
    """A statement waited too long for a lock, or the server ended it as part of a deadlock."""


class UnknownAlias(CannotRun):
    """There is no such alias; ``meant`` are those whose database has that name."""

    def __init__(self, alias: str, aliases: tuple[str, ...], meant: tuple[str, ...]) -> None:
        self.alias, self.meant = alias, meant
        super().__init__(f"There is no alias {alias!r}. Use one of: {', '.join(aliases)}.")


class PortTaken(CannotRun):
    """Another program has the port of 127.0.0.1 that the embedded server would listen on."""

    def __init__(self, port: int, *, when_it_started: bool) -> None:
        super().__init__(
            f"Port {port} of 127.0.0.1 "
            + (
                "was in use by another program when the embedded server started, so it listens on its "
                "socket only."
                if when_it_started
                else "is in use by another program."
            )
        )
        self.when_it_started = when_it_started


class RunsOnAnotherPort(CannotRun):
    """The embedded server runs already, and cannot move to another port meanwhile."""

    def __init__(self, port: int) -> None:
        super().__init__(f"The embedded server runs already, so it cannot move to port {port}.")
        self.port = port
