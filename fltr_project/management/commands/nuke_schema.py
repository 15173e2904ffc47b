from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from fltr_project.errors import CannotRun
from fltr_project.history import Event
from fltr_project.management import advice, outcomes, plans
from fltr_project.management.backups import backup_line
from fltr_project.management.base import REPLACES
from fltr_project.management.operations import OperationCommand, Request
from fltr_project.management.outcomes import Nuked
from fltr_project.rebuild import preflight, set_aside
from fltr_project.rebuild.consent import FREE, Consent, issue_token, require_accepted
from fltr_project.rebuild.endings import State
from fltr_project.rebuild.plan import Plan
from fltr_project.rebuild.purge import purge, purge_at_the_end
from fltr_project.words import counted


class Command(OperationCommand):
    help = (
        "Empties schema public of one database. A backup is made, and proven where the database is "
        "protected; the schema is set aside in one short transaction, a new one takes its place with "
        "all that hung on it, and the old one is dropped afterwards. It does not run migrations; "
        "`clean_slate` does all of it."
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
        self.add_losses(parser)
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
        self, database: str, plan: bool, keep: bool, undo: bool, purge: bool, **options: Any
    ) -> None:
        request = Request.of(options)
        self.reach([database])
        if plan:
            self._show_plan(request)
            return
        with self.alone():
            (planned,) = self.plans(request.lock_timeout)
            if undo or purge:
                self._require_waiting(planned)
                self._ask_about_waiting(planned, request, purge)
                done = self._purge(planned, request) if purge else self._undo(planned, request)
            else:
                done = self._nuke(planned, request, keep)
        self.record(Event.DONE, done.sentence, 0)
        if self.format == "json":
            self.print_json({**self.outcome(), **outcomes.nuked_json(done, self.backups)})
        if done.warning:
            self.say(self.style.WARNING(done.warning))
        self.say(self.style.SUCCESS(done.sentence))
        for made in self.backups:
            self.say(f"Backup: {backup_line(made)}")
        self.say_history()

    def _show_plan(self, request: Request) -> None:
        (planned,) = self.plans(request.lock_timeout)
        directory, self.token = request.backup_directory, issue_token([planned])
        self.record(Event.PLANNED, f"{planned.summary} would be lost", 0)
        if self.format == "json":
            document = {"plan": plans.plan_json(planned, directory), "token": self.token}
            self.print_json({**self.outcome(), **document})
            return
        for line in plans.lines([planned], directory, self.half_done(), self.token, self.style):
            self.say(line)

    def _nuke(self, planned: Plan, request: Request, keep: bool) -> Nuked:
        target = planned.target
        preflight.require_possible(
            planned, rebuilds=False, accepted=request.accepted, moves_members=True
        )
        require_accepted([planned], request.accepted)
        self.obtain_consent(request.consent([planned]), request.interactive)
        self.back_up(planned, request)
        self.record(Event.BEGUN, f"emptying schema public: {planned.summary}")
        done = set_aside.nuke(
            planned,
            self.operation_record(),
            request.lock_timeout,
            request.terminate,
            backed_up=bool(self.backups),
            standings=self.standings,
        )
        name = done.aside
        if name is None:
            made = f"Made schema public of {target}, which had none."
            return Nuked(target, "emptied", None, made)
        emptied = f"Emptied schema public of {target}."
        way_out = advice.way_out(target.alias)
        if keep:
            kept = f"{emptied} {name} keeps {planned.summary}: {way_out}."
            return Nuked(target, "emptied", name, kept)
        self.standings.move(target.alias, State.PURGING)
        left = purge_at_the_end(target, name, request.lock_timeout, self._progress, done.last_look)
        if left is None or left.whole:
            self.standings.move(target.alias, State.COMMITTED if left else State.PURGED)
        if left is None:
            return Nuked(target, "emptied", None, f"{emptied} Gone: {planned.summary}.")
        # The schema is empty by now, and that stands; only its old tables are still there.
        still = f"{emptied} {name} is still to be dropped: {advice.left(target.alias, left)}."
        return Nuked(target, "emptied", name, still, left.reason)

    def _require_waiting(self, planned: Plan) -> None:
        if not planned.waiting:
            raise CannotRun(
                f"{planned.target} has no schema that was set aside. Nothing has changed."
            )

    def _ask_about_waiting(self, planned: Plan, request: Request, purges: bool) -> None:
        # Where nothing is protected, a script that names the option has said enough. A person is
        # asked before a purge all the same, for nothing undoes that.
        free = planned.target.environment in FREE
        ask = request.interactive and (not free or (purges and sys.stdin.isatty()))
        consent = Consent(
            [planned],
            request.names,
            request.token,
            needs_token=False,
            unmarked_is_protected=purges,
        )
        drops = f"drops {_names(planned)} of {{plan.target}} for good"
        self.obtain_consent(consent, ask, drops if purges else REPLACES)

    def _undo(self, planned: Plan, request: Request) -> Nuked:
        target, newest = planned.target, planned.waiting[0]
        self.record(Event.BEGUN, f"bringing {newest.name} back")
        for sentence in self.half_done().values():
            self.say(sentence)
        undone = set_aside.undo(
            planned,
            newest.name,
            self.operation_record(),
            request.lock_timeout,
            request.terminate,
            self.standings,
        )
        replaced, left = undone.replaced, None
        sentence = f"Brought {newest.name} back as schema public of {target}."
        if replaced and undone.held.product_rows:
            sentence += f" What it replaced, {undone.held.summary}, is kept in {replaced}."
            return Nuked(target, "brought back", replaced, sentence)
        if replaced:
            left = purge_at_the_end(target, replaced, request.lock_timeout, last=undone.last_look)
        if left is None:
            return Nuked(target, "brought back", None, sentence)
        sentence += f" {left.name} is still to be dropped: {advice.left(target.alias, left)}."
        return Nuked(target, "brought back", left.name, sentence, left.reason)

    def _purge(self, planned: Plan, request: Request) -> Nuked:
        names = _names(planned)
        self.record(Event.BEGUN, f"dropping {names}")
        for waiting in planned.waiting:
            purge(planned.target, waiting.name, request.lock_timeout, self._progress)
        sentence = f"Dropped what was set aside in {planned.target}: {names}."
        return Nuked(planned.target, "purged", None, sentence)

    def _progress(self, tables_left: int) -> None:
        self.say(f"  {counted(tables_left, 'tables')} left to drop", verbosity=2)


def _names(planned: Plan) -> str:
    return ", ".join(waiting.name for waiting in planned.waiting)
