from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from fltr_project import history, words
from fltr_project.errors import CannotRun
from fltr_project.management.base import target_json
from fltr_project.management.operations import OperationCommand, backup_json, size
from fltr_project.postgres import locks
from fltr_project.schema.backup import KEEP, backup


class Command(OperationCommand):
    help = (
        "Writes a backup of the whole database with pg_dump, reads it back to its end, and keeps a "
        "manifest of what it holds beside it. Exits 6 when no proven backup could be made."
    )
    examples = """\
  manage.py backup_database                       both databases, into var/backups
  manage.py backup_database --database auth --backup-dir /mnt/backups --rotate 30
  manage.py backup_database --format json         with the path, size and SHA-256 of each
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_databases(parser)
        self.add_format(parser)
        parser.add_argument(
            "--backup-dir", metavar="DIR", help="where to write it (default: var/backups)"
        )
        parser.add_argument(
            "--rotate",
            type=int,
            default=KEEP,
            metavar="COUNT",
            help="how many backups of a database to keep there; the oldest go first (default: "
            "%(default)s)",
        )

    def handle(
        self, databases: list[str], backup_dir: str | None, rotate: int, **options: Any
    ) -> None:
        if rotate < 1:
            raise CannotRun(f"--rotate is {rotate}. At least 1 backup is kept: the new one.")
        self.reach(databases)
        directory = self.backup_directory(backup_dir)
        for each in self.plans():
            made = backup(each, directory, keep=rotate, lock_timeout=locks.LOCK_TIMEOUT)
            self.backups = (*self.backups, made)
            self.say(
                self.style.SUCCESS(
                    f"Backed up {each.target}: {words.counted(made.tables, 'tables')} with "
                    f"{words.rows(made.rows, made.product_rows)}; {size(made.bytes)}, verified."
                )
            )
            self.say(f"  {made.path}")
            for old in made.removed:
                self.say(f"  {old} was beyond the {words.counted(rotate, 'backups')} kept: removed")
        self.record(history.DONE, ", ".join(str(made.path) for made in self.backups), 0)
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(),
                    "backups": [
                        {**backup_json(made), "database": target_json(target)}
                        for target, made in zip(self.targets, self.backups, strict=True)
                    ],
                }
            )
        self.say_history()
