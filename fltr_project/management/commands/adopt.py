from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import replace
from typing import Any

from fltr_project.catalog import contract
from fltr_project.drift.live import verify_live
from fltr_project.drift.report import Verified
from fltr_project.errors import CannotRun
from fltr_project.management import repair_options, repairs, reports
from fltr_project.management.base import SchemaCommand
from fltr_project.postgres.target import Target, connect, identify, known_aliases
from fltr_project.postgres.turns import in_turn
from fltr_project.rebuild import adoption
from fltr_project.words import counted


class Command(SchemaCommand):
    help = (
        "Takes over a database whose tables another program has built: compares it with the contract, shows the repair, "
        "asks, runs it, and records the migrations as applied. No row is lost, and what is not of the contract stays. "
        "Where something cannot be repaired without a hazard, that is said, and nothing is recorded."
    )
    examples = """\
  manage.py adopt --database auth --plan      what is different, and the repair; changes nothing
  manage.py adopt --database auth             show the repair, ask, run it, record the migrations
  manage.py adopt --database auth --no-input --confirm fltr_auth
  manage.py adopt --database fltr --allow rewrite-tables
                                              and also repairs that write a table anew
"""
    difference = "drift"

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_database(parser)
        parser.add_argument(
            "--plan", action="store_true", help="print the repair as a script for psql and stop"
        )
        repair_options.add_trial(parser)
        repair_options.add_lock_timeout(parser)
        self.add_consent(parser)
        self.add_format(parser)

    def handle(self, database: str, plan: bool, **options: Any) -> None:
        (alias,) = known_aliases([database])
        if plan and self.format == "json":
            raise CannotRun(
                "--plan prints a script and takes no --format json. Leave one of them out."
            )
        connection = connect(alias)
        target = identify(connection)
        contract.require_built(target)
        with in_turn(target):
            built = adoption.look(connection)
            chosen = repairs.choices(options)
            chosen = replace(chosen, allowed=chosen.allowed | adoption.free(connection, built))
            verified = verify_live(connection, target)
            if plan:
                self.stdout.write(repairs.scripts([verified], chosen))
                self.exit_with(0 if adoption.is_as_built(verified) else 1)
                return
            if not built.recorded:
                (verified,) = repairs.run(
                    self, [verified], chosen, lambda: [verify_live(connection, target)]
                )
            recorded: tuple[str, ...] = ()
            if not built.recorded and adoption.is_as_built(verified):
                recorded = adoption.record(connection)
        self._report(target, verified, recorded, was_recorded=built.recorded)

    def _report(
        self, target: Target, verified: Verified, recorded: tuple[str, ...], *, was_recorded: bool
    ) -> None:
        lacking = adoption.lacking(verified)
        exit_code = verified.exit_code(strict=False)
        if self.format == "json":
            document = {"recorded": list(recorded), "databases": reports.databases([verified])}
            self.print_json({**self.outcome(exit_code), **document})
        self.say(reports.text([verified], False, self.style, self.verbosity))
        if recorded:
            verb = "is" if len(recorded) == 1 else "are"
            self.say(f"Adopted: {' and '.join(recorded)} {verb} recorded on {target}.")
        elif was_recorded:
            self.say(f"There is nothing to adopt: the migrations of {target} are recorded before.")
        else:
            self.say(
                f"Not adopted, and nothing recorded: {target} has {counted(len(lacking), 'differences')} from the "
                "contract left, which migrations would not mend."
            )
        self.exit_with(exit_code)
