from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from auth_app import drizzle
from fltr_project.management.base import SchemaCommand, target_json
from fltr_project.postgres.target import connect, identify
from fltr_project.schema import contract
from fltr_project.words import counted


class Command(SchemaCommand):
    help = (
        "Tells Drizzle that the migrations of a folder have been applied, because Django has built "
        "the tables: `drizzle-kit migrate` in a Next.js build then does nothing. Needs `migrations: "
        "{ schema: 'public' }` in drizzle.config.ts. May be run again at any time."
    )
    examples = """\
  manage.py adopt_drizzle ../web/drizzle
  manage.py adopt_drizzle ../web/drizzle --format json
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "folder", type=Path, help="the migrations: what drizzle.config.ts has as `out`"
        )
        self.add_format(parser)

    def handle(self, folder: Path, **options: Any) -> None:
        target = identify(connect("auth"))
        contract.require_built(target)
        adoption = drizzle.adopt(folder)
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(),
                    "database": target_json(target),
                    "entries": list(adoption.entries),
                    "recorded": list(adoption.recorded),
                }
            )
        elif adoption.recorded:
            self.say(f"Recorded in {target}: {', '.join(adoption.recorded)}.")
        else:
            known = counted(len(adoption.entries), "migrations")
            self.say(f"Nothing is new: {target} has recorded the folder's {known} before.")
