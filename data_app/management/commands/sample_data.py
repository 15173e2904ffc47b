from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from data_app import sample_data
from fltr_project.catalog import contract
from fltr_project.errors import Refused
from fltr_project.management.base import SchemaCommand
from fltr_project.postgres.target import connect, identify
from fltr_project.words import counted

MOST = 100_000


def _users(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST):
        raise ArgumentTypeError(f"{text!r} is not a number of users from 1 to {MOST:,}")
    return int(text)


class Command(SchemaCommand):
    help = (
        "Makes people, teams, API keys, datasets and a ledger to look at in the admin. Every credit moves "
        "through the ledger's own functions. Called again, it adds others. Refused where both databases are "
        "not marked development."
    )
    examples = """\
  manage.py mark_environment development
  manage.py sample_data --users 500
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--users",
            type=_users,
            default=500,
            metavar="N",
            help=f"how many people, {MOST:,} at most (default: 500)",
        )

    def handle(self, users: int, **options: Any) -> None:
        for alias in ("auth", "fltr"):
            target = identify(connect(alias))
            if target.environment != "development":
                marked = f"marked {target.environment}" if target.environment else "not marked"
                raise Refused(
                    f"Guard 'environment': {target} is {marked}, and sample data is for development only. "
                    "Nothing was made. Where that is right, run `manage.py mark_environment development`."
                )
            contract.require_built(target)
        made = sample_data.make(users)
        self.say(
            self.style.SUCCESS(
                f"Made {counted(made.users, 'users')}, {counted(made.teams, 'teams')}, "
                f"{counted(made.api_keys, 'API keys')}, {counted(made.transactions, 'transactions')} and "
                f"{counted(made.datasets, 'datasets')}."
            )
        )
