from __future__ import annotations

import signal
import time
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import asdict
from typing import Any

from auth_app.management import check_results
from auth_app.smoke import race
from auth_app.smoke import run as smoke
from fltr_project.catalog import contract
from fltr_project.management.base import SchemaCommand
from fltr_project.management.interrupts import interrupted_by
from fltr_project.postgres.target import connect, identify

# Consumes whose time is taken.
CONSUMES = 200


class Command(SchemaCommand):
    help = (
        "Proves on the live database that every guard of the credit ledger is there, enabled and "
        "refuses what it must, and that sign-up, spending, refunds, replays and limits work, inside "
        "one transaction that is rolled back: it leaves no trace. Exits 0 when every check passes, "
        "1 when one fails, 2 when it could not run."
    )
    examples = """\
  manage.py smoke_credits                    on fltr_auth, which holds the credits
  manage.py smoke_credits --concurrency 16   and let 16 clients drain one account
  manage.py smoke_credits --format json
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_format(parser)
        parser.add_argument(
            "--concurrency",
            type=_clients,
            metavar="N",
            help="also let N clients (1 or more) spend one account at once, each over a connection "
            "of its own; that commits, with a marked user whom it removes again, and so it does "
            "with those that killed runs left",
        )

    def handle(self, concurrency: int | None, **options: Any) -> None:
        start = time.perf_counter()
        target = identify(connect("auth"))
        contract.require_built(target)
        smoke.require_writable(target)
        if concurrency:
            race.require_room(target, concurrency)
        result = smoke.run("auth", CONSUMES)
        checks, unchecked = list(result.checks), list(result.unchecked)
        if concurrency:
            with interrupted_by(signal.SIGTERM):
                checks.append(race.drain(concurrency))
        else:
            unchecked.append(
                "clients at once: that has to commit; add --concurrency N to let N of them race"
            )
        elapsed = time.perf_counter() - start
        failed = sum(not check.ok for check in checks)
        exit_code = 1 if failed else 0
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(exit_code),
                    "database": target.as_json(),
                    "seconds": round(elapsed, 3),
                    "checks": [asdict(check) for check in checks],
                    "unchecked": unchecked,
                }
            )
        else:
            self.say(f"Credits of {target}")
            for line in check_results.lines(checks, unchecked, self.style):
                self.say(line)
            verdict = (
                f"{len(checks) - failed} of {len(checks)} checks passed in {elapsed:.1f} s; "
                + (
                    "all but the race was rolled back, and its user removed."
                    if concurrency
                    else "everything was rolled back."
                )
            )
            self.say((self.style.ERROR if failed else self.style.SUCCESS)(verdict))
        self.exit_with(exit_code)


def _clients(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no number of clients; name 1 or more")
    return int(text)
