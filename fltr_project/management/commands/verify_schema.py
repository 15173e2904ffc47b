from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error as DatabaseError
from django.db import connections

from fltr_project.catalog.facts import Catalog
from fltr_project.drift import ignore
from fltr_project.drift.live import read_address, verify_live
from fltr_project.drift.report import Verified
from fltr_project.errors import Blocked, CannotRun, CleanSlateError, explain
from fltr_project.management import repair_options, reports
from fltr_project.management.base import SchemaCommand
from fltr_project.postgres import addresses, locks
from fltr_project.postgres.target import (
    ALIASES,
    Target,
    connect,
    identify,
    known_aliases,
    require_distinct,
)

# Looked for beside manage.py.
IGNORE_FILE = "verify_schema.toml"
# Seconds between two looks.
PAUSE = 0.5
# Those of management.build_reports.
BUILD_FORMATS = ("github", "junit", "markdown")


class Command(SchemaCommand):
    help = (
        "Compares the live catalogs with the contract (contract.json beside each app's migrations): every table, column, key, check, foreign "
        "key, index, trigger, function and right, missing and unexpected alike, and says what each "
        "difference means. Reads only, unless --apply is given. Exits 0 when they agree, 1 when "
        "something is wrong, 2 when it could not look, or not at all of it, 5 while an operation is at work."
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
  manage.py verify_schema --self-test          does it see what it should, here and with these rights
  manage.py verify_schema --wait 120           until a release has ended, two minutes at most
  manage.py verify_schema --strict --format json
"""
    difference = "drift"

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_databases(parser)
        parser.add_argument(
            "--format",
            choices=("text", "json", *BUILD_FORMATS),
            default="text",
            help="json prints one object on standard output, on failure too (docs/json/); github, "
            "junit and markdown are for a build",
        )
        parser.add_argument(
            "--wait",
            type=float,
            metavar="SECONDS",
            help="look again until all is as it should be, for as long: for programs that must not start "
            "before a release has ended",
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
            help="write contract.json anew instead of comparing: for developers, after a migration was "
            "added. Migrates a throw-away database of its own on the same server and reads that; the "
            "databases themselves are not looked at",
        )
        action.add_argument(
            "--self-test",
            action="store_true",
            help="plant more than sixty kinds of drift in tables of its own, in a transaction that is "
            "rolled back, and see whether each is found on this server by this role",
        )
        repair_options.add_trial(parser, "with --sql and --apply: ")
        applying = parser.add_argument_group("with --apply")
        repair_options.add_lock_timeout(applying)
        self.add_consent(applying)

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
        if options["self_test"] and self.format in BUILD_FORMATS:
            raise CannotRun(f"--self-test takes no --format {self.format}. Use text or json.")
        if self.format != "text" and (options["sql"] or write_contract):
            raise CannotRun(
                f"--sql and --write-contract take no --format {self.format}. Leave one of them "
                "out; in json each finding has its repair."
            )
        with _faults_named(options["traceback"]):
            if write_contract:
                self._write(aliases)
                return
            ignores = _ignores(ignore_file)
            with _waiting(options["wait"], aliases) as until:
                targets = until(lambda: _identified(aliases), lambda found: True)
                if options["self_test"]:
                    self._test_itself(targets)
                    return

                def look() -> list[Verified]:
                    expected = _read_against(against, aliases[0]) if against else None
                    return [_verify(each, expected, ignores, options["data"]) for each in targets]

                results = until(
                    lambda: _quiet(look()),
                    lambda found: not any(each.fails(strict) for each in found),
                )
            if options["sql"] or options["apply"]:
                results = self._repair(results, look, options)
        codes = {result.exit_code(strict) for result in results}
        exit_code = 1 if 1 in codes else max(codes)
        if not options["sql"]:
            self._report(results, strict, exit_code)
        self.exit_with(exit_code)

    def _repair(
        self,
        results: list[Verified],
        look: Callable[[], list[Verified]],
        options: dict[str, Any],
    ) -> list[Verified]:
        """Print the repair, or run it and look again."""
        # Most runs only compare.
        from fltr_project.management import repairs

        chosen = repairs.choices(options)
        repairs.require_migrated(results)
        if options["sql"]:
            self.stdout.write(repairs.scripts(results, chosen))
            return results
        return repairs.run(self, results, chosen, look)

    def _test_itself(self, targets: Sequence[Target]) -> None:
        from fltr_project.drift import self_test
        from fltr_project.management import self_tests

        results = [(target, self_test.run(target)) for target in targets]
        exit_code = int(not all(each.seen for _, planted in results for each in planted))
        if self.format == "json":
            outcome = self.outcome(exit_code)
            outcome["verdict"] = "failed" if exit_code else "clean"
            self.print_json({**outcome, "self_test": self_tests.as_json(results)})
        for line in self_tests.lines(results, self.style, self.verbosity):
            self.say(line)
        self.exit_with(exit_code)

    def _write(self, aliases: Sequence[str]) -> None:
        from fltr_project.management.contracts import write_contract

        for alias in aliases:
            self.say(f"Wrote {write_contract(alias)}.")

    def _report(self, results: Sequence[Verified], strict: bool, exit_code: int) -> None:
        if self.format == "json":
            document = {**self.outcome(exit_code), "databases": reports.databases(results)}
            # Both are 2 to a shell: here it has been looked, and not all could be seen.
            document["verdict"] = "unknown" if exit_code == 2 else document["verdict"]
            self.print_json(document)
        elif self.format == "text":
            self.say(reports.text(results, strict, self.style, self.verbosity))
        else:
            from fltr_project.management.build_reports import RENDERERS

            self.stdout.write(RENDERERS[self.format](results, strict))


def _verify(
    target: Target, expected: Catalog | None, ignores: Sequence[ignore.Ignore], with_data: bool
) -> Verified:
    return verify_live(
        connect(target.alias), target, expected=expected, ignores=ignores, with_data=with_data
    )


def _identified(aliases: Sequence[str]) -> list[Target]:
    targets = [identify(connect(alias)) for alias in aliases]
    require_distinct(targets)
    return targets


def _quiet(results: list[Verified]) -> list[Verified]:
    """The results; raises Blocked where something is wrong while an operation is at work, which is no drift."""
    for result in results:
        if result.wrong and (holder := locks.holder(connect(result.target.alias))):
            raise Blocked(
                f"Busy: an operation of this project is at work on {result.target}: {holder}. What it "
                "leaves is not to be judged yet. Wait until it has ended, then run the command again."
            )
    return results


class _Until:
    """Looks again until all is well or the time is over; what the last look has found or raised."""

    def __init__(self, seconds: float, aliases: Sequence[str]) -> None:
        self._deadline = time.monotonic() + seconds
        self._aliases = aliases

    def __call__[T](self, look: Callable[[], T], is_well: Callable[[T], bool]) -> T:
        while True:
            try:
                found = look()
            except (CleanSlateError, DatabaseError, psycopg.Error):
                if time.monotonic() >= self._deadline:
                    raise
                # A server that has just started knows nothing of a connection from before.
                for alias in self._aliases:
                    connections[alias].close()
            else:
                if is_well(found) or time.monotonic() >= self._deadline:
                    return found
            time.sleep(PAUSE)


@contextmanager
def _waiting(seconds: float | None, aliases: Sequence[str]) -> Iterator[_Until]:
    if seconds is not None:
        for alias in aliases:
            # No time mends an address.
            if problem := settings.DATABASES[alias].get("PROBLEM"):
                raise CannotRun(problem)
    yield _Until(seconds or 0, aliases)


def _ignores(path: Path | None) -> tuple[ignore.Ignore, ...]:
    if path is not None:
        return ignore.load(path)
    usual = settings.BASE_DIR / IGNORE_FILE
    return ignore.load(usual) if usual.is_file() else ()


def _read_against(url: str, alias: str) -> Catalog:
    address = addresses.parse("--against", url)
    if problem := address.get("PROBLEM"):
        raise CannotRun(problem)
    try:
        return read_address(address, alias)
    except psycopg.Error as error:
        raise CannotRun(f"--against: {explain(error) or error}") from error


@contextmanager
def _faults_named(with_traceback: bool) -> Iterator[None]:
    """A crash says nothing about the databases, so it must not look like a difference."""
    try:
        yield
    except (CleanSlateError, CommandError, DatabaseError, psycopg.Error):
        raise
    except Exception as error:
        if explain(error) or with_traceback:
            raise
        raise CannotRun(
            f"verify_schema itself failed: {type(error).__name__}: {error}. This is a fault of "
            "the program, not of the databases; --traceback shows where."
        ) from error
