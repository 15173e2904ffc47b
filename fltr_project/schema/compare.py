"""Compare a live catalog with the contract, by structure: what is missing, differs or is too much.

Severities (design.md, decision 7): an error when something of the contract is missing or differs,
or when something extra changes what a statement accepts, stores, returns or deletes; a warning when
something extra only costs speed, space or tidiness; a note when the effect is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from . import aside
from .facts import (
    KINDS,
    Catalog,
    Check,
    Column,
    DisabledForeignKeyTriggers,
    Fact,
    ForeignKey,
    Function,
    Index,
    Key,
    Policy,
    Rule,
    Table,
    Trigger,
    Type,
)
from .facts import (
    Sequence as SequenceFact,
)


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One difference: ``expected`` and ``found`` are None for what should not be or is not there."""

    id: str
    severity: Severity
    kind: str
    object: str
    expected: str | None
    found: str | None
    meaning: str


# What an extra thing of a kind does to the statements of clients.
EXTRA: dict[type[Fact], tuple[Severity, str]] = {
    Table: (Severity.ERROR, "Programs may read or write it in place of the table they mean."),
    Column: (Severity.ERROR, "Programs may keep their data in it, where nobody else looks."),
    Key: (Severity.ERROR, "It refuses rows that the contract accepts."),
    Check: (Severity.ERROR, "It refuses rows that the contract accepts."),
    ForeignKey: (Severity.ERROR, "It refuses rows, or deletes them, where the contract does not."),
    DisabledForeignKeyTriggers: (
        Severity.ERROR,
        "Foreign keys of the table are not enforced: orphans can be written and stay.",
    ),
    Index: (Severity.WARNING, "It costs time on every write."),
    Trigger: (Severity.ERROR, "It runs on writes that the contract leaves alone."),
    Rule: (Severity.ERROR, "It rewrites statements, so that they do something else."),
    Policy: (Severity.ERROR, "It hides or refuses rows for some roles."),
    Function: (Severity.WARNING, "Nothing of the contract calls it."),
    SequenceFact: (Severity.WARNING, "Nothing of the contract uses it."),
    Type: (Severity.WARNING, "Nothing of the contract uses it."),
}

MISSING: dict[type[Fact], str] = {
    Table: "Programs that use it fail.",
    Column: "Statements that name it fail.",
    Key: "Rows that must be unique can be written twice.",
    Check: "Rows with values that the contract refuses can be written.",
    ForeignKey: "Rows can point at nothing, and deleting the parent leaves them behind.",
    Index: "Queries and cascades over these columns read the whole table.",
    Trigger: "What it does on every write no longer happens.",
    Function: "Triggers and programs that call it fail.",
}


def compare(expected: Catalog, found: Catalog, elsewhere: Sequence[str] = ()) -> list[Finding]:
    """The differences of a live catalog from the contract, worst first; empty when there are none.

    Pure. ``elsewhere`` are the tables that the contract of the other database holds, so that one of
    them standing here is named as such.
    """
    findings: list[Finding] = []
    missing_tables = set(_names(expected)) - set(_names(found))
    extra_tables = set(_names(found)) - set(_names(expected))
    for kind in KINDS:
        # A table's own parts are not news where the whole table is missing or extra.
        wanted = [fact for fact in expected.of(kind) if _is_news(fact, missing_tables)]
        there = [fact for fact in found.of(kind) if _is_news(fact, extra_tables)]
        findings += _compare_kind(wanted, there, elsewhere)
    findings += _compare_surroundings(expected, found)
    return sorted(
        findings, key=lambda each: (list(Severity).index(each.severity), each.object, each.id)
    )


def _names(catalog: Catalog) -> Iterator[str]:
    return (table.table for table in catalog.of(Table))


def _is_news(fact: Fact, tables: set[str]) -> bool:
    return isinstance(fact, Table) or fact.table not in tables


def _compare_kind(
    expected: Sequence[Fact], found: Sequence[Fact], elsewhere: Sequence[str]
) -> Iterator[Finding]:
    pairs, missing, extra = _paired(expected, found)
    for want, have in pairs:
        if want != have:
            yield _different(want, have)
    for want in missing:
        yield _missing(want)
    for have in extra:
        yield _extra(have, expected, elsewhere)


