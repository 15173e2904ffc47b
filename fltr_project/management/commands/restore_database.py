from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fltr_project import words
from fltr_project.backup import backup, directory, restore, restore_plan
from fltr_project.backup.archive import Archive
from fltr_project.backup.manifest import Manifest
from fltr_project.backup.restore import Owners
from fltr_project.backup.restore_plan import RestorePlan
from fltr_project.errors import CannotRun
from fltr_project.history import Event
from fltr_project.management import advice
from fltr_project.management.backups import (
    LATEST,
    age,
    backup_directory,
    backup_json,
    backup_line,
    proof_age,
    size,
)
from fltr_project.management.base import REPLACES
from fltr_project.management.operations import OperationCommand, Request
from fltr_project.rebuild import preflight
from fltr_project.rebuild.endings import State
from fltr_project.rebuild.purge import purge_at_the_end


class Command(OperationCommand):
    help = (
        "Restores a backup that backup_database made. What is there is backed up and set aside, a clean "
        "schema is filled from the backup and proven equal to its manifest, and only then does "
        "anybody see it. The guards are those of nuke_schema, and so is the token: "
        "`nuke_schema --plan` prints it."
    )
    examples = """\
  manage.py restore_database --database auth --from latest --plan   what it would bring back, and keep
  manage.py restore_database --database auth --from var/backups/fltr_auth-20260101T000000000000Z.dump
  manage.py restore_database --database auth --from PATH --no-owner
                                                  a production dump on one's own machine
  manage.py restore_database --database auth --from PATH --role-map web_rt=ada --role-map owner=ada
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
            help="the .dump file; its manifest, the .json file, has to be beside it. "
            f"{LATEST!r} is the newest of this database in --backup-dir",
        )
        parser.add_argument(
            "--plan", action="store_true", help="show what it would bring back and stop"
        )
        parser.add_argument(
            "--no-owner",
            action="store_true",
            help="own everything yourself, and leave out the rights of roles that are not there",
        )
        parser.add_argument(
            "--role-map",
            type=_pair,
            action="append",
            default=[],
            metavar="OLD=NEW",
            help="give NEW what OLD owned and might",
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

    @property
    def plan_command(self) -> str:
        named = " ".join(f"--database {target.alias}" for target in self.targets)
        return f"`manage.py nuke_schema {named} --plan`"

    def handle(
        self,
        database: str,
        source: str,
        plan: bool,
        keep: bool,
        no_owner: bool,
        role_map: list[tuple[str, str]],
        **options: Any,
    ) -> None:
        request, owners = Request.of(options), Owners(no_owner, dict(role_map))
        self.reach([database])
        with backup.opened(self._path(source, database, options["backup_dir"])) as (found, made):
            if plan:
                self._show_plan(found, made, owners)
            else:
                self._restore(request, found, made, owners, keep)

    def _path(self, source: str, alias: str, backup_dir: str | None) -> Path:
        if source != LATEST:
            return Path(source)
        into = backup_directory(backup_dir)
        newest = directory.newest(into, alias) if into.is_dir() else None
        if newest is None:
            raise CannotRun(f"There is no backup of {alias} in {into}. Name one with --from.")
        return newest.path

    def _show_plan(self, found: Archive, made: Manifest, owners: Owners) -> None:
        (target,) = self.targets
        planned = restore_plan.read(target, found, made, owners)
        if self.format == "json":
            self.print_json({**self.outcome(), "restore_plan": _plan_json(found, made, planned)})
            return
        self.say(f"Restoring {found.path.name} over {target} would:")
        for line in _plan_lines(made, planned):
            self.say(f"  {line}")
        for problem in planned.problems:
            self.say(self.style.WARNING(f"In the way: {problem}."))
        self.say("Nothing has changed.")

    def _restore(
        self, request: Request, found: Archive, made: Manifest, owners: Owners, keep: bool
    ) -> None:
        (target,) = self.targets
        with self.alone():
            (planned,) = self.plans(request.lock_timeout)
            preflight.require_possible(planned)
            restore.require_possible(planned, made)
            expected = restore_plan.read(target, found, made, owners)
            restore_plan.require_possible(expected, found)
            self.obtain_consent(request.consent([planned]), request.interactive, REPLACES)
            self.back_up(planned, request)
            self.record(Event.BEGUN, f"restoring {found.path} over {planned.summary}")
            restored = restore.restore(
                planned,
                found,
                made,
                self.operation_record(),
                lock_timeout=request.lock_timeout,
                terminate=request.terminate,
                backed_up=bool(self.backups),
                owners=owners,
                missing_roles=expected.missing_roles,
                standings=self.standings,
            )
            kept, warning, way_out = restored.aside, "", advice.way_out(target.alias)
            if restored.aside and not keep:
                self.standings.move(target.alias, State.PURGING)
                left = purge_at_the_end(
                    target, restored.aside, request.lock_timeout, last=restored.last_look
                )
                kept = left.name if left else None
                if left is None or left.whole:
                    self.standings.move(target.alias, State.COMMITTED if left else State.PURGED)
                if left:
                    warning, way_out = left.reason, advice.left(target.alias, left)
        sentence = (
            f"Restored {target} from {found.path.name}: {words.counted(restored.tables, 'tables')} with "
            f"{words.rows(restored.rows, restored.product_rows)}, equal to the manifest."
        )
        self.record(Event.DONE, sentence, 0)
        if self.format == "json":
            self.print_json(
                {
                    **self.outcome(),
                    "database": target.as_json(),
                    "from": str(found.path),
                    "sha256": made.sha256,
                    "tables": restored.tables,
                    "rows": restored.rows,
                    "product_rows": restored.product_rows,
                    "kept": list(restored.kept),
                    "apart_from": list(restored.apart_from),
                    "aside": kept,
                    "backup": backup_json(self.backups[0]) if self.backups else None,
                    "warning": warning or None,
                }
            )
            return
        if warning:
            self.say(self.style.WARNING(warning))
        self.say(self.style.SUCCESS(sentence))
        for each in restored.kept:
            self.say(f"Kept as it was there: {each}.")
        for each in restored.apart_from:
            self.say(self.style.WARNING(f"Not as in the backup: {each}."))
        if kept:
            self.say(f"What was there is kept in {kept}: {way_out}.")
        for each_backup in self.backups:
            self.say(f"Backup of what was there: {backup_line(each_backup)}")
        self.say_history()


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise ArgumentTypeError(f"{text!r} is not OLD=NEW")
    return old, new


def _plan_lines(made: Manifest, planned: RestorePlan) -> Iterator[str]:
    tables = words.counted(planned.tables, "tables")
    yield (
        f"bring back {tables} with {words.counted(planned.rows, 'rows')}, as they were "
        f"{age(made.created_at)} in {made.database} of PostgreSQL {made.target['version']} "
        f"({size(made.bytes)}, {proof_age(made)})"
    )
    if planned.settings:
        yield f"set {words.counted(planned.settings, 'settings')} of the database as they were"
    for each in planned.kept:
        yield f"keep {each} as it is there"
    for each in planned.left_out:
        yield f"leave out {each}"


def _plan_json(found: Archive, made: Manifest, planned: RestorePlan) -> dict[str, Any]:
    return {
        "from": str(found.path),
        "sha256": made.sha256,
        "created_at": made.created_at,
        "proven_at": made.proof.at if made.proof else None,
        "tables": planned.tables,
        "rows": planned.rows,
        "settings": planned.settings,
        "kept": list(planned.kept),
        "left_out": list(planned.left_out),
        "problems": list(planned.problems),
    }
