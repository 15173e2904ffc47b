from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings

from auth_app.drizzle import folder as folders
from auth_app.drizzle import record
from auth_app.drizzle.folder import Folder
from auth_app.drizzle.record import Adoption, NotAsTheFolderSays
from fltr_project.catalog import contract
from fltr_project.drift.repair.script import comment
from fltr_project.errors import CannotRun
from fltr_project.management.base import SchemaCommand
from fltr_project.postgres.target import Target, connect, identify
from fltr_project.words import counted, visible


class Command(SchemaCommand):
    help = (
        "Tells Drizzle that the migrations of a folder have been applied, because Django has built "
        "the tables: `drizzle-kit migrate` in a Next.js build then does nothing. The folder's newest snapshot is "
        "compared with the database first; what is missing there is named, and nothing is recorded. Needs "
        "`migrations: { schema: 'public' }` in drizzle.config.ts. May be run again at any time."
    )
    examples = """\
  manage.py adopt_drizzle ../web/drizzle
  manage.py adopt_drizzle                     the folder of DRIZZLE_FOLDER
  manage.py adopt_drizzle ../web/drizzle --check
                                              is all of it there and recorded; changes nothing
  manage.py adopt_drizzle ../web/drizzle --sql > adopt.sql
                                              the same as a script, for a build without Python
"""
    difference = "drift"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "folder",
            nargs="?",
            type=Path,
            help="the migrations: what drizzle.config.ts has as `out` (default: DRIZZLE_FOLDER)",
        )
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--check",
            action="store_true",
            help="change nothing; exit with 1 where something is missing or not recorded",
        )
        what.add_argument(
            "--sql",
            action="store_true",
            help="print a script for psql that compares tables and columns and records; asks no database",
        )
        self.add_format(parser)

    def handle(self, folder: Path | None, check: bool, sql: bool, **options: Any) -> None:
        found = folders.read(_named(folder))
        if sql:
            if self.format == "json":
                raise CannotRun("--sql takes no --format json. Leave one of them out.")
            self.stdout.write(_script(found))
            return
        target = identify(connect("auth"))
        contract.require_built(target)
        adoption = record.compare(found) if check else record.adopt(found)
        exit_code = 1 if adoption.missing or adoption.unrecorded else 0
        if self.format == "json":
            lists = ("entries", "recorded", "unrecorded", "missing")
            document = {name: list(getattr(adoption, name)) for name in lists}
            self.print_json({**self.outcome(exit_code), "database": target.as_json(), **document})
        else:
            self._tell(adoption, target)
        self.exit_with(exit_code)

    def _tell(self, adoption: Adoption, target: Target) -> None:
        known = counted(len(adoption.entries), "migrations")
        for missing in adoption.missing:
            self.say(f"  missing       {missing}")
        for tag in adoption.unrecorded:
            self.say(f"  not recorded  {tag}")
        if adoption.missing:
            self.say(f"{target} lacks what the folder's {known} make.")
        elif adoption.unrecorded:
            self.say(f"{target} has all that the folder's {known} make, and has not recorded it.")
        elif adoption.recorded:
            self.say(f"Recorded in {target}: {', '.join(adoption.recorded)}.")
        else:
            self.say(f"Nothing is new: {target} has recorded the folder's {known} before.")

    def failure(self, sentence: str, exit_code: int) -> dict[str, Any]:
        document = super().failure(sentence, exit_code)
        return {**document, "missing": list(self.missing)} if exit_code == 3 else document

    def _fail(self, sentence: str, exit_code: int, error: Exception) -> None:
        self.missing = error.missing if isinstance(error, NotAsTheFolderSays) else ()
        super()._fail(sentence, exit_code, error)


def _named(folder: Path | None) -> Path:
    if folder is not None:
        return folder
    if not settings.DRIZZLE_FOLDER:
        raise CannotRun(
            "Name the folder that drizzle.config.ts has as `out`, or set DRIZZLE_FOLDER."
        )
    return Path(settings.DRIZZLE_FOLDER)


def _script(found: Folder) -> str:
    known = counted(len(found.entries), "migrations")
    title = f"Tells Drizzle that the {known} of {found.path} have been applied to fltr_auth."
    run_with = "Run it with: psql URL -v ON_ERROR_STOP=1 -f FILE"
    return "\n".join([comment(visible(title)), comment(run_with), record.script(found)])
