from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import Error as DatabaseError
from django.db import connections

from fltr_project import registry
from fltr_project.drift.live import verify_live
from fltr_project.drift.report import Verified
from fltr_project.errors import RolledBack
from fltr_project.history import Event
from fltr_project.management import outcomes
from fltr_project.management.checklist import Checklist
from fltr_project.management.operations import OperationCommand
from fltr_project.postgres.target import Target
from fltr_project.postgres.turns import in_turn
from fltr_project.rebuild import adoption, migrations
from fltr_project.rebuild.errors import BuiltMeanwhile
from fltr_project.rebuild.steps import Detail, Steps
from fltr_project.words import counted

# Looks at what another program makes at the same time, each after it has ended.
ATTEMPTS = 3


class Command(OperationCommand):
    help = (
        "A deploy's release step: migrates both databases, whoever has started first, tells Drizzle of it "
        "(DRIZZLE_FOLDER), verifies the schemas and proves the credits. Releases at the same time wait for each other. "
        "What another program has built without rows is completed; with rows it is for `adopt`. Empties nothing, and "
        "may be run again at any time. Exits 0 when all of it is as it should be, 1 when a check failed."
    )
    examples = """\
  manage.py release
  manage.py release --format json
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_format(parser)

    def handle(self, **options: Any) -> None:
        checklist = Checklist(self.say, self.style, self.stdout.isatty() and self.format == "text")
        self.steps = Steps(checklist.began, checklist.ended, standings=self.standings)
        self.reach([])
        checklist.targets(self.targets)
        self.record(Event.BEGUN, "releasing")
        if connections["default"].vendor == "postgresql":
            # The file that a machine of one's own has instead is made by whoever wants it.
            call_command("migrate", verbosity=0)
        for target in self.targets:
            with in_turn(target):
                self._release(target)
        failed = sum(not step.ok for step in self.steps.done)
        exit_code = 1 if failed else 0
        summary = (
            f"{counted(failed, 'checks')} failed" if failed else "all of it is as it should be"
        )
        self.record(Event.FAILED if failed else Event.DONE, summary, exit_code)
        if self.format == "json":
            steps = outcomes.steps_json(self.steps.done)
            self.print_json({**self.outcome(exit_code), "steps": steps})
        self.say()
        style = self.style.ERROR if failed else self.style.SUCCESS
        self.say(style(f"Release: {summary}."))
        self.say_history()
        self.exit_with(exit_code)

    def failure(self, sentence: str, exit_code: int) -> dict[str, Any]:
        done = self.steps.done if hasattr(self, "steps") else []
        return {**super().failure(sentence, exit_code), "steps": outcomes.steps_json(done)}

    def _release(self, target: Target) -> None:
        with self.steps.step("migrate", target) as detail:
            detail.extend(_migrated(target))
        for release in registry.releases.of(target.alias):
            with self.steps.step("tell", target) as detail:
                detail.append(release(connections[target.alias]) or "no other program is told")
        with self.steps.step("verify", target) as detail:
            _judge(verify_live(connections[target.alias], target), detail)
        for proof in registry.proofs.of(target.alias):
            with self.steps.step("prove", target) as detail:
                result = proof(target.alias)
                detail.ok = result.ok
                detail.append(result.detail)


def _migrated(target: Target) -> list[str]:
    """Migrate it, or complete and record what another program has built; what was done."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _attempt(target)
        except (BuiltMeanwhile, RolledBack):
            if attempt == ATTEMPTS:
                raise
        except DatabaseError as error:
            meanwhile = adoption.built_meanwhile(error, target)
            if meanwhile is None:
                raise
            if attempt == ATTEMPTS:
                raise meanwhile from error
    raise AssertionError("not reached")


def _attempt(target: Target) -> list[str]:
    connection = connections[target.alias]
    built = adoption.look(connection)
    if built.is_left_over:
        applied = adoption.build_beside_record(connection)
        return [f"{' and '.join(applied)} applied, beside Drizzle's record"]
    if not built.by_others:
        connection.prepare_database()
        applied = migrations.unapplied(connection)
        # Django's own: what was there has been looked at, and it is this one's turn.
        call_command(DjangoMigrate(), database=target.alias, verbosity=0)
        return [f"{' and '.join(applied)} applied" if applied else "nothing to apply"]
    verified = verify_live(connection, target)
    done = "another program has built it"
    if not adoption.is_as_built(verified):
        free = adoption.free(connection, built)
        before = len(adoption.lacking(verified))
        if free:
            verified = adoption.complete(target, verified, free)
        if not adoption.is_as_built(verified):
            raise adoption.refusal(target, built, verified)
        done += f" without rows: {counted(before, 'differences')} repaired"
    return [done, f"{' and '.join(adoption.record(connection))} recorded"]


def _judge(verified: Verified, detail: Detail) -> None:
    wrong = [each for each in verified.wrong if each.finding.severity == verified.worst]
    detail.ok = not verified.fails(strict=False)
    if detail.ok:
        detail.append(f"{counted(len(verified.catalog.tables), 'tables')} as the contract says")
    else:
        listed = ", ".join(each.finding.object for each in wrong[:5])
        detail.append(f"{counted(len(wrong), 'differences')}: {listed}; see verify_schema")
