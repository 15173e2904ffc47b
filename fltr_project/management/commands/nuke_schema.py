from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from fltr_project.errors import CannotRun
from fltr_project.management.base import SchemaCommand, target_json
from fltr_project.postgres import locks
from fltr_project.postgres.target import (
    ALIASES,
    connect,
    identify,
    known_aliases,
    others,
    require_distinct,
)
from fltr_project.schema import guards, nuke
from fltr_project.schema.plan import Plan
from fltr_project.schema.plan import plan as read_plan


class Command(SchemaCommand):
    help = (
        "Empties schema public of one database. The schema is set aside in one short transaction, "
        "a new one takes its place with the same owner, grants, comment and extensions, and the old "
        "one is dropped afterwards. It does not run migrations; `clean_slate` does all of it."
    )
    examples = """\
  manage.py nuke_schema --database auth --plan       what would be lost; changes nothing
  manage.py nuke_schema --database auth              asks for the database's name
  manage.py nuke_schema --database auth --no-input   a database marked development or test
  manage.py nuke_schema --database auth --keep       keep the old schema for --undo
  manage.py nuke_schema --database auth --undo       bring it back
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--database", required=True, metavar="ALIAS", help=f"one of {', '.join(ALIASES)}"
        )
        self.add_consent(parser)
        self.add_format(parser)
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--plan", action="store_true", help="show what would be lost and stop")
        what.add_argument("--keep", action="store_true", help="do not drop the old schema yet")
        what.add_argument("--undo", action="store_true", help="bring the newest old schema back")
        what.add_argument("--purge", action="store_true", help="drop the old schemas that are left")
        parser.add_argument(
            "--lock-timeout",
            type=float,
            default=locks.LOCK_TIMEOUT / 1000,
            metavar="SECONDS",
            help="how long to wait for other sessions (default: %(default)g)",
        )

    def handle(
        self,
        database: str,
        interactive: bool,
        confirm: list[str],
        plan: bool,
        keep: bool,
        undo: bool,
        purge: bool,
        lock_timeout: float,
        **options: Any,
    ) -> None:
        if lock_timeout <= 0:
            raise CannotRun(
                "--lock-timeout must be more than 0 seconds, or it would wait for ever."
            )
        (alias,) = known_aliases([database])
        connection = connect(alias)
        planned = read_plan(connection, identify(connection))
        if plan:
            self._show_plan(planned)
            return
        milliseconds = round(lock_timeout * 1000)
        if undo or purge:
            if not planned.waiting:
                raise CannotRun(
                    f"{planned.target} has no schema that was set aside. Nothing has changed."
                )
            guards.require_known_names([planned], confirm)
            if undo:
                self._undo(planned, connection, milliseconds)
            else:
                self._purge(planned, planned.waiting, milliseconds)
            return
        require_distinct([planned.target, *others([planned.target])])
        guards.require_possible(planned)
        self.obtain_consent([planned], confirm, interactive)
        name = nuke.nuke(planned, milliseconds)
        if name is None or keep:
            self._done(planned, name, "emptied")
            return
        self._purge(planned, (name,), milliseconds)

    def _undo(self, planned: Plan, connection: BaseDatabaseWrapper, lock_timeout: int) -> None:
        name = planned.waiting[0]
        discarded = nuke.undo(planned, name, lock_timeout)
        if discarded:
            nuke.purge(planned.target, discarded, lock_timeout)
        self._done(planned, name, "brought back")

    def _purge(self, planned: Plan, names: tuple[str, ...], lock_timeout: int) -> None:
        for name in names:
            nuke.purge(
                planned.target,
                name,
                lock_timeout,
                lambda left: self.say(f"  {left:,} tables left to drop", verbosity=2),
            )
        self._done(planned, names[0], "purged")

    def _done(self, planned: Plan, name: str | None, what: str) -> None:
        target = planned.target
        if self.format == "json":
            self.print_json(
                {
                    "verdict": "clean",
                    "exit_code": 0,
                    "database": target_json(target),
                    "result": what,
                    "aside": name,
                }
            )
            return
        rows = f"{'' if planned.is_exact else 'about '}{planned.product_rows:,} rows"
        lost = f"{len(planned.rows)} tables with {rows}"
        sentences = {
            "emptied": f"Emptied schema public of {target}; {lost} are kept in {name}. "
            f"Undo: manage.py nuke_schema --database {target.alias} --undo"
            if name
            else f"Made schema public of {target}, which had none.",
            "brought back": f"Brought {name} back as schema public of {target}.",
            "purged": f"Emptied schema public of {target}: {lost} are gone.",
        }
        if what == "purged" and name in planned.waiting:
            sentences["purged"] = f"Dropped what was set aside in {target}."
        self.say(self.style.SUCCESS(sentences[what]))

    def _show_plan(self, planned: Plan) -> None:
        target = planned.target
        if self.format == "json":
            self.print_json({"verdict": "clean", "exit_code": 0, "plan": plan_json(planned)})
            return
        self.say(f"Emptying schema public of {target}, as {target.role},")
        mark = target.environment or "not marked"
        protected = "protected" if guards.is_protected(planned) else "not protected"
        self.say(f"environment {mark} ({protected}), would take:")
        for rows in planned.rows:
            self.say(f"  {'' if rows.exact else 'about '}{rows.count:>9,} rows  {rows.table}")
        for kind, count in planned.other_objects.items():
            self.say(f"  {count:>9,} {kind}")
        self.say(f"  {planned.bytes / 1024**2:,.1f} MiB in all")
        if planned.extensions:
            self.say(f"It would keep the extensions {', '.join(planned.extensions)}.")
        for dependant in planned.dependants:
            self.say(self.style.WARNING(f"In the way: {dependant} hangs on it from outside."))
        if not planned.permitted:
            self.say(self.style.WARNING(f"In the way: {target.role} does not own the schema."))
        for name in planned.waiting:
            self.say(f"An earlier nuke waits for --undo or --purge: {name}")
        self.say("Nothing has changed.")


def plan_json(planned: Plan) -> dict[str, Any]:
    return {
        "database": target_json(planned.target),
        "protected": guards.is_protected(planned),
        "permitted": planned.permitted,
        "tables": [
            {"table": rows.table, "rows": rows.count, "exact": rows.exact} for rows in planned.rows
        ],
        "bytes": planned.bytes,
        "other_objects": planned.other_objects,
        "extensions": list(planned.extensions),
        "dependants": list(planned.dependants),
        "waiting": list(planned.waiting),
    }
