from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error as DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from fltr_project.errors import CannotRun, CleanSlateError, Declined, Refused, explain
from fltr_project.management import reports
from fltr_project.management.base import SchemaCommand
from fltr_project.postgres import addresses
from fltr_project.postgres.target import (
    ALIASES,
    Target,
    connect,
    identify,
    known_aliases,
    require_distinct,
)
from fltr_project.schema import contract, data, guards, ignore
from fltr_project.schema.apply import apply
from fltr_project.schema.catalog import read, read_from
from fltr_project.schema.facts import Catalog
from fltr_project.schema.pending import with_pending
from fltr_project.schema.plan import Plan
from fltr_project.schema.plan import plan as read_plan
from fltr_project.schema.repair import Repair, script_text
from fltr_project.schema.verify import Verified, verify
from fltr_project.words import counted

# Looked for beside manage.py.
IGNORE_FILE = "verify_schema.toml"


class Command(SchemaCommand):
    help = (
        "Compares the live catalogs with the contract (contract.json beside each app's migrations): every table, column, key, check, foreign "
        "key, index, trigger, function and right, missing and unexpected alike, and says what each "
        "difference means. Reads only, unless --apply is given. Exits 0 when they agree, 1 when "
        "something is wrong, 2 when it could not look."
    )
    examples = """\
  manage.py verify_schema                      both databases
  manage.py verify_schema --database auth -v2  one of them, with its tables, notes and repairs
  manage.py verify_schema --data               their rows too: orphans, owners, balances
  manage.py verify_schema --database auth --sql > repair.sql
                                               the repair, to read and to run with psql
  manage.py verify_schema --database auth --apply
                                               or to run now
  manage.py verify_schema --database auth --against postgresql://reader@production/fltr_auth
                                               what differs from another database
  manage.py verify_schema --strict --format json
"""
    difference = "drift"

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_databases(parser)
        parser.add_argument(
            "--format",
            choices=("text", "json", *reports.RENDERERS),
            default="text",
            help="json prints one object on standard output, on failure too (docs/json/); github, "
            "junit and markdown are for a build",
        )
        parser.add_argument("--strict", action="store_true", help="exit with 1 for warnings too")
        parser.add_argument(
            "--data", action="store_true", help="look at the rows too; needs SELECT on the tables"
        )
        parser.add_argument(
            "--against",
            metavar="URL",
            help="compare with the database at this address instead of the contract",
        )
        parser.add_argument(
            "--ignore-file",
            type=Path,
            metavar="FILE",
            help=f"findings to leave out, each with a reason and an end (default: {IGNORE_FILE})",
        )
        action = parser.add_mutually_exclusive_group()
        action.add_argument(
            "--sql", action="store_true", help="print the repair as a script for psql"
        )
        action.add_argument(
            "--apply", action="store_true", help="show the repair, ask, run it and verify again"
        )
        action.add_argument(
            "--write-contract",
            action="store_true",
            help="write the live catalogs to contract.json instead of comparing: for developers, "
            "on freshly migrated databases, after a migration was added",
        )
        self.add_consent(parser.add_argument_group("with --apply"))

    def handle(
        self,
        databases: list[str],
        strict: bool,
        write_contract: bool,
        against: str | None,
        ignore_file: Path | None,
        **options: Any,
    ) -> None:
        aliases = known_aliases(databases)
        if against is not None and len(aliases) != 1:
            raise CannotRun(
                "--against names one database. Say with --database which one to compare with it: "
                f"{' or '.join(ALIASES)}."
            )
        if self.format != "text" and (options["sql"] or write_contract):
            raise CannotRun(
                f"--sql and --write-contract take no --format {self.format}. Leave one of them "
                "out; in json each finding has its repair."
            )
        try:
            connections = {alias: connect(alias) for alias in aliases}
            targets = [identify(connection) for connection in connections.values()]
            require_distinct(targets)
            if write_contract:
                self._write(connections)
                return
            ignores = self._ignores(ignore_file)
            results = self._verify(targets, connections, against, ignores, options["data"])
            if options["sql"] or options["apply"]:
                _require_migrated(results)
            if options["apply"]:
                self._apply(results, options)
                results = self._verify(targets, connections, against, ignores, options["data"])
        except (CleanSlateError, DatabaseError, psycopg.Error):
            raise
        except Exception as error:
            if explain(error) or options["traceback"]:
                raise
            # A crash says nothing about the databases, so it must not look like a difference.
            raise CannotRun(
                f"verify_schema itself failed: {type(error).__name__}: {error}. This is a fault of "
                "the program, not of the databases; --traceback shows where."
            ) from error
        exit_code = int(any(result.fails(strict) for result in results))
        if options["sql"]:
            self._print_scripts(results)
        else:
            self._report(results, strict, exit_code)
        self.exit_with(exit_code)

    def _verify(
        self,
        targets: Sequence[Target],
        connections: Mapping[str, BaseDatabaseWrapper],
        against: str | None,
        ignores: Sequence[ignore.Ignore],
        with_data: bool,
    ) -> list[Verified]:
        catalogs = {
            alias: read(connection, contract.tables(alias))
            for alias, connection in connections.items()
        }
        reachable = dict(connections)
        if with_data and "auth" not in reachable:
            # The owners of datasets are there, whichever database was asked for.
            reachable["auth"] = connect("auth")
            catalogs["auth"] = read(reachable["auth"], contract.tables("auth"))
        results = []
        for target in targets:
            alias = target.alias
            expected = _read_against(against, alias) if against else contract.load(alias)
            rows = data.check(alias, catalogs[alias], reachable, catalogs) if with_data else []
            result = verify(target, expected, catalogs[alias], _elsewhere(alias), ignores, rows)
            results.append(with_pending(result, connections[alias]))
        return results

    def _report(self, results: Sequence[Verified], strict: bool, exit_code: int) -> None:
        if self.format == "json":
            self.print_json({**self.outcome(exit_code), "databases": reports.databases(results)})
        elif self.format == "text":
            self.say(reports.text(results, strict, self.style, self.verbosity))
        else:
            self.stdout.write(reports.RENDERERS[self.format](results, strict))

    def _print_scripts(self, results: Sequence[Verified]) -> None:
        scripts = [
            (result.target.database, text) for result in results if (text := _script(result))
        ]
        if not scripts:
            self.stdout.write("-- Nothing to repair.")
        for database, text in scripts:
            if len(scripts) > 1:
                quoted = database.replace('"', '""')
                self.stdout.write(f'\\connect "{quoted}"')
            self.stdout.write(text)

    def _apply(self, results: Sequence[Verified], options: dict[str, Any]) -> None:
        concerned = [result for result in results if any(each.runs for each in _repairs(result))]
        if not concerned:
            return
        for result in concerned:
            # What is not built yet is for `migrate`, which would stumble over tables it has no record of.
            contract.require_built(result.target)
        plans = [read_plan(connect(result.target.alias), result.target) for result in concerned]
        for result in concerned:
            self.say(_script(result))
        self._obtain_consent(plans, options)
        for result in concerned:
            count = apply(result.target, _repairs(result))
            self.say(f"Repaired {result.target.database} with {counted(count, 'statements')}.")

    def _obtain_consent(self, plans: Sequence[Plan], options: dict[str, Any]) -> None:
        """As for a nuke, but for the token: what is about to run is shown, and it loses nothing."""
        guards.require_known_names(plans, options["confirm"])
        for plan in plans:
            target = plan.target
            if target.database in options["confirm"]:
                continue
            if not options["interactive"]:
                if guards.is_protected(plan):
                    raise Refused(
                        f"Guard 'environment': {target} {guards.why_protected(plan)}, so --no-input "
                        f"alone does not change it. Add --confirm {target.database}."
                    )
            elif not sys.stdin.isatty():
                raise Refused(
                    "Guard 'terminal': there is no terminal to ask on. Add --no-input, and for a "
                    "protected database --confirm with its name."
                )
            else:
                self._ask_for(target)

    def _ask_for(self, target: Target) -> None:
        self.stderr.write(f"This changes the schema of {target}.", self.style.WARNING)
        self.stderr.write(
            f"Type the database's name, {target.database}, to go on: ", lambda text: text, ending=""
        )
        self.stderr.flush()
        try:
            answer = input().strip()
        except (EOFError, KeyboardInterrupt):
            self.stderr.write("")
            answer = ""
        if answer != target.database:
            raise Declined(f"Declined: nothing in {target.database} has changed.")

    def _ignores(self, path: Path | None) -> tuple[ignore.Ignore, ...]:
        if path is not None:
            return ignore.load(path)
        usual = settings.BASE_DIR / IGNORE_FILE
        return ignore.load(usual) if usual.is_file() else ()

    def _write(self, connections: Mapping[str, BaseDatabaseWrapper]) -> None:
        for alias, connection in connections.items():
            path = contract.path(alias)
            catalog = read(connection, ["__drizzle_migrations"])
            path.write_text(contract.dump(catalog), encoding="utf-8")
            self.say(f"Wrote {path}.")


