from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fltr_project.management.base import SchemaCommand, target_json
from fltr_project.postgres.target import (
    ALIASES,
    Target,
    connect,
    identify,
    known_aliases,
    require_distinct,
)
from fltr_project.schema import contract
from fltr_project.schema.catalog import read
from fltr_project.schema.compare import Finding, Severity, compare, counts, worst
from fltr_project.schema.facts import Catalog, ForeignKey


@dataclass(frozen=True)
class Verified:
    target: Target
    catalog: Catalog
    findings: tuple[Finding, ...]


class Command(SchemaCommand):
    help = (
        "Compares the live catalogs with the contract: every table, column, key, check, foreign "
        "key, index, trigger and function, missing and unexpected alike. Reads only. Exits 0 when "
        "they agree, 1 when something is wrong, 2 when it could not look."
    )
    examples = """\
  manage.py verify_schema                      both databases
  manage.py verify_schema --database auth -v2  one of them, table by table
  manage.py verify_schema --strict --format json
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_databases(parser, "default: all")
        self.add_format(parser)
        parser.add_argument("--strict", action="store_true", help="warnings fail too")
        parser.add_argument(
            "--write-contract",
            action="store_true",
            help="write the live catalogs to contract.json instead of comparing: for developers, "
            "on freshly migrated databases, after a migration was added",
        )

    def handle(
        self, databases: list[str], strict: bool, write_contract: bool, **options: Any
    ) -> None:
        connections = [connect(alias) for alias in known_aliases(databases)]
        targets = [identify(connection) for connection in connections]
        require_distinct(targets)
        results = []
        for target, connection in zip(targets, connections, strict=True):
            if write_contract:
                catalog = read(connection, ["__drizzle_migrations"])
                self._write(contract.path(target.alias), contract.dump(catalog))
                continue
            catalog = read(connection, contract.tables(target.alias))
            elsewhere = [
                table
                for alias in ALIASES
                if alias != target.alias
                for table in contract.tables(alias)
            ]
            findings = compare(
                contract.load(target.alias), catalog, dict.fromkeys(elsewhere, "other")
            )
            results.append(Verified(target, catalog, tuple(findings)))
        if write_contract:
            return
        severity = worst(finding for result in results for finding in result.findings)
        failed = severity is Severity.ERROR or (strict and severity is Severity.WARNING)
        if self.format == "json":
            self.print_json(as_json(results, failed))
        else:
            for result in results:
                self._show(result)
        self.exit_with(1 if failed else 0)

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        self.say(f"Wrote {path}.")

    def _show(self, result: Verified) -> None:
        checked = counts(result.catalog)
        findings = result.findings
        word = self.style.ERROR("DRIFT") if worst(findings) is Severity.ERROR else "ok"
        if word == "ok":
            word = self.style.SUCCESS("ok")
        tally = ", ".join(f"{count} {kind}" for kind, count in checked.items())
        self.say(f"{word} {result.target}: {tally or 'nothing in schema public'}")
        if self.verbosity >= 2:
            for line in listing(result.catalog):
                self.say(f"  {line}")
        styles = {
            Severity.ERROR: self.style.ERROR,
            Severity.WARNING: self.style.WARNING,
            Severity.NOTE: self.style.NOTICE,
        }
        for finding in findings:
            if finding.severity is Severity.NOTE and self.verbosity < 2:
                continue
            self.say(f"  {styles[finding.severity](finding.severity)} {finding.object}")
            if finding.expected is not None:
                self.say(f"    expected: {finding.expected}")
            self.say(f"    found:    {finding.found or 'nothing'}")
            self.say(f"    {finding.meaning}")
        notes = sum(finding.severity is Severity.NOTE for finding in findings)
        if notes and self.verbosity < 2:
            self.say(f"  {notes} notes of no effect (-v2 shows them)")


def listing(catalog: Catalog) -> list[str]:
    """The tables and foreign keys, as a person checks them by eye."""
    keys = [f"{key.object} -> {key.rule}" for key in catalog.of(ForeignKey)]
    return [f"tables: {', '.join(catalog.tables)}", *keys]


def as_json(results: list[Verified], failed: bool) -> dict[str, Any]:
    return {
        "verdict": "drift" if failed else "clean",
        "exit_code": int(failed),
        "databases": [
            {
                **target_json(result.target),
                "tables": list(result.catalog.tables),
                "checked": counts(result.catalog),
                "findings": [asdict(finding) for finding in result.findings],
            }
            for result in results
        ],
    }
