from __future__ import annotations

import time
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from auth_app import smoke
from fltr_project import history
from fltr_project.errors import Blocked
from fltr_project.management.base import target_json
from fltr_project.management.checklist import Checklist
from fltr_project.management.operations import OperationCommand, backup_json, backup_line
from fltr_project.management.plans import plan_json, plan_lines
from fltr_project.schema import aside, guards, nuke, plan_token, preflight
from fltr_project.schema.compare import counts
from fltr_project.schema.facts import ForeignKey
from fltr_project.schema.plan import Plan
from fltr_project.schema.rebuild import Rebuilt, Steps, rebuild
from fltr_project.words import counted

# What is proven of a rebuilt database before it commits, beyond its schema.
PROOFS = {"auth": smoke.run}


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
  manage.py clean_slate --no-input --format json
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_databases(parser)
        self.add_consent(parser)
        self.add_token(parser)
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

    def handle(
        self,
        databases: list[str],
        interactive: bool,
        confirm: list[str],
        token: str | None,
        plan: bool,
        keep: bool,
        lock_timeout: float,
        terminate: bool,
        backup_dir: str | None,
        wants_backup: bool,
        **options: Any,
    ) -> None:
        milliseconds = self.milliseconds(lock_timeout)
        start = time.perf_counter()
        checklist = Checklist(self.say, self.style, self.stdout.isatty() and self.format == "text")
        self.steps = Steps(checklist.began, checklist.ended)
        targets = self.reach(databases)
        if plan:
            self._plan(self.plans(), backup_dir)
            return
        checklist.targets(targets)
        with self.alone():
            plans = self._preflight()
            self.obtain_consent(plans, confirm, interactive, token)
            self.require_backup(plans, wants_backup, backup_dir)
            for each in plans if wants_backup else ():
                with self.steps.step("backup", each.target) as detail:
                    made = self.back_up(each, backup_dir, milliseconds)
                    detail.append(backup_line(made))
            self.record(
                history.BEGUN, "; ".join(f"{p.target.database}: {p.summary}" for p in plans)
            )
            aliases = tuple(target.alias for target in targets)
            rebuilt = rebuild(
                plans,
                self.steps,
                why=aside.journal(self.command, self.run_id, aliases),
                proofs=PROOFS,
                lock_timeout=milliseconds,
                terminate=terminate,
            )
            left = {} if keep else self._purge(rebuilt, milliseconds)
        elapsed = time.perf_counter() - start
        self.record(history.DONE, f"rebuilt in {elapsed:.1f} s", 0)
        if self.format == "json":
            self.print_json(self._as_json(rebuilt, left, keep, elapsed))
        else:
            self._show(rebuilt, left, keep, elapsed)
            self.say_history()

    def _plan(self, plans: list[Plan], backup_dir: str | None) -> None:
        directory = self.backup_directory(backup_dir)
        self.token = plan_token.issue(plans)
        half = self.half_done()
        self.record(
            history.PLANNED, "; ".join(f"{p.target.database}: {p.summary}" for p in plans), 0
        )
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(),
                    "plans": [plan_json(each, directory) for each in plans],
                    "half_done": half,
                    "token": self.token,
                }
            )
            return
        for each in plans:
            for line in plan_lines(each, directory, self.style):
                self.say(line)
            self.say()
        for sentence in half.values():
            self.say(self.style.WARNING(sentence))
        minutes = plan_token.VALID_FOR.total_seconds() / 60
        self.say(f"Token: {self.token} (for {minutes:.0f} minutes, or until something changes)")
        self.say("Nothing has changed.")

    def _preflight(self) -> list[Plan]:
        """The runbook's list of what must be so, each item a step with its evidence."""
        half = self.half_done()
        for target in self.targets:
            if target.alias in half:
                with self.steps.step("found", target) as detail:
                    detail.append(half[target.alias])
        plans = []
        for target in self.targets:
            with self.steps.step("settings", target) as detail:
                detail.append(preflight.variables(target.alias))
            with self.steps.step("migrations", target) as detail:
                detail.append(preflight.migrations(target.alias))
            with self.steps.step("preflight", target) as detail:
                each = self.plan(target)
                guards.require_rebuildable(each)
                guards.require_possible(each)
                plans.append(each)
                mark = each.target.environment or "not marked"
                kept = f", {counted(len(each.waiting), 'old schemas')} kept" if each.waiting else ""
                detail.append(f"{mark}: {preflight.people(each)}{kept}")
        return plans

    def _purge(self, rebuilt: list[Rebuilt], lock_timeout: int) -> dict[str, str]:
        """Drop the old schemas; what could not be dropped, by alias, with the reason.

        The rebuild stands by now, so a reader of an old table is no failure of it.
        """
        left = {}
        for result in rebuilt:
            if result.aside is None:
                continue
            try:
                with self.steps.step("purge", result.target) as detail:
                    nuke.purge(result.target, result.aside, lock_timeout)
                    detail.append(f"{result.aside} is gone")
            except Blocked as error:
                left[result.target.alias] = str(error)
        return left

    def _show(
        self, rebuilt: list[Rebuilt], left: dict[str, str], keep: bool, elapsed: float
    ) -> None:
        for result in rebuilt:
            catalog, target = result.catalog, result.target
            self.say()
            self.say(f"{target.database}: {counted(len(catalog.tables), 'tables')}")
            self.say(f"  {', '.join(catalog.tables)}")
            keys = catalog.of(ForeignKey)
            self.say(f"{target.database}: {counted(len(keys), 'foreign keys')}")
            width = max((len(key.object) for key in keys), default=0)
            for key in keys:
                self.say(f"  {key.object:<{width}}  {key.rule}")
        self.say()
        for result in rebuilt:
            alias = result.target.alias
            if alias in left:
                self.say(self.style.WARNING(left[alias]))
            if (alias in left or keep) and result.aside:
                self.say(
                    f"The old schema of {result.target.database} is kept in {result.aside}: "
                    f"{aside.way_out(alias)}."
                )
        tables = counted(sum(len(result.catalog.tables) for result in rebuilt), "tables")
        keys_in_all = sum(len(result.catalog.of(ForeignKey)) for result in rebuilt)
        foreign_keys = counted(keys_in_all, "foreign keys")
        names = " and ".join(result.target.database for result in rebuilt)
        proven = any(result.target.alias in PROOFS for result in rebuilt)
        done = "rebuilt, verified and proven" if proven else "rebuilt and verified"
        self.say(
            self.style.SUCCESS(
                f"Clean slate: {names} {done} in {elapsed:.1f} s ({tables}, {foreign_keys})."
            )
        )

    def _as_json(
        self, rebuilt: list[Rebuilt], left: dict[str, str], keep: bool, elapsed: float
    ) -> dict[str, Any]:
        return {
            **self.outcome(),
            "milliseconds": round(elapsed * 1000),
            "steps": self._steps_json(),
            "backups": [backup_json(made) for made in self.backups],
            "databases": [
                {
                    **target_json(result.target),
                    "tables": list(result.catalog.tables),
                    "foreign_keys": [
                        {
                            "table": key.table,
                            "columns": list(key.columns),
                            "target": key.target,
                            "target_columns": list(key.target_columns),
                            "on_delete": key.on_delete,
                        }
                        for key in result.catalog.of(ForeignKey)
                    ],
                    "checked": counts(result.catalog),
                    "findings": [
                        asdict(finding)
                        for finding in result.findings
                        # It was found before it was purged.
                        if kept or finding.object != f"schema {result.aside}"
                    ],
                    "aside": result.aside if kept else None,
                }
                for result in rebuilt
                for kept in (keep or result.target.alias in left,)
            ],
        }

    def failure(self, sentence: str, exit_code: int) -> dict[str, Any]:
        steps = self._steps_json() if hasattr(self, "steps") else []
        return {**super().failure(sentence, exit_code), "steps": steps}

    def _steps_json(self) -> list[dict[str, Any]]:
        return [
            {
                "step": step.name,
                "alias": step.target.alias,
                "database": step.target.database,
                "server": step.target.server,
                "milliseconds": step.milliseconds,
                "ok": step.ok,
                "detail": step.detail,
            }
            for step in self.steps.done
        ]