def _require_migrated(results: Sequence[Verified]) -> None:
    """Raise CannotRun where migrations are about to make what the repair would make by hand."""
    for result in results:
        if result.pending:
            raise CannotRun(
                f"{result.target} lacks {counted(len(result.pending), 'migrations')}, and a repair "
                "would make by hand what they make: run "
                f"`manage.py migrate --database {result.target.alias}` first."
            )


def _repairs(result: Verified) -> list[Repair]:
    """Of what is wrong; what has no effect needs no repair."""
    return [entry.repair for entry in result.wrong if entry.repair.statements]


def _script(result: Verified) -> str:
    return script_text(_repairs(result), f"Repairs {result.target}", result.target.alias)


def _elsewhere(alias: str) -> dict[str, str]:
    """The tables of the other contracts, and whose they are."""
    return {
        table: f"database {other!r}"
        for other in ALIASES
        if other != alias
        for table in contract.tables(other)
    }


def _read_against(url: str, alias: str) -> Catalog:
    """The catalog of a database that is none of the project's own. Read-only."""
    address = addresses.parse("--against", url)
    if problem := address.get("PROBLEM"):
        raise CannotRun(problem)
    known = {
        "host": address["HOST"],
        "port": address["PORT"],
        "user": address["USER"],
        "password": address["PASSWORD"],
        "dbname": address["NAME"],
        **address["OPTIONS"],
    }
    parameters = {key: value for key, value in known.items() if value}
    try:
        with psycopg.connect(**parameters, autocommit=True) as raw:
            return read_from(raw, contract.tables(alias))
    except psycopg.Error as error:
        raise CannotRun(f"--against: {explain(error) or error}") from error
