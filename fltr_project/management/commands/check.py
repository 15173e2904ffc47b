from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands.check import Command as DjangoCheck

from fltr_project import checks
from fltr_project.management import schema_check
from fltr_project.management.base import show_examples
from fltr_project.postgres import direct

EXAMPLES = """\
  manage.py check                                   settings and models
  manage.py check --database auth --database fltr   and both schemas, as verify_schema does
  manage.py check --deploy                          and what a server in public must not have
"""


class _Described:
    """Adds to a parser what Django's command adds, with a help for the argument that has none."""

    def __init__(self, parser: CommandParser) -> None:
        self.parser = parser

    def add_argument(self, *names: str, **options: Any) -> None:
        if names == ("args",):
            options["help"] = "look at these apps only"
        self.parser.add_argument(*names, **options)


class Command(DjangoCheck):
    help = (
        f"{DjangoCheck.help} With --database it also verifies the schema of a database of this "
        "project, as verify_schema does."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(_Described(parser))  # type: ignore[arg-type]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return show_examples(super().create_parser(prog_name, subcommand, **kwargs), EXAMPLES)

    def handle(self, *app_labels: Any, **options: Any) -> None:
        with direct.schema_work(), checks.verifying_schemas(schema_check.messages):
            super().handle(*app_labels, **options)
