from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from fltr_project import history, words
from fltr_project.errors import Blocked
from fltr_project.management.base import REPLACES, target_json
from fltr_project.management.operations import OperationCommand, backup_json, backup_line
from fltr_project.schema import aside, guards, nuke, restore
from fltr_project.schema import backup as backups


class Command(OperationCommand):
    help = (
        "Restores a backup that backup_database made. What is there is backed up and set aside, a clean "
        "schema is filled from the backup and proven equal to its manifest, and only then does "
        "anybody see it. The guards are those of nuke_schema, and so is the token: "
        "`nuke_schema --plan` prints it."
    )
    examples = """\
  manage.py restore_database --database auth --from var/backups/fltr_auth-20260101T000000000000Z.dump
  manage.py restore_database --database auth --from PATH --keep   keep what was there for --undo
  manage.py restore_database --database auth --from PATH --no-input --confirm fltr_auth --token T
                                                                  a protected database
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_database(parser)
        parser.add_argument(
            "--from",
            required=True,
            dest="source",
            metavar="PATH",
            help="the .dump file; its manifest, the .json file, has to be beside it",
        )
        parser.add_argument(
            "--keep",
            action="store_true",
            help="keep what was there before, for `nuke_schema --undo` or --purge",
        )
        self.add_consent(parser)
        self.add_token(parser, "`nuke_schema --plan`")
        self.add_format(parser)
        self.add_waiting(parser)
        self.add_backup(parser)

    def handle(
        self,
        database: str,
        source: str,
        keep: bool,
        interactive: bool,
        confirm: list[str],
        token: str | None,
        lock_timeout: float,
        terminate: bool,
        backup_dir: str | None,
        wants_backup: bool,
        **options: Any,
    ) -> None:
        milliseconds = self.milliseconds(lock_timeout)
        (target,) = self.reach([database])
        archive, manifest = backups.read(Path(source))
        with self.alone():
            (planned,) = self.plans()
            guards.require_possible(planned)
            restore.require_possible(planned, manifest)
            self.obtain_consent(
                [planned],
                confirm,
                interactive,
                token,
                does=REPLACES,
                look=f"`manage.py nuke_schema --database {target.alias} --plan`",
            )
            self.require_backup([planned], wants_backup, backup_dir)
            if wants_backup:
                self.back_up(planned, backup_dir, milliseconds)
            self.record(history.BEGUN, f"restoring {archive} over {planned.summary}")
            why = aside.journal(self.command, self.run_id, (target.alias,))
            restored = restore.restore(
                planned, archive, manifest, why, lock_timeout=milliseconds, terminate=terminate
            )
            kept, warning = restored.aside if keep else None, ""
            if restored.aside and not keep:
                try:
                    nuke.purge(target, restored.aside, milliseconds)
                except Blocked as error:
                    kept, warning = restored.aside, str(error)
        sentence = (
            f"Restored {target} from {archive.name}: {words.counted(restored.tables, 'tables')} with "
            f"{words.rows(restored.rows, restored.product_rows)}, equal to the manifest."
        )
        self.record(history.DONE, sentence, 0)
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(),
                    "database": target_json(target),
                    "from": str(archive),
                    "sha256": manifest.sha256,
                    "tables": restored.tables,
                    "rows": restored.rows,
                    "product_rows": restored.product_rows,
                    "aside": kept,
                    "backup": backup_json(self.backups[0]) if self.backups else None,
                    "warning": warning or None,
                }
            )
            return
        if warning:
            self.say(self.style.WARNING(warning))
        self.say(self.style.SUCCESS(sentence))
        if kept:
            self.say(f"What was there is kept in {kept}: {aside.way_out(target.alias)}.")
        for made in self.backups:
            self.say(f"Backup of what was there: {backup_line(made)}")
        self.say_history()
