from __future__ import annotations

import json
import re
import signal
import time
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import asdict
from typing import Any

from auth_app.management import check_results
from auth_app.smoke import apps
from auth_app.smoke import run as smoke
from auth_app.smoke.sites import Site
from fltr_project.catalog import contract
from fltr_project.management.base import SchemaCommand
from fltr_project.management.interrupts import interrupted_by
from fltr_project.management.site_addresses import site_address
from fltr_project.postgres.target import connect, identify

SPEND = f"{apps.SPEND.method} {apps.SPEND.path} {json.dumps(apps.SPEND.body)}"
CALL = re.compile(r"(?P<method>GET|POST|PUT|PATCH)\s+(?P<path>/\S*)(?:\s+(?P<body>.+))?", re.DOTALL)


class Command(SchemaCommand):
    help = (
        "Walks through running applications as a new user does, and looks each time what the databases say: signs up "
        "through Better Auth, finds the user, the account and the bonus, logs in, asks the API for the balance, makes "
        "a call that costs credits, sees the ledger and the lower balance, is refused without a session, without "
        "credits and after the log-out. The applications must use the databases of this project's settings. It "
        "commits, with a marked user whom it removes again with what is the user's in both databases, and so it does "
        "with those that killed runs left. Exits 0 when every step passes, 1 when one fails, 2 when it could not run."
    )
    examples = """\
  manage.py smoke_apps --web http://localhost:3000 --api http://localhost:8000
  manage.py smoke_apps --web https://fltr.example --api https://api.fltr.example --spend 'POST /v1/queries {"text": "?"}'
  manage.py smoke_apps --web http://localhost:3000 --api http://localhost:3000/api --balance /credits --format json
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_format(parser)
        parser.add_argument(
            "--web",
            type=site_address,
            required=True,
            metavar="URL",
            help="the Next.js application, which has Better Auth below /api/auth",
        )
        parser.add_argument(
            "--api",
            type=site_address,
            required=True,
            metavar="URL",
            help="the application that spends credits",
        )
        parser.add_argument(
            "--spend",
            type=_call,
            default=SPEND,
            metavar="'METHOD PATH [JSON]'",
            help="a call of the API that costs credits (default: %(default)s)",
        )
        parser.add_argument(
            "--balance",
            type=_path,
            default=apps.BALANCE,
            metavar="PATH",
            help="where the API says the balance: a number, or an object with one as "
            f"{', '.join(apps.BALANCE_FIELDS)} (default: %(default)s)",
        )
        parser.add_argument(
            "--health",
            type=_path,
            default=apps.HEALTH,
            metavar="PATH",
            help="where the API says that it is well (default: %(default)s)",
        )

    def handle(
        self, web: str, api: str, spend: apps.Call, balance: str, health: str, **options: Any
    ) -> None:
        start = time.perf_counter()
        targets = [identify(connect(alias)) for alias in ("auth", "fltr")]
        for target in targets:
            contract.require_built(target)
        smoke.require_writable(targets[0])
        with interrupted_by(signal.SIGTERM):
            result = apps.run(apps.Applications(Site(web), Site(api), spend, balance, health))
        elapsed = time.perf_counter() - start
        failed = sum(not check.ok for check in result.checks)
        exit_code = 0 if result.ok else 1
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(exit_code),
                    "databases": [target.as_json() for target in targets],
                    "web": web,
                    "api": api,
                    "seconds": round(elapsed, 3),
                    "checks": [asdict(check) for check in result.checks],
                    "unchecked": list(result.unchecked),
                }
            )
        else:
            self.say(f"{web} and {api} on {targets[0]}")
            for line in check_results.lines(result.checks, result.unchecked, self.style):
                self.say(line)
            style = self.style.ERROR if failed else self.style.SUCCESS
            passed = len(result.checks) - failed
            self.say(style(f"{passed} of {len(result.checks)} steps passed in {elapsed:.1f} s."))
        self.exit_with(exit_code)


def _call(text: str) -> apps.Call:
    match = CALL.fullmatch(text.strip())
    if match is None:
        raise ArgumentTypeError(f"{text!r} is no call such as {SPEND}")
    try:
        body = json.loads(match["body"]) if match["body"] else None
    except ValueError as error:
        raise ArgumentTypeError(f"{match['body']!r} is no JSON: {error}") from error
    return apps.Call(match["method"], match["path"], body)


def _path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]*", text):
        raise ArgumentTypeError(f"{text!r} is no path such as /health")
    return text
