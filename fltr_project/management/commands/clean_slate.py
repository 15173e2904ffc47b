from __future__ import annotations

import time
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from auth_app import smoke
from fltr_project.errors import Blocked, CannotRun
from fltr_project.management.base import SchemaCommand, target_json
from fltr_project.management.checklist import Checklist
from fltr_project.postgres import locks
from fltr_project.postgres.target import connect, identify, known_aliases, others, require_distinct
from fltr_project.schema import guards, nuke
from fltr_project.schema.compare import counts
from fltr_project.schema.facts import ForeignKey
from fltr_project.schema.plan import Plan, plan
from fltr_project.schema.rebuild import Rebuilt, Steps, rebuild

# What is proven of a rebuilt database before it commits, beyond its schema.
PROOFS = {"auth": smoke.run}


class Command(SchemaCommand):
    help = (
        "Empties both databases, rebuilds them from the migrations, verifies them against the "
        "contract and proves the credits, as one operation: all of it or none of it. Other sessions "
        "see the old schemas until everything is proven, then the new ones."
    )
    examples = """\
  manage.py clean_slate                       asks for each database's name
  manage.py clean_slate --no-input            databases marked development or test, or empty ones
  manage.py clean_slate --database fltr       one database
  manage.py clean_slate --keep                keep the old schemas for `nuke_schema --undo`
  manage.py clean_slate --no-input --format json
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_databases(parser, "default: all")
        self.add_consent(parser)
        self.add_format(parser)
        parser.add_argument("--keep", action="store_true", help="do not drop the old schemas yet")
        parser.add_argument(
            "--lock-timeout",
            type=float,
            default=locks.LOCK_TIMEOUT / 1000,
            metavar="SECONDS",
            help="how long to wait for other sessions (default: %(default)g)",
        )

    def handle(
        self,
        databases: list[str],
        interactive: bool,
        confirm: list[str],
        keep: bool,
        lock_timeout: float,
        **options: Any,
    ) -> None:
        if lock_timeout <= 0:
            raise CannotRun(
                "--lock-timeout must be more than 0 seconds, or it would wait for ever."
            )
        start = time.perf_counter()
        checklist = Checklist(self.say, self.style, self.stdout.isatty() and self.format == "text")
        self.steps = Steps(checklist.began, checklist.ended)
        aliases = known_aliases(databases)
        plans = self._preflight(aliases, checklist)
        self.obtain_consent(plans, confirm, interactive)
        milliseconds = round(lock_timeout * 1000)
        rebuilt = rebuild(plans, self.steps, proofs=PROOFS, lock_timeout=milliseconds)
        left = {} if keep else self._purge(rebuilt, milliseconds)
        elapsed = time.perf_counter() - start
        if self.format == "json":
            self.print_json(self._as_json(rebuilt, left, keep, elapsed))
        else:
            self._show(rebuilt, left, keep, elapsed)

    def _preflight(self, aliases: tuple[str, ...], checklist: Checklist) -> list[Plan]:
        connections = [connect(alias) for alias in aliases]
        targets = [identify(connection) for connection in connections]
        checklist.targets(targets)
        require_distinct([*targets, *others(targets)])
        plans = []
        for target, connection in zip(targets, connections, strict=True):
            with self.steps.step("preflight", target) as detail:
                planned = plan(connection, target)
                guards.require_possible(planned)
                plans.append(planned)
                mark = planned.target.environment or "not marked"
                rows = f"{'' if planned.is_exact else 'about '}{planned.product_rows:,} rows"
                detail.append(f"{mark}, {len(planned.rows)} tables with {rows} to be emptied")
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
            self.say(f"{target.database}: {len(catalog.tables)} tables")
            self.say(f"  {', '.join(catalog.tables)}")
            keys = catalog.of(ForeignKey)
            self.say(f"{target.database}: {len(keys)} foreign keys")
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
                    f"The old schema of {result.target.database} is kept in {result.aside}. "
                    f"Drop it with `manage.py nuke_schema --database {alias} --purge`, bring it "
                    "back with --undo."
                )
        tables = sum(len(result.catalog.tables) for result in rebuilt)
        keys_in_all = sum(len(result.catalog.of(ForeignKey)) for result in rebuilt)
        names = " and ".join(result.target.database for result in rebuilt)
        self.say(
            self.style.SUCCESS(
                f"Clean slate: {names} rebuilt, verified and proven in {elapsed:.1f} s "
                f"({tables} tables, {keys_in_all} foreign keys)."
            )
        )

    def _as_json(
        self, rebuilt: list[Rebuilt], left: dict[str, str], keep: bool, elapsed: float
    ) -> dict[str, Any]:
        return {
            "verdict": "clean",
            "exit_code": 0,
            "milliseconds": round(elapsed * 1000),
            "steps": self._steps_json(),
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
                    "findings": [asdict(finding) for finding in result.findings],
                    "aside": result.aside if keep or result.target.alias in left else None,
                }
                for result in rebuilt
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
