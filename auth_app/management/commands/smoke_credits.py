from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from auth_app import smoke
from fltr_project.management.base import SchemaCommand, target_json
from fltr_project.postgres.target import connect, identify


class Command(SchemaCommand):
    help = (
        "Proves on the live database that sign-up, spending, refusing, refunding and deleting work, "
        "inside one transaction that is rolled back: it leaves no trace. Exits 0 when every check "
        "passes, 1 when one fails, 2 when it could not run."
    )
    examples = """\
  manage.py smoke_credits
  manage.py smoke_credits --format json
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_format(parser)

    def handle(self, **options: Any) -> None:
        target = identify(connect("auth"))
        result = smoke.run("auth")
        if self.format == "json":
            self.print_json(
                {
                    "verdict": "clean" if result.ok else "failed",
                    "exit_code": 0 if result.ok else 1,
                    "database": target_json(target),
                    "checks": [asdict(check) for check in result.checks],
                }
            )
        else:
            self.say(f"Credits of {target}")
            for check in result.checks:
                mark = self.style.SUCCESS("[ok]") if check.ok else self.style.ERROR("[!!]")
                self.say(f"{mark} {check.name:<19} {check.milliseconds:>5} ms  {check.detail}")
            passed = sum(check.ok for check in result.checks)
            verdict = f"{passed} of {len(result.checks)} checks passed; everything was rolled back."
            self.say((self.style.SUCCESS if result.ok else self.style.ERROR)(verdict))
        self.exit_with(0 if result.ok else 1)
