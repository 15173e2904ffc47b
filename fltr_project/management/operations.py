"""What the commands that change a schema have in common: one at a time, backed up, recorded."""

from __future__ import annotations

import signal
import uuid
from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error as DatabaseError

from fltr_project.backup.backup import Backup
from fltr_project.backup.errors import Unproven
from fltr_project.backup.taking import Wanted, take
from fltr_project.backup.upload import Upload
from fltr_project.catalog import aside
from fltr_project.catalog.aside import OperationRecord, SetAside
from fltr_project.errors import CannotRun
from fltr_project.history import Event, History, HistoryEntry
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
from fltr_project.rebuild import losses
from fltr_project.rebuild.consent import (
    Consent,
    is_protected,
    require_backup,
    why_protected,
)
from fltr_project.rebuild.endings import Standings
from fltr_project.rebuild.plan import Plan, plan
from fltr_project.rebuild.set_aside import half_done

from . import advice
from .backups import ProofProgress, backup_directory
from .base import SchemaCommand
from .interrupts import interrupted_by

# What --accept-loss takes, and the kinds that it stands for.
LOSSES = {kind.replace(" ", "-"): kind for kind in losses.KINDS}


@dataclass(frozen=True)
class Request:
    """What the options that all operations share say."""

    interactive: bool
    # Databases confirmed by name, and the token of a plan.
    names: tuple[str, ...]
    token: str | None
    # Milliseconds.
    lock_timeout: int
    terminate: bool
    backup_directory: Path
    wants_backup: bool
    # None is: where the database is protected.
    wants_proof: bool | None
    accepts_unproven: bool
    # Kinds of what will not come back that may go.
    accepted: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: dict[str, Any]) -> Request:
        """Raises CannotRun for a lock timeout that would wait for ever."""
        seconds = options["lock_timeout"]
        if not seconds >= 0.001:
            raise CannotRun(
                "--lock-timeout must be more than 0 seconds, or it would wait for ever."
            )
        return cls(
            interactive=options["interactive"],
            names=tuple(options["confirm"]),
            token=options["token"],
            lock_timeout=round(seconds * 1000),
            terminate=options["terminate"],
            backup_directory=backup_directory(options["backup_dir"]),
            wants_backup=options["wants_backup"],
            wants_proof=options["wants_proof"],
            accepts_unproven=options["accepts_unproven"],
            accepted=tuple(LOSSES[word] for word in options.get("accepted", ())),
        )

    def consent(self, plans: Sequence[Plan]) -> Consent:
        """Consent to losing what the plans say."""
        return Consent(plans, self.names, self.token)


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

    def add_losses(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--accept-loss",
            action="append",
            default=[],
            dest="accepted",
            choices=sorted(LOSSES),
            metavar="KIND",
            help="what others have made and --plan says will not come back, and a protected database loses "
            "nothing of that is not named here; repeat it for each kind: %(choices)s",
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
        self.add_proof(parser)
        parser.add_argument(
            "--accept-unproven",
            action="store_true",
            dest="accepts_unproven",
            help="empty a protected database on a backup that was read to its end, but not restored",
        )

    def add_proof(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--proof",
            action=BooleanOptionalAction,
            default=None,
            dest="wants_proof",
            help="restore the backup into a scratch database and compare (default: of a protected "
            "database)",
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.run_id = uuid.uuid4().hex[:12]
        self.history = History(Path(settings.OPERATIONS_LOG))
        self.targets: tuple[Target, ...] = ()
        self.backups: tuple[Backup, ...] = ()
        self.uploads: tuple[Upload, ...] = ()
        self.token = options.get("token") or ""
        self.standings = Standings()
        try:
            with interrupted_by(signal.SIGTERM, signal.SIGHUP):
                return super().execute(*args, **options)
        except CommandError:
            # Recorded where it was told (_fail).
            raise
        except Exception as error:
            self.record(Event.FAILED, f"{type(error).__name__}: {error} {self.standing()}", 2)
            if self.standings.all:
                self.stderr.write(self.standing())
            raise
        except KeyboardInterrupt as interrupt:
            # The engine says what stands when it was interrupted after a commit.
            told = advice.sentence(interrupt)
            sentence = told or "Interrupted. What was not committed has been rolled back."
            sentence = self._with_standing(sentence)
            self.record(Event.FAILED, sentence, 130)
            raise CommandError(sentence, returncode=130) from interrupt

    def _fail(self, sentence: str, exit_code: int, error: Exception) -> None:
        sentence = self._with_standing(sentence)
        event = Event.REFUSED if exit_code in {3, 4} else Event.FAILED
        self.record(event, sentence, exit_code)
        super()._fail(sentence, exit_code, error)

    def outcome(self, exit_code: int = 0) -> dict[str, Any]:
        """With the run's id, which its events in the history have too."""
        return {
            "command": self.command,
            "operation": self.run_id,
            **super().outcome(exit_code),
        }

    def standing(self) -> str:
        """What stands committed on each database, a sentence each; empty where nothing has begun."""
        return " ".join(map(str, self.standings.all))

    def _with_standing(self, sentence: str) -> str:
        """The sentence, and in the last line where each database stands."""
        return "\n".join(filter(None, (sentence, self.standing())))

    def failure(self, sentence: str, exit_code: int) -> dict[str, Any]:
        """With where each database stands, where the act has begun."""
        standings = [
            {**asdict(each), "state": each.state.name.lower().replace("_", " ")}
            for each in self.standings.all
        ]
        document = super().failure(sentence, exit_code)
        return {**document, "standing": standings} if standings else document

    def record(self, event: Event, detail: str, exit_code: int | None = None) -> None:
        """Add an event to the history; what cannot be written is told, and stops nothing."""
        self.history.write(
            HistoryEntry(
                operation=self.run_id,
                event=event,
                command=self.command,
                databases=tuple(target.as_json() for target in self.targets),
                exit_code=exit_code,
                detail=detail,
                token=self.token,
                backups=tuple(backup.sha256 for backup in self.backups),
            )
        )

    def say_history(self) -> None:
        for problem in self.history.problems.values():
            self.say(f"Note: {problem}", verbosity=2 if problem.startswith("The history") else 1)

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
                stack.enter_context(locks.exclusive(target))
            yield

    def plans(self, lock_timeout: int = locks.LOCK_TIMEOUT) -> list[Plan]:
        """What would be lost in each database; milliseconds for ``lock_timeout``."""
        return [plan(connect(each.alias), each, lock_timeout) for each in self.targets]

    def operation_record(self) -> OperationRecord:
        """What a schema that this run sets aside says about it."""
        aliases = tuple(target.alias for target in self.targets)
        return OperationRecord.begin(self.command, self.run_id, aliases)

    def half_done(self) -> dict[str, str]:
        """What a run left behind that was killed between the commits of its databases, by alias."""
        found: dict[str, Sequence[SetAside] | None] = {}
        for alias in ALIASES:
            try:
                found[alias] = aside.find(connect(alias))
            except (CannotRun, DatabaseError):
                found[alias] = None
        return {half.alias: advice.half_done(half) for half in half_done(found)}

    def back_up(self, each: Plan, request: Request) -> Backup | None:
        """Make the backup that comes before everything; None where it may be left out, and is.

        Raises BackupRequired for a protected database, and BackupFailed; then nothing is touched.
        """
        if not request.wants_backup:
            require_backup(each)
            return None
        needs_proof = is_protected(each) and not request.accepts_unproven
        if needs_proof and request.wants_proof is False:
            raise Unproven(
                f"Guard 'proof': {each.target} {why_protected(each)}, so it is not emptied on a backup "
                "that nobody has restored."
            )
        made = self.take(
            each.target,
            Wanted(
                request.backup_directory,
                request.wants_proof,
                lock_timeout=request.lock_timeout,
            ),
        )
        if needs_proof and made.proof is None:
            raise Unproven(
                f"Guard 'proof': {each.target} {why_protected(each)}, and its backup {made.path.name} "
                f"was read to its end but could not be restored for a proof: {made.unproven}. "
                "Nothing was emptied."
            )
        return made

    def take(self, target: Target, wanted: Wanted) -> Backup:
        """Make a backup and tell how it goes on; raises BackupFailed."""
        telling = ProofProgress(self.say)
        made, uploaded = take(target, wanted, telling.begins, telling)
        self.backups = (*self.backups, made)
        if uploaded:
            self.uploads = (*self.uploads, uploaded)
            if uploaded.problem:
                self.say(self.style.WARNING(f"  BACKUP_UPLOAD failed: {uploaded.problem}"))
        return made
