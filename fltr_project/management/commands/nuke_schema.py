from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from fltr_project import history
from fltr_project.errors import Blocked, CannotRun
from fltr_project.management.base import REPLACES, target_json
from fltr_project.management.operations import OperationCommand, backup_json, backup_line
from fltr_project.management.plans import plan_json, plan_lines
from fltr_project.schema import aside, guards, nuke, plan_token
from fltr_project.schema.plan import Plan
from fltr_project.words import counted


class Command(OperationCommand):
    help = (
        "Empties schema public of one database. A verified backup is made, the schema is set aside "
        "in one short transaction, a new one takes its place with all that hung on it, and the old "
        "one is dropped afterwards. It does not run migrations; `clean_slate` does all of it."
    )
    examples = """\
  manage.py nuke_schema --database auth --plan       what would be lost, and a token
  manage.py nuke_schema --database auth              asks for the database's name
  manage.py nuke_schema --database auth --no-input   a database marked development or test
  manage.py nuke_schema --database auth --no-input --confirm fltr_auth --token T
                                                     a protected database
  manage.py nuke_schema --database auth --keep       keep the old schema for --undo
  manage.py nuke_schema --database auth --undo       bring it back
  manage.py nuke_schema --database auth --purge      or drop it
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_database(parser)
        self.add_consent(parser)
        self.add_token(parser)
        self.add_format(parser)
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--plan", action="store_true", help="show what would be lost and stop")
        what.add_argument(
            "--keep", action="store_true", help="keep the old schema, for --undo or --purge"
        )
        what.add_argument("--undo", action="store_true", help="bring back the schema kept last")
        what.add_argument("--purge", action="store_true", help="drop every schema that was kept")
        self.add_waiting(parser)
        self.add_backup(parser)

    def handle(
        self,
        database: str,
        interactive: bool,
        confirm: list[str],
        token: str | None,
        plan: bool,
        keep: bool,
        undo: bool,
        purge: bool,
        lock_timeout: float,
        terminate: bool,
        backup_dir: str | None,
        wants_backup: bool,
        **options: Any,
    ) -> None:
        milliseconds = self.milliseconds(lock_timeout)
        self.reach([database])
        if plan:
            self._plan(backup_dir)
            return
        with self.alone():
            (planned,) = self.plans()
            if undo or purge:
                if not planned.waiting:
                    raise CannotRun(
                        f"{planned.target} has no schema that was set aside. Nothing has changed."
                    )
                # Where nothing is protected, a script that names the option has said enough. A person
                # is asked before a purge all the same, for nothing undoes that.
                free = planned.target.environment in guards.FREE
                ask = interactive and (not free or (purge and sys.stdin.isatty()))
                names = ", ".join(waiting.name for waiting in planned.waiting)
                self.obtain_consent(
                    [planned],
                    confirm,
                    ask,
                    token,
                    needs_token=False,
                    counts_unmarked=purge,
                    does=f"drops {names} of {{plan.target}} for good" if purge else REPLACES,
                )
                if undo:
                    self._undo(planned, milliseconds, terminate)
                else:
                    self._purge(planned, milliseconds)
                return
            guards.require_possible(planned, rebuilds=False)
            self.obtain_consent([planned], confirm, interactive, token)
            self.require_backup([planned], wants_backup, backup_dir)
            if wants_backup:
                self.back_up(planned, backup_dir, milliseconds)
            self._nuke(planned, keep, milliseconds, terminate)

    def _plan(self, backup_dir: str | None) -> None:
        (planned,) = self.plans()
        directory = self.backup_directory(backup_dir)
        self.token = plan_token.issue([planned])
        self.record(history.PLANNED, f"{planned.summary} would be lost", 0)
        if self.format == "json":
            self.print_json(
                {**self.outcome(), "plan": plan_json(planned, directory), "token": self.token}
            )
            return
        for line in plan_lines(planned, directory, self.style):
            self.say(line)
        for sentence in self.half_done().values():
            self.say(self.style.WARNING(sentence))
        minutes = plan_token.VALID_FOR.total_seconds() / 60
        self.say(f"Token: {self.token} (for {minutes:.0f} minutes, or until something changes)")
        self.say("Nothing has changed.")

    def _nuke(self, planned: Plan, keep: bool, lock_timeout: int, terminate: bool) -> None:
        target = planned.target
        self.record(history.BEGUN, f"emptying schema public: {planned.summary}")
        why = aside.journal(self.command, self.run_id, (target.alias,))
        name = nuke.nuke(planned, why, lock_timeout, terminate)
        warning = ""
        if name and not keep:
            try:
                nuke.purge(target, name, lock_timeout, self._progress)
            except Blocked as error:
                # The schema is empty by now; only its old tables are still being read.
                warning, keep = str(error), True
        if name is None:
            sentence = f"Made schema public of {target}, which had none."
        elif keep:
            sentence = (
                f"Emptied schema public of {target}. {name} keeps {planned.summary}: "
                f"{aside.way_out(target.alias)}."
            )
        else:
            sentence = f"Emptied schema public of {target}. Gone: {planned.summary}."
        self._done(planned, "emptied", name if keep else None, sentence, warning)

    def _undo(self, planned: Plan, lock_timeout: int, terminate: bool) -> None:
        target, newest = planned.target, planned.waiting[0]
        self.record(history.BEGUN, f"bringing {newest.name} back")
        for sentence in self.half_done().values():
            self.say(sentence)
        why = aside.journal(self.command, self.run_id, (target.alias,))
        discarded = nuke.undo(planned, newest.name, why, lock_timeout, terminate)
        kept = discarded if planned.product_rows else None
        sentence = f"Brought {newest.name} back as schema public of {target}."
        if kept:
            sentence += f" What it replaced, {planned.summary}, is kept in {kept}."
        elif discarded:
            nuke.purge(target, discarded, lock_timeout)
        self._done(planned, "brought back", kept, sentence)

    def _purge(self, planned: Plan, lock_timeout: int) -> None:
        names = ", ".join(waiting.name for waiting in planned.waiting)
        self.record(history.BEGUN, f"dropping {names}")
        for waiting in planned.waiting:
            nuke.purge(planned.target, waiting.name, lock_timeout, self._progress)
        sentence = f"Dropped what was set aside in {planned.target}: {names}."
        self._done(planned, "purged", None, sentence)

    def _progress(self, tables_left: int) -> None:
        self.say(f"  {counted(tables_left, 'tables')} left to drop", verbosity=2)

    def _done(
        self, planned: Plan, result: str, kept: str | None, sentence: str, warning: str = ""
    ) -> None:
        self.record(history.DONE, sentence, 0)
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(),
                    "database": target_json(planned.target),
                    "result": result,
                    "aside": kept,
                    "backup": backup_json(self.backups[0]) if self.backups else None,
                    "warning": warning or None,
                }
            )
            return
        if warning:
            self.say(self.style.WARNING(warning))
        self.say(self.style.SUCCESS(sentence))
        for made in self.backups:
            self.say(f"Backup: {backup_line(made)}")
        self.say_history()
