from __future__ import annotations

import difflib
from argparse import ArgumentParser
from itertools import islice
from pathlib import Path
from typing import Any

from fltr_project.errors import CannotRun
from fltr_project.export.exports import LANGUAGES, export
from fltr_project.export.files import read, write
from fltr_project.management.base import WHICH, SchemaCommand
from fltr_project.postgres.target import known_aliases
from fltr_project.words import counted, visible

# Lines of a difference that are shown.
SHOWN = 40


class Command(SchemaCommand):
    help = (
        "Writes the contract of a database in the words of another program: Drizzle's schema.ts, SQLModel's "
        "models.py, DDL, a Mermaid diagram, JSON Schema of the rows. With the first two drizzle-kit and Alembic find "
        "nothing to do. Asks no database. With --check it writes nothing, and exits with 1 where the file differs."
    )
    examples = """\
  manage.py export_schema --to drizzle --output ../web/src/db/schema.ts
  manage.py export_schema --to sqlmodel --output ../api/app/models.py
  manage.py export_schema --to sqlmodel --database fltr --output ../api/app/models.py --check
                                              for a build: is the file still what it should be
  manage.py export_schema --to mermaid --database auth
  manage.py export_schema --to sql --database fltr | psql postgresql://localhost/new
"""
    difference = "differs"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--database",
            metavar="ALIAS",
            help=f"{WHICH} (default: auth, and fltr for sqlmodel)",
        )
        parser.add_argument("--to", required=True, choices=sorted(LANGUAGES), help="in which words")
        parser.add_argument(
            "--output", type=Path, metavar="PATH", help="a file instead of standard output"
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="change nothing; exit with 1 where --output is missing or says something else",
        )
        self.add_format(parser)

    def handle(
        self, database: str | None, to: str, output: Path | None, check: bool, **options: Any
    ) -> None:
        # Whose application speaks it.
        (alias,) = known_aliases([database or ("fltr" if to == "sqlmodel" else "auth")])
        if check and output is None:
            raise CannotRun(
                "--check compares a file with what it should be. Name it with --output."
            )
        text = export(alias, to)
        document = {"database": alias, "to": to, "output": str(output) if output else None}
        if output is None:
            if self.format == "json":
                self.print_json({**self.outcome(0), **document, "text": text})
            else:
                self.stdout.write(text, ending="")
            return
        before = read(output)
        same = before == text
        if not check and not same:
            write(output, text)
        exit_code = 1 if check and not same else 0
        if self.format == "json":
            self.print_json({**self.outcome(exit_code), **document, "same": same})
        elif not check:
            self.say(f"{output} {'was as it should be' if same else 'is written'}.")
        elif same:
            self.say(f"{output} is as it should be.")
        else:
            self._tell(output, before, text)
        self.exit_with(exit_code)

    def _tell(self, output: Path, before: str | None, text: str) -> None:
        if before is None:
            self.say(f"{output} is not there.")
            return
        lines = list(
            difflib.unified_diff(
                before.splitlines(), text.splitlines(), str(output), "the contract", lineterm=""
            )
        )
        for line in islice(lines, SHOWN):
            self.say(visible(line))
        if len(lines) > SHOWN:
            self.say(f"... {counted(len(lines) - SHOWN, 'lines')} more")
        self.say(f"{output} is not what the contract says; without --check it is written anew.")