def _paired[F: Fact](
    expected: Sequence[F], found: Sequence[F]
) -> tuple[list[tuple[F, F]], list[F], list[F]]:
    """Pair equal facts first, then those of one identity, then those of one table and name."""
    pairs: list[tuple[F, F]] = []
    wanted, there = list(expected), list(found)
    for same in (_itself, _identity, _name):
        by_key: dict[Any, list[F]] = {}
        for have in there:
            by_key.setdefault(same(have), []).append(have)
        unpaired = []
        for want in wanted:
            key = same(want)
            candidates = by_key.get(key) if key is not None else None
            if candidates:
                pairs.append((want, candidates.pop(0)))
            else:
                unpaired.append(want)
        wanted = unpaired
        there = [have for candidates in by_key.values() for have in candidates]
    return pairs, wanted, there


def _itself(fact: Fact) -> Any:
    return fact


def _identity(fact: Fact) -> Any:
    return fact.identity


def _name(fact: Fact) -> Any:
    """Only where structure fails: a check or index of the same name is the same one, changed."""
    return (fact.table, fact.name) if isinstance(fact, Key | Check | Index) else None


def _different(want: Fact, have: Fact) -> Finding:
    changed = [
        item.name
        for item in fields(want)
        if item.compare and getattr(want, item.name) != getattr(have, item.name)
    ]
    severity, meaning = _meaning_of_difference(want, have, changed)
    return Finding(
        id=f"{_slug(want)}-differs",
        severity=severity,
        kind=want.kind,
        object=want.object,
        expected=_describe(want, changed),
        found=_describe(have, changed),
        meaning=meaning,
    )


def _missing(want: Fact) -> Finding:
    meaning = MISSING.get(type(want), "Something of the contract is not there.")
    if isinstance(want, ForeignKey):
        meaning = (
            f"{want.table} can name a row of {want.target} that does not exist, and deleting one "
            f"from {want.target} leaves its {want.table} behind."
        )
    if isinstance(want, Trigger):
        meaning = "Users who sign up get no credits from the database."
    return Finding(
        id=f"{_slug(want)}-missing",
        severity=Severity.ERROR,
        kind=want.kind,
        object=want.object,
        expected=_describe(want),
        found=None,
        meaning=meaning,
    )


def _extra(have: Fact, expected: Sequence[Fact], elsewhere: Sequence[str]) -> Finding:
    severity, meaning = EXTRA[type(have)]
    if isinstance(have, Table):
        if have.type in {"view", "materialized view"}:
            severity, meaning = Severity.WARNING, "Nothing of the contract reads it."
        elif have.table in elsewhere:
            meaning = "It belongs to the other database: programs that read it here see other data."
    if isinstance(have, ForeignKey | Key | Check) and any(
        want.identity == have.identity and want == have for want in expected
    ):
        severity, meaning = (
            Severity.WARNING,
            "It repeats one of the contract and costs every write.",
        )
    return Finding(
        id=f"{_slug(have)}-unexpected",
        severity=severity,
        kind=have.kind,
        object=have.object,
        expected=None,
        found=_describe(have),
        meaning=meaning,
    )


def _meaning_of_difference(want: Fact, have: Fact, changed: list[str]) -> tuple[Severity, str]:
    """What the difference does, for the kinds whose difference is an error in most ways."""
    if isinstance(want, ForeignKey) and isinstance(have, ForeignKey):
        return _meaning_of_foreign_key(want, have, changed)
    if isinstance(want, Column) and isinstance(have, Column):
        return _meaning_of_column(want, have, changed)
    if isinstance(want, Key | Index) and "valid" in changed:
        return Severity.ERROR, "The server does not use it: it was left half built."
    if changed == ["deferrable"] and isinstance(want, Key):
        return Severity.WARNING, "It is checked at another moment of the transaction."
    if changed == ["replica_identity"]:
        return Severity.WARNING, "Logical replication sends other columns for updates and deletes."
    if isinstance(want, Trigger) and "enabled" in changed:
        return Severity.ERROR, "It does not run for everybody: what it does may not happen."
    if isinstance(want, Check) and ("valid" in changed or "enforced" in changed):
        return Severity.ERROR, "Rows that break it may be there, or may still be written."
    meanings = {
        Table: "It stores or shows its rows in another way.",
        Key: "It promises uniqueness of something else.",
        Check: "It accepts and refuses other rows.",
        Index: "Queries that need the contract's index cannot use this one.",
        Trigger: "It runs at other moments or does something else.",
        Function: "Callers get another result than the contract's.",
    }
    return Severity.ERROR, meanings.get(type(want), "It is not what the contract says.")


