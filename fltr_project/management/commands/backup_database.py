from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from fltr_project import words
from fltr_project.backup import directory
from fltr_project.backup.backup import KEEP, Backup, described
from fltr_project.backup.directory import Stored
from fltr_project.backup.manifest import ARCHIVE, Manifest
from fltr_project.backup.taking import Wanted, prove
from fltr_project.errors import BackupFailed, CannotRun
from fltr_project.history import Event
from fltr_project.management.backups import (
    LATEST,
    ProofProgress,
    age,
    backup_directory,
    backup_json,
    proof_age,
    proof_json,
    proof_line,
    proof_word,
    size,
    upload_json,
)
from fltr_project.management.operations import OperationCommand
from fltr_project.postgres.target import known_aliases


class Command(OperationCommand):
    help = (
        "Writes a backup of the whole database with pg_dump, reads it back to its end, and keeps a "
        "manifest of what it holds beside it. With a proof, the default for a protected database, it is "
        "restored into a scratch database too, and what came back is compared with what was dumped. "
        "Exits 6 when no backup could be made or one does not come back."
    )
    examples = """\
  manage.py backup_database                       both databases, into var/backups
  manage.py backup_database --database auth --backup-dir /mnt/backups --rotate 30 --keep-days 90
  manage.py backup_database --proof               prove it whatever the database is marked as
  manage.py backup_database --prove latest        prove the newest backup of each database (for cron)
  manage.py backup_database --prove PATH          or an old one
  manage.py backup_database --list                what there is: size, rows, age, proof
  manage.py backup_database --format json         with the path, size and SHA-256 of each
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_databases(parser)
        self.add_format(parser)
        parser.add_argument(
            "--backup-dir", metavar="DIR", help="where backups are (default: var/backups)"
        )
        parser.add_argument(
            "--rotate",
            type=int,
            default=KEEP,
            metavar="COUNT",
            help="how many backups of a database to keep there; the oldest go first (default: "
            "%(default)s)",
        )
        parser.add_argument(
            "--keep-days",
            type=int,
            metavar="DAYS",
            help="delete those that are older too; never the newest, nor the newest that is proven",
        )
        self.add_proof(parser)
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--prove",
            metavar="PATH",
            help=f"restore an old backup into a scratch database and compare; {LATEST!r} is the newest "
            "of each database",
        )
        what.add_argument(
            "--list",
            action="store_true",
            dest="lists",
            help="show the backups that there are",
        )

    def handle(
        self,
        databases: list[str],
        backup_dir: str | None,
        rotate: int,
        keep_days: int | None,
        wants_proof: bool | None,
        prove: str | None,
        lists: bool,
        **options: Any,
    ) -> None:
        if rotate < 1 or (keep_days is not None and keep_days < 1):
            raise CannotRun(
                f"--rotate is {rotate} and --keep-days is {keep_days}. At least 1 backup is kept, and "
                "for at least 1 day."
            )
        into = backup_directory(backup_dir)
        if lists:
            self._list(into, known_aliases(databases))
        elif prove is not None:
            self._prove(into, databases, prove)
        else:
            self._back_up(databases, Wanted(into, wants_proof, rotate, keep_days))

    def _back_up(self, databases: list[str], wanted: Wanted) -> None:
        self.reach(databases)
        for target in self.targets:
            made = self.take(target, wanted)
            self.say(
                self.style.SUCCESS(
                    f"Backed up {target}: {words.counted(made.tables, 'tables')} with "
                    f"{words.rows(made.rows, made.product_rows)}; {size(made.bytes)}, "
                    f"{proof_word(made.proof)}."
                )
            )
            self.say(f"  {made.path}")
            self._say_proof(made)
            for old in made.removed:
                self.say(f"  {old} was beyond what is kept: removed")
        self.record(Event.DONE, ", ".join(str(made.path) for made in self.backups), 0)
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(),
                    "backups": [
                        {**backup_json(made), "database": target.as_json()}
                        for target, made in zip(self.targets, self.backups, strict=True)
                    ],
                    "uploads": [upload_json(each) for each in self.uploads],
                }
            )
        self.say_history()
        if failed := [each.problem for each in self.uploads if each.problem]:
            raise BackupFailed(
                f"The backup was made and proven, but BACKUP_UPLOAD failed: {'; '.join(failed)}."
            )

    def _prove(self, into: Path, databases: list[str], which: str) -> None:
        aliases = known_aliases(databases)
        if which == LATEST:
            found = {alias: directory.newest(into, alias) for alias in aliases}
            if missing := [alias for alias, stored in found.items() if stored is None]:
                raise CannotRun(
                    f"There is no backup of {' and '.join(missing)} in {into}. Make one with "
                    "`manage.py backup_database`."
                )
            paths = [stored.path for stored in found.values() if stored]
        else:
            paths = [Path(which).absolute()]
        proven = [(path, self._proven(path)) for path in paths]
        self.record(Event.DONE, f"proven: {', '.join(map(str, paths))}", 0)
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(),
                    "proven": [_stored_json(path, made) for path, made in proven],
                }
            )
        self.say_history()

    def _proven(self, path: Path) -> Manifest:
        archive = path.with_suffix(ARCHIVE)
        alias = directory.described(archive).alias
        self.reach([alias])
        telling = ProofProgress(self.say)
        telling.begins(described(archive, directory.described(archive)), True)
        made, unproven = prove(archive, telling)
        if made.proof is None:
            raise BackupFailed(
                f"{archive} was not proven: {unproven}. It says nothing against the backup. Give the role "
                "CREATEDB, install a PostgreSQL server of that version here, or set PROOF_DATABASE_URL."
            )
        self.say(self.style.SUCCESS(f"Proven: {archive} was {proof_line(made.proof)}."))
        return made

    def _say_proof(self, made: Backup) -> None:
        if made.proof:
            self.say(f"  Proof: {proof_line(made.proof)}")
        elif made.unproven:
            self.say(self.style.WARNING(f"  Not proven: {made.unproven}"))

    def _list(self, into: Path, aliases: tuple[str, ...]) -> None:
        found = directory.stored(into) if into.is_dir() else ()
        mine = [each for each in found if each.manifest is None or each.manifest.alias in aliases]
        if self.format == "json":
            backups = [
                _stored_json(each.path, each.manifest)
                if each.manifest
                else {"path": str(each.path), "problem": each.problem}
                for each in mine
            ]
            self.print_json({**self.outcome(), "directory": str(into), "stored": backups})
            return
        if not mine:
            self.say(f"There are no backups in {into}.")
        for each in mine:
            self.say(self._line(each))

    def _line(self, each: Stored) -> str:
        made = each.manifest
        if made is None:
            return self.style.WARNING(f"{each.path.name}  {each.problem}")
        rows = words.counted(made.rows, "rows")
        return (
            f"{each.path.name}  {made.database} of PostgreSQL {made.target['version']}, "
            f"{size(each.bytes)}, {rows}, made {age(made.created_at)}, {proof_age(made)}"
        )


def _stored_json(path: Path, made: Manifest) -> dict[str, Any]:
    return {
        "path": str(path.with_suffix(ARCHIVE)),
        "alias": made.alias,
        "database": made.database,
        "version": made.target["version"],
        "created_at": made.created_at,
        "sha256": made.sha256,
        "bytes": made.bytes,
        "tables": len(made.data.tables),
        "rows": made.rows,
        "read": made.read,
        "proof": proof_json(made.proof),
    }
