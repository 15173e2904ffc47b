"""What every command of this project has in common: options, exit codes, text or JSON."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from argparse import ArgumentParser, RawDescriptionHelpFormatter, _ActionsContainer
from typing import TYPE_CHECKING, Any

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)

from fltr_project import streams
from fltr_project.errors import CannotRun, CleanSlateError, Declined
from fltr_project.postgres import direct
from fltr_project.postgres.target import Target
from fltr_project.words import harmless, visible

from . import advice

if TYPE_CHECKING:
    from fltr_project.rebuild.consent import Consent

# What `--database` takes.
WHICH = "auth (users, teams, credits) or fltr (datasets, documents, jobs)"
# What is about to be done to the database of a plan, as it stands in the question.
EMPTIES = "empties schema public of {plan.target}, which holds {plan.summary}"
CHANGES = "changes the schema of {plan.target}"
REPLACES = "replaces schema public of {plan.target}, which holds {plan.summary}"


class ExamplesHelpFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's order of options, and the examples as they are written."""


def show_examples(parser: CommandParser, examples: str) -> CommandParser:
    """Have the parser print commands to copy below the options; returns the parser."""
    parser.formatter_class = ExamplesHelpFormatter
    parser.epilog = f"examples:\n{examples}"
    # That formatter leaves line breaks to us; argparse keeps two columns free.
    columns = shutil.get_terminal_size().columns - 2
    parser.description = textwrap.fill(parser.description or "", columns)
    return parser


class SchemaCommand(BaseCommand):
    """A thin command over the engine: its errors become one sentence and their exit code."""

    # These commands are for databases that are broken or not there; they look for themselves.
    requires_system_checks = ()
    # Shown below the options: commands to copy.
    examples = ""
    # The verdict of exit code 1.
    difference = "failed"
    format = "text"
    verbosity = 1

    @property
    def command(self) -> str:
        """Its name on the command line."""
        return type(self).__module__.rpartition(".")[2]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return show_examples(super().create_parser(prog_name, subcommand, **kwargs), self.examples)

    def add_format(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--format",
            choices=("text", "json"),
            default="text",
            help="json prints one object on standard output, on failure too (docs/json/)",
        )

    def add_databases(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--database",
            action="append",
            default=[],
            dest="databases",
            metavar="ALIAS",
            help=f"{WHICH}; repeat it for both (default: both)",
        )

    def add_database(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", required=True, metavar="ALIAS", help=WHICH)

    def add_consent(self, parser: _ActionsContainer) -> None:
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help="do not ask; enough where nothing is protected: the database is marked development "
            "or test (mark_environment), or is not marked and empty",
        )
        parser.add_argument(
            "--confirm",
            action="append",
            default=[],
            metavar="NAME",
            help="the name of the database that this is about, instead of typing it; may be repeated",
        )

    def add_token(self, parser: ArgumentParser, printed_by: str = "--plan") -> None:
        parser.add_argument(
            "--token",
            metavar="T",
            help=f"what {printed_by} printed: a protected database wants it besides its name",
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.format = options.get("format", "text")
        self.verbosity = options["verbosity"]
        with direct.schema_work():
            try:
                return super().execute(*args, **options)
            except CleanSlateError as error:
                self._fail(advice.sentence(error, self.plan_command), error.exit_code, error)
            except Exception as error:
                sentence = advice.explained(error)
                if sentence is None:
                    raise
                self._fail(sentence, 2, error)
        return None

    def _fail(self, sentence: str, exit_code: int, error: Exception) -> None:
        if self.format == "json":
            self.print_json(self.failure(sentence, exit_code))
        raise CommandError(harmless(sentence), returncode=exit_code) from error

    def failure(self, sentence: str, exit_code: int) -> dict[str, Any]:
        """The JSON object of a run that ended with an error."""
        return {**self.outcome(exit_code), "error": sentence}

    def outcome(self, exit_code: int = 0) -> dict[str, Any]:
        """How the JSON object of every outcome begins."""
        return {
            "command": self.command,
            "verdict": self.difference if exit_code == 1 else VERDICTS[exit_code],
            "exit_code": exit_code,
        }

    def print_json(self, document: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(document, indent=2, sort_keys=False))

    def say(self, text: str = "", verbosity: int = 1) -> None:
        """Print for a person; silent with --format json and below the verbosity."""
        if self.format == "text" and self.verbosity >= verbosity:
            self.stdout.write(harmless(text))

    def exit_with(self, exit_code: int) -> None:
        """End with a result that is no error of this program's: a difference, a failed check."""
        if exit_code:
            raise SystemExit(exit_code)

    @property
    def plan_command(self) -> str:
        """Which command prints the token that this one takes."""
        return advice.ITS_OWN_PLAN

    def obtain_consent(self, consent: Consent, interactive: bool, does: str = EMPTIES) -> None:
        """Return when the operator has agreed to what the plans say.

        ``does`` says what is about to be done to the database of each. Raises Refused by a guard, also
        without a terminal to ask on, Declined by the operator, and CannotRun when nobody can have read the
        plans.
        """
        if problem := streams.lost():
            raise CannotRun(f"{problem} Nothing was changed.")
        for plan in consent.to_ask(interactive=interactive, terminal=sys.stdin.isatty()):
            self._ask(plan.target, does.format(plan=plan))

    def _ask(self, target: Target, does: str) -> None:
        question = f"Type the database's name, {visible(target.database)}, to go on: "
        try:
            self.stderr.write(harmless(f"This {does}."), self.style.WARNING)
            self.stderr.write(question, lambda text: text, ending="")
            self.stderr.flush()
            answer = input().strip()
        except (EOFError, KeyboardInterrupt):
            self.stderr.write("")
            answer = ""
        if answer != target.database:
            raise Declined(f"Declined: nothing of {target.database} has changed.")


VERDICTS = {
    0: "clean",
    2: "could not run",
    3: "refused",
    4: "declined",
    5: "blocked",
    6: "backup failed",
    7: "rolled back",
}
