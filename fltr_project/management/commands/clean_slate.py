from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from fltr_project import registry
from fltr_project.errors import CannotRun, ChecksFailed
from fltr_project.history import Event
from fltr_project.management import outcomes, plans
from fltr_project.management.backups import backup_line
from fltr_project.management.checklist import Checklist
from fltr_project.management.operations import OperationCommand, Request
from fltr_project.management.site_addresses import site_address
from fltr_project.postgres.target import connect
from fltr_project.rebuild import migrations, preflight
from fltr_project.rebuild.build import Options
from fltr_project.rebuild.consent import issue_token, require_accepted
from fltr_project.rebuild.plan import Plan, plan
from fltr_project.rebuild.rebuild import rebuild
from fltr_project.rebuild.steps import Step, Steps
from fltr_project.words import counted


class Command(OperationCommand):
    help = (
        "Empties both databases, rebuilds them from the migrations, verifies them against the "
        "contract and proves the credits, as one operation: all of it or none of it. Other sessions "
        "see the old schemas until everything is proven, then the new ones."
    )
    examples = """\
  manage.py clean_slate                       asks for each database's name
  manage.py clean_slate --no-input            databases marked development or test, or empty ones
  manage.py clean_slate --plan                what would be lost, and a token
  manage.py clean_slate --no-input --confirm fltr_auth --confirm fltr --token T
                                              protected databases
  manage.py clean_slate --database fltr       one database
  manage.py clean_slate --keep                keep the old schemas; `nuke_schema --undo` brings one back
  manage.py clean_slate --web http://localhost:3000 --api http://localhost:8000
                                              and walk through the applications, as smoke_apps does
  manage.py clean_slate --no-input --format json
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_databases(parser)
        self.add_consent(parser)
        self.add_token(parser)
        self.add_losses(parser)
        self.add_format(parser)
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--plan", action="store_true", help="show what would be lost and stop")
        what.add_argument(
            "--keep",
            action="store_true",
            help="keep the old schemas, for `nuke_schema --undo` or --purge",
        )
        self.add_waiting(parser)
        self.add_backup(parser)
        for option, name in (("--web", "the Next.js application"), ("--api", "the API")):
            parser.add_argument(
                option,
                type=site_address,
                metavar="URL",
                help=f"{name}, running on these databases: afterwards walk through it and the other as smoke_apps does",
            )

    def handle(self, databases: list[str], plan: bool, keep: bool, **options: Any) -> None:
        request, start = Request.of(options), time.perf_counter()
        web, api = options["web"], options["api"]
        if (web is None) != (api is None):
            raise CannotRun("--web and --api go together: smoke_apps walks through both.")
        if web and databases:
            raise CannotRun(
                "--web and --api go with both databases, which the applications use: leave out --database."
            )
        checklist = Checklist(self.say, self.style, self.stdout.isatty() and self.format == "text")
        self.steps = Steps(checklist.began, checklist.ended, standings=self.standings)
        self.reach(databases)
        if plan:
            self._show_plan(request)
            return
        checklist.targets(self.targets)
        with self.alone():
            planned = self._preflight(request)
            require_accepted(planned, request.accepted)
            self.obtain_consent(request.consent(planned), request.interactive)
            self._back_up(planned, request)
            self.record(Event.BEGUN, _summary(planned))
            rebuilt = rebuild(
                planned,
                self.steps,
                Options(
                    record=self.operation_record(),
                    proofs=registry.proofs,
                    carried=registry.carried,
                    keep=keep,
                    accepted=request.accepted,
                    backed_up=bool(self.backups),
                    lock_timeout=request.lock_timeout,
                    terminate=request.terminate,
                ),
            )
        failed = self._walk(web, api) if web else []
        seconds = time.perf_counter() - start
        done = outcomes.CleanSlate(rebuilt, self.steps.done, self.backups, seconds, keep)
        for line in outcomes.clean_slate_lines(done, self.style):
            self.say(line)
        if failed:
            raise ChecksFailed(
                f"The databases are rebuilt, and the applications do not work on them: {', '.join(failed)} failed. "
                f"Mend them and run `manage.py smoke_apps --web {web} --api {api}`; what keeps its connections "
                "open, restart."
            )
        self.record(Event.DONE, f"rebuilt in {seconds:.1f} s. {self.standing()}", 0)
        if self.format == "json":
            self.print_json({**self.outcome(), **outcomes.clean_slate_json(done)})
        self.say_history()

    def _walk(self, web: str, api: str) -> list[str]:
        """Walk through the applications, each of their steps one of the report; the names of those that failed."""
        failed = []
        for target in self.targets:
            for walk in registry.walks.of(target.alias):
                walked = walk(web, api)
                for check in walked.checks:
                    self.steps.add(
                        Step(check.name, target, check.milliseconds, check.ok, check.detail)
                    )
                for reason in walked.unchecked:
                    self.say(f"{self.style.WARNING('[--]')} not checked: {reason}")
                failed += [check.name for check in walked.checks if not check.ok]
        return failed

    def failure(self, sentence: str, exit_code: int) -> dict[str, Any]:
        done = self.steps.done if hasattr(self, "steps") else []
        return {**super().failure(sentence, exit_code), "steps": outcomes.steps_json(done)}

    def _show_plan(self, request: Request) -> None:
        planned, half_done = self.plans(request.lock_timeout), self.half_done()
        directory, self.token = request.backup_directory, issue_token(planned)
        self.record(Event.PLANNED, _summary(planned), 0)
        if self.format == "json":
            document = {
                "plans": [plans.plan_json(each, directory) for each in planned],
                "half_done": half_done,
                "token": self.token,
            }
            self.print_json({**self.outcome(), **document})
        for line in plans.lines(planned, directory, half_done, self.token, self.style):
            self.say(line)

    def _preflight(self, request: Request) -> list[Plan]:
        """The runbook's list of what must be so, each item a step with its evidence."""
        half_done = self.half_done()
        for target in self.targets:
            if target.alias in half_done:
                with self.steps.step("found", target) as detail:
                    detail.append(half_done[target.alias])
        planned: list[Plan] = []
        unmade: frozenset[str] | None = None
        for target in self.targets:
            with self.steps.step("settings", target) as detail:
                detail.append(preflight.variables(target.alias))
            with self.steps.step("migrations", target) as detail:
                # Of all apps at once, so it is looked up once.
                unmade = migrations.unmade() if unmade is None else unmade
                detail.append(preflight.models_are_migrated(target.alias, unmade))
            with self.steps.step("preflight", target) as detail:
                each = plan(connect(target.alias), target, request.lock_timeout)
                preflight.require_rebuildable(each, request.accepted)
                preflight.require_possible(each, moves_members=True)
                kept = f", {counted(len(each.waiting), 'old schemas')} kept" if each.waiting else ""
                detail.append(
                    f"{target.environment or 'not marked'}: {preflight.people(each)}{kept}"
                )
            planned.append(each)
        return planned

    def _back_up(self, planned: list[Plan], request: Request) -> None:
        for each in planned:
            if not request.wants_backup:
                self.back_up(each, request)
                continue
            with self.steps.step("backup", each.target) as detail:
                made = self.back_up(each, request)
                detail.append(backup_line(made) if made else "left out")


def _summary(planned: list[Plan]) -> str:
    return "; ".join(f"{each.target.database}: {each.summary}" for each in planned)
