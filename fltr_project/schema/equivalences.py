"""What counts as the same thing in other words, and which differences mean less beside others.

A comparison pairs facts by ``PAIRINGS`` in turn; its results then go through ``EQUIVALENCES``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from . import aside
from .expressions import canonical
from .facts import (
    Check,
    Column,
    Fact,
    ForeignKey,
    Index,
    Key,
    Schema,
    Sequence,
    Trigger,
    plain_columns,
)
from .findings import Difference, Sides
from .rules import Severity

# The rule of a schema that was set aside.
SET_ASIDE = "schema.set-aside"

# --- which facts are the same thing, in the order of preference


def _identity(fact: Fact, here: Sides) -> Any:
    return fact.identity


def _spelling(fact: Fact, here: Sides) -> Any:
    """The same condition in other words."""
    if not isinstance(fact, Check):
        return None
    return fact.table, canonical(fact.expression, here.types[fact.table])


def _name(fact: Fact, here: Sides) -> Any:
    """Only where structure fails: a check, key or index of the same name is the same one, changed."""
    return (fact.table, fact.name) if isinstance(fact, Key | Check | Index) else None


def _primary(fact: Fact, here: Sides) -> Any:
    """A table has one primary key, so another one is that, changed."""
    return fact.table if isinstance(fact, Key) and fact.primary else None


def _work(fact: Fact, here: Sides) -> Any:
    """A trigger that does the same at the same moment, by another name."""
    return (fact.table, fact.definition) if isinstance(fact, Trigger) else None


PAIRINGS: dict[str, Callable[[Any, Sides], Any]] = {
    "identity": _identity,
    "spelling": _spelling,
    "primary": _primary,
    "name": _name,
    "work": _work,
}

# --- differences that mean less, or nothing, beside the others


def _less(difference: Difference, severity: Severity, meaning: str, rule: str) -> Difference:
    finding = replace(difference.finding, severity=severity, meaning=meaning)
    return replace(difference, finding=finding, rule=rule)


def _served_by_key(results: list[Difference], here: Sides) -> list[Difference]:
    """A missing index is no loss where a unique one on the same columns does its work."""
    serving = {(key.table, key.definition) for key in here.found[Key] if key.valid}
    return [
        each
        for each in results
        if not (each.rule == "index.missing" and each.want and each.want.identity in serving)
    ]


def _used_sequence(results: list[Difference], here: Sides) -> list[Difference]:
    """A sequence that gives a column its default is told with the column."""
    defaults = [column.default for column in here.found[Column] if column.default]
    return [
        each
        for each in results
        if not (
            isinstance(each.have, Sequence)
            and each.rule == "sequence.extra"
            and any(
                default.startswith("nextval(") and each.have.name in default for default in defaults
            )
        )
    ]


def _implied_key(results: list[Difference], here: Sides) -> list[Difference]:
    """An extra key refuses nothing where a key of the contract on fewer columns refuses it already."""
    promised = [
        (key.table, set(columns), key)
        for key in here.expected[Key]
        if (columns := plain_columns(key.definition)) and " WHERE " not in key.definition
    ]

    def implied(have: Fact | None) -> bool:
        columns = plain_columns(have.definition) if isinstance(have, Key) else None
        return columns is not None and any(
            table == have.table and fewer <= set(columns)
            for table, fewer, _ in promised
            if have is not None
        )

    meaning = (
        "It refuses nothing that another key does not; it costs time on every write, and space."
    )
    return [
        _less(each, Severity.WARNING, meaning, "key.implied")
        if each.rule == "key.extra" and implied(each.have)
        else each
        for each in results
    ]


def _repeated(results: list[Difference], here: Sides) -> list[Difference]:
    """A second foreign key or check that says what one of the contract says changes nothing."""

    def says(fact: Any) -> Any:
        if isinstance(fact, ForeignKey):
            return (fact.table, fact.columns, fact.rule, fact.on_update, fact.match)
        return _spelling(fact, here)

    told = {says(fact) for kind in (ForeignKey, Check) for fact in here.expected[kind]}
    meaning = "It repeats one of the contract: nothing more is refused, and every write pays twice."
    return [
        _less(each, Severity.WARNING, meaning, f"{each.rule}-repeated")
        if each.rule in {"foreign-key.extra", "check.extra"} and says(each.have) in told
        else each
        for each in results
    ]


def _django_like(results: list[Difference], here: Sides) -> list[Difference]:
    """Django gives every unique or indexed text column a second index, for LIKE."""
    meaning = "Django's own index for LIKE on a text column; it costs a little time on writes."
    return [
        _less(each, Severity.NOTE, meaning, "django-like")
        if isinstance(each.have, Index)
        and each.rule == "index.extra"
        and each.have.name.endswith("_like")
        and "_pattern_ops)" in each.have.definition
        else each
        for each in results
    ]


def _one_convention(results: list[Difference], here: Sides) -> list[Difference]:
    """Foreign keys that are all deferrable in another way come from another tool, not from drift."""
    deferrable = [
        each
        for each in results
        if isinstance(each.have, ForeignKey) and each.changed == ("deferrable",)
    ]
    found = {key.deferrable for key in here.found[ForeignKey]}
    if len(found) != 1 or len(deferrable) < 2 or len(deferrable) != len(here.found[ForeignKey]):
        return results
    moment = "at each statement" if found == {"NOT DEFERRABLE"} else "at another moment"
    meaning = f"All foreign keys here are checked {moment}: the habit of the tool that made them."
    return [
        _less(each, Severity.NOTE, meaning, "deferrable-convention") if each in deferrable else each
        for each in results
    ]


def _set_aside(results: list[Difference], here: Sides) -> list[Difference]:
    """The schemas of this project's own nukes wait for an undo or a purge."""
    meaning = "It was set aside by nuke_schema and waits for --undo or --purge."
    return [
        _less(each, Severity.NOTE, meaning, SET_ASIDE)
        if isinstance(each.have, Schema) and aside.is_aside(each.have.name)
        else each
        for each in results
    ]


def _belongs_elsewhere(results: list[Difference], here: Sides) -> list[Difference]:
    """A table of the other database, made here by mistake."""
    moved = []
    for each in results:
        home = here.elsewhere.get(each.finding.object) if each.rule == "table.extra" else None
        if home:
            meaning = (
                f"{each.finding.object} belongs to {home}: programs that read it here see other "
                "rows than those that read it there."
            )
            each = _less(each, each.finding.severity, meaning, "table.elsewhere")
        moved.append(each)
    return moved


EQUIVALENCES: dict[str, Callable[[list[Difference], Sides], list[Difference]]] = {
    "served by a key": _served_by_key,
    "used sequence": _used_sequence,
    "implied key": _implied_key,
    "repeated": _repeated,
    "Django's LIKE index": _django_like,
    "one convention": _one_convention,
    "set aside": _set_aside,
    "belongs elsewhere": _belongs_elsewhere,
}
