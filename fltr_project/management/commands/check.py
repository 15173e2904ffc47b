from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands.check import Command as DjangoCheck

from fltr_project import checks
from fltr_project.management.base import ExamplesHelpFormatter

EXAMPLES = """\
  manage.py check                                   settings and models
  manage.py check --database auth --database fltr   and both schemas, as verify_schema does
  manage.py check --deploy                          and what a server in public must not have
"""


class Command(DjangoCheck):
    help = (
        f"{DjangoCheck.help} With --database it also verifies the schema of a database of this "
        "project, as verify_schema does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        for action in parser._actions:
            if action.dest == "args":
                action.help = "look at these apps only"

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(
            prog_name,
            subcommand,
            epilog=f"examples:\n{EXAMPLES}",
            **kwargs,
        )
        parser.formatter_class = ExamplesHelpFormatter
        return parser

    def handle(self, *app_labels: Any, **options: Any) -> None:
        with checks.verifying_schemas():
            super().handle(*app_labels, **options)