def _meaning_of_foreign_key(
    want: ForeignKey, have: ForeignKey, changed: list[str]
) -> tuple[Severity, str]:
    if "target" in changed or "target_columns" in changed:
        return (
            Severity.ERROR,
            f"{want.table} accepts only rows that {have.target} knows, not those of {want.target}.",
        )
    if "on_delete" in changed:
        consequences = {
            "CASCADE": f"removes its {want.table} with it",
            "SET NULL": f"leaves its {want.table} without it",
            "NO ACTION": f"fails while {want.table} name it",
            "RESTRICT": f"fails at once while {want.table} name it",
        }
        now = consequences.get(have.on_delete, f"does {have.on_delete} on its {want.table}")
        return Severity.ERROR, f"Deleting a row of {want.target} {now}."
    if "valid" in changed or "enforced" in changed:
        return Severity.ERROR, f"Rows of {want.table} that point at nothing may be there."
    if changed == ["deferrable"]:
        if want.deferrable == "DEFERRABLE INITIALLY DEFERRED":
            return Severity.NOTE, "It is checked earlier in the transaction than Django's own keys."
        return Severity.WARNING, "It is checked at another moment of the transaction."
    return Severity.ERROR, "It matches or follows its target in another way."


def _meaning_of_column(want: Column, have: Column, changed: list[str]) -> tuple[Severity, str]:
    if "type" in changed:
        return Severity.ERROR, "Clients read and write another type than they declare."
    if "nullable" in changed:
        if have.nullable:
            return Severity.ERROR, "It can hold NULL, which programs do not expect."
        return Severity.ERROR, "Rows without a value, which the contract allows, are refused."
    if changed == ["default"] and want.default is None:
        return Severity.WARNING, "A statement that leaves it out stores a value instead of NULL."
    if "default" in changed:
        if have.default is None and not want.nullable:
            return Severity.ERROR, "A client that leaves it out is refused."
        return Severity.ERROR, "A client that leaves it out stores another value."
    return Severity.ERROR, "It is computed or sorted in another way."


def _compare_surroundings(expected: Catalog, found: Catalog) -> Iterator[Finding]:
    if found.time_zone.upper() != "UTC":
        yield Finding(
            id="time-zone-differs",
            severity=Severity.WARNING,
            kind="setting",
            object="TimeZone of the database",
            expected="UTC",
            found=found.time_zone or "the server's",
            meaning="A client that does not set its own TimeZone may store local time as UTC.",
        )
    for schema in found.other_schemas:
        if schema == "drizzle":
            # Where Drizzle keeps its record unless told otherwise: known, and harmless.
            continue
        waiting = aside.is_aside(schema)
        yield Finding(
            id=f"schema-{schema}-unexpected",
            severity=Severity.NOTE if waiting else Severity.WARNING,
            kind="schema",
            object=f"schema {schema}",
            expected=None,
            found="a schema",
            meaning=(
                "It was set aside by nuke_schema and waits for --undo or --purge."
                if waiting
                else "Nothing of the contract is in it."
            ),
        )


def counts(catalog: Catalog) -> dict[str, int]:
    """How many things of each kind were compared, tracking tables among the tables."""
    totals = Counter(fact.plural for fact in catalog.facts)
    totals["tables"] = len(catalog.tables)
    return {kind.plural: totals[kind.plural] for kind in KINDS if totals[kind.plural]}


def worst(findings: Iterable[Finding]) -> Severity | None:
    present = {finding.severity for finding in findings}
    return next((severity for severity in Severity if severity in present), None)


def _describe(fact: Fact, changed: Sequence[str] = ()) -> str:
    """The fact in the words of SQL where they exist, cut down to what differs."""
    if isinstance(fact, ForeignKey) and set(changed) <= {"target", "target_columns", "on_delete"}:
        return f"references {fact.rule}"
    if isinstance(fact, Column) and not changed:
        null = "NULL" if fact.nullable else "NOT NULL"
        default = f" DEFAULT {fact.default}" if fact.default else ""
        return f"{fact.type} {null}{default}"
    if isinstance(fact, Table) and not changed:
        return fact.type
    if isinstance(fact, Key | Index | Trigger | Policy | Type | Rule) and not changed:
        return fact.definition
    if isinstance(fact, Check) and not changed:
        return fact.expression
    if not changed:
        return fact.kind
    return ", ".join(f"{name.replace('_', ' ')} {_value(getattr(fact, name))}" for name in changed)


def _value(value: Any) -> str:
    words = {True: "yes", False: "no", None: "none"}
    if isinstance(value, bool) or value is None:
        return words[value]
    return ", ".join(value) if isinstance(value, tuple) else " ".join(str(value).split())


def _slug(fact: Fact) -> str:
    """Stable between runs and servers: kind and identity, in letters that a file of ids can hold."""
    parts = [fact.kind, *(part for part in fact.identity if part)]
    text = "-".join("-".join(part) if isinstance(part, tuple) else str(part) for part in parts)
    return "-".join("".join(c if c.isalnum() or c in "._" else " " for c in text.lower()).split())
