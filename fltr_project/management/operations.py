"""What the commands that change a schema have in common: one at a time, backed up, recorded."""

from __future__ import annotations

import uuid
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error as DatabaseError

from fltr_project import history, words
from fltr_project.errors import CannotRun
from fltr_project.history import Event, History
from fltr_project.management.base import SchemaCommand
from fltr_project.paths import shown
from fltr_project.postgres import locks
from fltr_project.postgres.target import (
    ALIASES,
    Target,
    connect,
    identify,
    known_aliases,
    others,
    require_distinct,
)
from fltr_project.schema import aside, guards
from fltr_project.schema.aside import Waiting
from fltr_project.schema.backup import Backup, backup
from fltr_project.schema.backup import require_possible as require_backup_possible
from fltr_project.schema.interrupted import interrupted
from fltr_project.schema.plan import Plan, plan


class OperationCommand(SchemaCommand):
    """A command that plans, asks, backs up, acts and records."""

    def add_waiting(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--lock-timeout",
            type=float,
            default=locks.LOCK_TIMEOUT / 1000,
            metavar="SECONDS",
            help="how long to wait for other sessions before giving up with exit code 5 "
            "(default: %(default)g)",
        )
        parser.add_argument(
            "--terminate",
            action="store_true",
            help="end the sessions that are in the way instead of waiting for them",
        )

    def add_backup(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--backup-dir",
            metavar="DIR",
            help="where the backup is written before anything is touched (default: var/backups)",
        )
        parser.add_argument(
            "--no-backup",
            action="store_false",
            dest="wants_backup",
            help="make no backup; refused on a protected database",
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.run_id = uuid.uuid4().hex[:12]
        self.history = History(Path(settings.OPERATIONS_LOG))
        self.targets: tuple[Target, ...] = ()
        self.backups: tuple[Backup, ...] = ()
        self.token = options.get("token") or ""
        self.lock_timeout = locks.LOCK_TIMEOUT
        try:
            return super().execute(*args, **options)
        except CommandError:
            # Recorded where it was told (_fail).
            raise
        except Exception as error:
            self.record(history.FAILED, f"{type(error).__name__}: {error}", 2)
            raise
        except KeyboardInterrupt as interrupt:
            sentence = "Interrupted. What was not committed has been rolled back."
            self.record(history.FAILED, sentence, 130)
            raise CommandError(sentence, returncode=130) from interrupt

    def _fail(self, sentence: str, exit_code: int, error: Exception) -> None:
        event = history.REFUSED if exit_code in {3, 4} else history.FAILED
        self.record(event, sentence, exit_code)
        super()._fail(sentence, exit_code, error)

    def outcome(self, exit_code: int = 0) -> dict[str, Any]:
        """With the run's id, which its events in the history have too."""
        return {
            "command": self.command,
            "operation": self.run_id,
            **super().outcome(exit_code),
        }

    def record(self, event: str, detail: str, exit_code: int | None = None) -> None:
        """Add an event to the history; what cannot be written is told, and stops nothing."""
        self.history.write(
            Event(
                operation=self.run_id,
                event=event,
                command=self.command,
                databases=history.databases(self.targets),
                exit_code=exit_code,
                detail=detail,
                token=self.token,
                backups=tuple(backup.sha256 for backup in self.backups),
            )
        )

    def say_history(self) -> None:
        for problem in self.history.problems.values():
            self.say(f"Note: {problem}", verbosity=2 if problem.startswith("The history") else 1)

    def milliseconds(self, lock_timeout: float) -> int:
        """The option in milliseconds; raises CannotRun for one that would wait for ever."""
        if not lock_timeout >= 0.001:
            raise CannotRun(
                "--lock-timeout must be more than 0 seconds, or it would wait for ever."
            )
        self.lock_timeout = round(lock_timeout * 1000)
        return self.lock_timeout

    def reach(self, databases: Sequence[str]) -> tuple[Target, ...]:
        """Connect to the databases asked for and ask each server who it is."""
        connections = [connect(alias) for alias in known_aliases(databases)]
        self.targets = tuple(identify(connection) for connection in connections)
        require_distinct([*self.targets, *others(self.targets)])
        return self.targets

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only operation on all the targets while the block runs."""
        with ExitStack() as stack:
            for target in self.targets:
                stack.enter_context(locks.operation(connect(target.alias), target.database))
            yield

    def plans(self) -> list[Plan]:
        return [self.plan(target) for target in self.targets]

    def plan(self, target: Target) -> Plan:
        return plan(connect(target.alias), target, self.lock_timeout)

    def half_done(self) -> dict[str, str]:
        """What a run left behind that was killed between the commits of its databases, by alias."""
        found: dict[str, Sequence[Waiting] | None] = {}
        for alias in ALIASES:
            try:
                found[alias] = aside.find(connect(alias))
            except (CannotRun, DatabaseError):
                found[alias] = None
        return interrupted(found)

    def backup_directory(self, backup_dir: str | None) -> Path:
        return Path(backup_dir or settings.BACKUP_DIR).absolute()

    def require_backup(self, plans: Sequence[Plan], wanted: bool, backup_dir: str | None) -> None:
        """Raise before anything is touched: a backup that may not be left out, or cannot be made."""
        for each in plans:
            if not wanted:
                guards.require_backup(each)
            else:
                require_backup_possible(each, self.backup_directory(backup_dir))

    def back_up(self, each: Plan, backup_dir: str | None, lock_timeout: int) -> Backup:
        made = backup(each, self.backup_directory(backup_dir), lock_timeout=lock_timeout)
        self.backups = (*self.backups, made)
        return made


def backup_line(made: Backup) -> str:
    rows = words.rows(made.rows, made.product_rows)
    old = len(made.removed)
    removed = f"; {words.counted(old, 'older ones')} removed" if old else ""
    return f"{shown(made.path)} ({size(made.bytes)}, {rows}, verified){removed}"


def backup_json(made: Backup) -> dict[str, Any]:
    return {
        "path": str(made.path),
        "manifest": str(made.manifest),
        "sha256": made.sha256,
        "bytes": made.bytes,
        "tables": made.tables,
        "rows": made.rows,
        "product_rows": made.product_rows,
        "removed": [str(path) for path in made.removed],
    }


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1024**2:,.1f} MiB" if count >= 100_000 else f"{count / 1024:,.0f} KiB"
