from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from fltr_project.catalog import contract, granting
from fltr_project.errors import CannotRun
from fltr_project.management.base import SchemaCommand
from fltr_project.postgres import locks
from fltr_project.postgres.target import (
    Target,
    connect,
    identify,
    known_aliases,
    require_distinct,
)

KINDS = ("app", "billing", "auditor", "writer")


class Command(SchemaCommand):
    help = (
        "Gives a role exactly the rights that its kind of program needs on both databases, and no others "
        "on what the contract holds: app signs people up, logs them in, spends, holds and refunds; "
        "billing grants and reverses; auditor only reads; writer writes its own rows, balances included, "
        "as programs without the ledger's functions do. Run again, it changes nothing; migrations and "
        "rebuilds keep the rights. docs/roles.md has the table."
    )
    examples = """\
  manage.py grant_access --role web_rt --as app        and no more than that
  manage.py grant_access --role web_rt --as app --sql  print the statements instead
  manage.py grant_access --role web_rt --revoke        take all of them back
  manage.py grant_access --role books --as auditor --database auth
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--role", required=True, metavar="NAME", help="the role that the program connects as"
        )
        parser.add_argument("--as", choices=KINDS, dest="kind", help="what kind of program it is")
        parser.add_argument(
            "--revoke", action="store_true", help="take back what this command has granted"
        )
        parser.add_argument(
            "--sql",
            action="store_true",
            help="print the statements for a person to run; nothing is changed",
        )
        self.add_databases(parser)
        self.add_format(parser)

    def handle(
        self,
        role: str,
        kind: str | None,
        revoke: bool,
        sql: bool,
        databases: list[str],
        **options: Any,
    ) -> None:
        if kind is None and not revoke:
            raise CannotRun(f"Say what kind of program {role!r} is: --as {' or '.join(KINDS)}.")
        if sql and self.format != "text":
            raise CannotRun("--sql takes no --format json. Leave one of them out.")
        targets = [identify(connect(alias)) for alias in known_aliases(databases)]
        require_distinct(targets)
        for target in targets:
            contract.require_built(target)
        wanted = None if revoke else kind
        if sql:
            self._print(targets, role, wanted)
            return
        # All that can be found out before anything is changed, of both.
        for target in targets:
            granting.require_possible(connect(target.alias), target, role)
        granted = []
        for target in targets:
            with locks.exclusive(target):
                granted.append(granting.grant(target, connect(target.alias), role, wanted))
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(),
                    "role": role,
                    "kind": wanted,
                    "databases": [
                        {
                            "database": target.as_json(),
                            "rights": list(each.rights),
                            "changed": each.changed,
                            "beyond": list(each.beyond),
                        }
                        for target, each in zip(targets, granted, strict=True)
                    ],
                }
            )
            return
        for target, each in zip(targets, granted, strict=True):
            self._tell(target, role, wanted, each)

    def _print(self, targets: list[Target], role: str, kind: str | None) -> None:
        for target in targets:
            about = f"the rights of {kind}" if kind else "no rights"
            self.stdout.write(f"-- {about} for role {role} on {target}")
            self.stdout.write("BEGIN;")
            for statement in granting.statements(target, connect(target.alias), role, kind):
                self.stdout.write(statement)
            self.stdout.write("COMMIT;")

    def _tell(self, target: Target, role: str, kind: str | None, granted: granting.Granted) -> None:
        for statement in granted.rights:
            self.say(statement)
        has = f"has the rights of {kind}" if kind else "has no rights of this command's left"
        before = "" if granted.changed else ", as before: nothing was changed"
        self.say(f"{role} {has} on {target}{before}.")
        if granted.beyond:
            self.say(
                self.style.WARNING(
                    f"It may more than that, by another role that it is a member of or because everybody "
                    f"may: {', '.join(granted.beyond)}."
                )
            )
