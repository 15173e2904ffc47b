from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import replace
from typing import Any

from fltr_project.errors import CannotRun
from fltr_project.history import Event
from fltr_project.management.operations import OperationCommand
from fltr_project.postgres import environment_mark
from fltr_project.postgres.target import connect
from fltr_project.rebuild.consent import (
    ENVIRONMENTS,
    FREE,
    Consent,
    is_protected,
    require_known_names,
)


class Command(OperationCommand):
    help = (
        "Marks databases as development, test, staging or production, in the database itself, where "
        "every command of this project looks before it empties one. Without an environment it shows "
        "the marks. Marking a protected database as development or test takes its protection away, "
        "so that wants the same consent as emptying it."
    )
    examples = """\
  manage.py mark_environment                           show the marks
  manage.py mark_environment production --no-input     both databases, which are protected then
  manage.py mark_environment test --database auth --no-input
                                                       one of them
  manage.py clean_slate --plan                         a token T, before a protection is taken away
  manage.py mark_environment test --no-input --confirm fltr_auth --confirm fltr --token T
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "environment",
            nargs="?",
            choices=ENVIRONMENTS,
            help="what the databases are from now on; left out, their marks are shown",
        )
        self.add_databases(parser)
        self.add_consent(parser)
        self.add_token(parser, "`nuke_schema --plan`, or `clean_slate --plan` for both databases,")
        self.add_format(parser)

    def handle(
        self,
        environment: str | None,
        databases: list[str],
        interactive: bool,
        confirm: list[str],
        token: str | None,
        **options: Any,
    ) -> None:
        self.reach(databases)
        if environment is not None:
            self._mark(environment, interactive, confirm, token)
            self.record(Event.DONE, f"marked as {environment}", 0)
        if self.format == "json":
            self.print_json(
                {**self.outcome(), "databases": [each.as_json() for each in self.targets]}
            )
            return
        for target in self.targets:
            self.say(
                f"{target} is {f'marked {target.environment}' if target.environment else 'not marked'}."
            )
        if environment is not None:
            self.say_history()

    @property
    def plan_command(self) -> str:
        # A plan of the same databases, so that one token is for all of them.
        named = " ".join(f"--database {target.alias}" for target in self.targets)
        return f"`manage.py clean_slate {named} --plan`"

    def _mark(
        self, environment: str, interactive: bool, confirm: list[str], token: str | None
    ) -> None:
        for target in self.targets:
            if not target.owns_database:
                raise CannotRun(
                    f"Role {target.role!r} does not own {target}, and only its owner can mark it. "
                    "Connect as the owner."
                )
        with self.alone():
            plans = self.plans()
            require_known_names(plans, confirm)
            if environment in FREE and (token is not None or any(map(is_protected, plans))):
                self.obtain_consent(
                    Consent(plans, confirm, token),
                    interactive,
                    "takes the protection from {plan.target}, which holds {plan.summary}",
                )
            for target in self.targets:
                environment_mark.write(connect(target.alias), environment)
        self.targets = tuple(replace(each, environment=environment) for each in self.targets)
