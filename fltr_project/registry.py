"""What the apps register with the engine, which knows none of them: by the alias of their database.

An app registers in ``AppConfig.ready`` by dotted path. The module is imported when it is first asked for, so
that a command that does not need it does not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string


class Registry:
    """Functions by the alias of the database that they are about."""

    def __init__(self) -> None:
        self._paths: dict[str, list[str]] = {}

    def register(self, alias: str, path: str) -> None:
        """Add the function with the dotted path ``path``; registering it again changes nothing."""
        paths = self._paths.setdefault(alias, [])
        if path not in paths:
            paths.append(path)

    def of(self, alias: str) -> tuple[Callable[..., Any], ...]:
        """The functions of a database, in the order in which they were registered."""
        return tuple(import_string(path) for path in self._paths.get(alias, ()))

    def aliases(self) -> tuple[str, ...]:
        """The databases that functions are registered for."""
        return tuple(self._paths)


# Each takes an alias, runs in the open transaction of a database that was just rebuilt, leaves no trace, and
# answers with ``ok`` and ``detail`` (rebuild.build.Proof).
proofs = Registry()

# Each takes the connection of a database that was just rebuilt and the name of its old schema, takes over what the
# migrations cannot know, in the open transaction, and says in words what that was, or None.
carried = Registry()

# Each takes the connection of a database and its catalog, only reads, and yields what is wrong with the rows
# (drift.report.FindingWithRepair).
data_checks = Registry()

# What users of the database lose with a trigger, by its table and name: a sentence for the finding that it is
# missing or disabled, where an app has a better one than that its work is not done.
trigger_losses: dict[tuple[str, str], str] = {}

# Each answers with what the kinds of programs may in the database, by the kind's name (catalog.access.Access).
access = Registry()

# Functions of the contract whose whole text is ``SELECT`` and a number that the operator chooses.
chosen_numbers: set[str] = set()

# Each takes the connection of a database that a release has migrated, does what the app wants done then, and says in
# words what that was, or None.
releases = Registry()

# Each takes ids of users that are about to be deleted, and deletes what is theirs in its database, in a transaction of
# its own; how many rows those were.
belongings = Registry()

# Each takes the addresses of the running web application and API, walks through both as a new user does, and answers with
# ``checks`` (name, ok, detail, milliseconds) and with ``unchecked``, the reasons why something could not be looked at.
walks = Registry()
