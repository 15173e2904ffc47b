"""What counts as the same thing in other words, and which differences mean less beside others.

A comparison pairs facts by ``PAIRINGS`` in turn; its results then go through ``EQUIVALENCES``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fltr_project import registry
from fltr_project.catalog import aside
from fltr_project.catalog.facts import (
    Check,
    Column,
    Fact,
    ForeignKey,
    Function,
    Grants,
    Index,
    Key,
    Schema,
    Sequence,
    Trigger,
    plain_columns,
    sequence_of,
)

from .expressions import canonical
from .findings import Comparison, Difference
from .rules import Severity
from .rules.constraints import MOMENTS

# The whole text of a function that is one number.
NUMBER = re.compile(r"SELECT \d{1,10}")
# The rule of a schema that was set aside.
SET_ASIDE = "schema.set-aside"

# --- which facts are the same thing


def _identity(fact: Fact, comparison: Comparison) -> Any:
    return fact.identity


def _spelling(fact: Fact, comparison: Comparison) -> Any:
    """The same condition in other words."""
    if not isinstance(fact, Check):
        return None
    return fact.table, canonical(fact.expression, comparison.types[fact.table])


def _name(fact: Fact, comparison: Comparison) -> Any:
    """Only where structure fails: a check, key or index of the same name is the same one, changed."""
    return (fact.table, fact.name) if isinstance(fact, Key | Check | Index) else None


def _primary(fact: Fact, comparison: Comparison) -> Any:
    """A table has one primary key, so another one is that, changed."""
    return fact.table if isinstance(fact, Key) and fact.primary else None


def _work(fact: Fact, comparison: Comparison) -> Any:
    """A trigger that does the same at the same moment, by another name."""
    return (fact.table, fact.definition) if isinstance(fact, Trigger) else None


# In the order of preference.
PAIRINGS: tuple[Callable[[Any, Comparison], Any], ...] = (
    _identity,
    _spelling,
    _primary,
    _name,
    _work,
)

# --- differences that mean less, nothing or more beside the others


def _judged_anew(difference: Difference, severity: Severity, meaning: str, rule: str) -> Difference:
    finding = replace(difference.finding, severity=severity, meaning=meaning)
    return replace(difference, finding=finding, rule=rule)


def _served_by_key(results: list[Difference], comparison: Comparison) -> list[Difference]:
    """A missing index is no loss where a unique one on the same columns serves the same queries."""
    serving = {(key.table, key.definition) for key in comparison.found[Key] if key.valid}
    return [
        each
        for each in results
        if not (each.rule == "index.missing" and each.want and each.want.identity in serving)
    ]


def _of_missing_function(results: list[Difference], comparison: Comparison) -> list[Difference]:
    """A function that is missing is told once, and made with its rights."""
    missing = [each.want for each in results if each.rule == "function.missing"]
    return [
        each
        for each in results
        if not (
            isinstance(each.want, Grants)
            and any(
                isinstance(function, Function) and function.is_in(each.want.on)
                for function in missing
            )
        )
    ]


def _chosen_number(results: list[Difference], comparison: Comparison) -> list[Difference]:
    """Another number where the operator chooses it is no difference; another text is."""

    def chosen(each: Difference) -> bool:
        return (
            isinstance(each.want, Function)
            and isinstance(each.have, Function)
            and each.want.name in registry.chosen_numbers
            and each.changed == ("body",)
            and all(NUMBER.fullmatch(fact.body) for fact in (each.want, each.have))
        )

    return [each for each in results if not chosen(each)]


def _overload(results: list[Difference], comparison: Comparison) -> list[Difference]:
    """A second function of one name: which of them is called depends on the arguments' types."""
    names = {function.name for function in comparison.expected[Function]}
    meaning = "A call of {} may reach it in place of the contract's."
    return [
        _judged_anew(each, Severity.ERROR, meaning.format(each.have.name), "function.overload")
        if each.rule == "function.extra"
        and isinstance(each.have, Function)
        and each.have.name in names
        else each
        for each in results
    ]


def _used_sequence(results: list[Difference], comparison: Comparison) -> list[Difference]:
    """A sequence that gives a column its default is told with the column."""
    used = {sequence_of(column.default) for column in comparison.found[Column] if column.default}
    return [
        each
        for each in results
        if not (
            each.rule == "sequence.extra"
            and isinstance(each.have, Sequence)
            and each.have.name in used
        )
    ]


def _implied_key(results: list[Difference], comparison: Comparison) -> list[Difference]:
    """An extra key refuses nothing where a key of the contract on fewer columns refuses it already."""
    promised = [
        (key.table, set(columns), key)
        for key in comparison.expected[Key]
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
        _judged_anew(each, Severity.WARNING, meaning, "key.implied")
        if each.rule == "key.extra" and implied(each.have)
        else each
        for each in results
    ]


def _repeated(results: list[Difference], comparison: Comparison) -> list[Difference]:
    """A second foreign key or check that says what one of the contract says changes nothing."""

    def says(fact: Any) -> Any:
        if isinstance(fact, ForeignKey):
            return (fact.table, fact.columns, fact.rule, fact.on_update, fact.match)
        return _spelling(fact, comparison)

    told = {says(fact) for kind in (ForeignKey, Check) for fact in comparison.expected[kind]}
    meaning = "It repeats one of the contract: nothing more is refused, and every write pays twice."
    return [
        _judged_anew(each, Severity.WARNING, meaning, f"{each.rule}-repeated")
        if each.rule in {"foreign-key.extra", "check.extra"} and says(each.have) in told
        else each
        for each in results
    ]


def _django_like(results: list[Difference], comparison: Comparison) -> list[Difference]:
    """Django gives every unique or indexed text column a second index, for LIKE."""
    meaning = "Django's own index for LIKE on a text column; it costs a little time on writes."
    return [
        _judged_anew(each, Severity.NOTE, meaning, "django-like")
        if isinstance(each.have, Index)
        and each.rule == "index.extra"
        and each.have.name.endswith("_like")
        and "_pattern_ops)" in each.have.definition
        else each
        for each in results
    ]


def _one_convention(results: list[Difference], comparison: Comparison) -> list[Difference]:
    """Foreign keys that are all checked at another moment come from another tool, not from drift."""
    deferrable = [
        each
        for each in results
        if isinstance(each.have, ForeignKey) and each.changed == ("deferrable",)
    ]
    found = {key.deferrable for key in comparison.found[ForeignKey]}
    if (
        len(found) != 1
        or len(deferrable) < 2
        or len(deferrable) != len(comparison.found[ForeignKey])
    ):
        return results
    meaning = f"All foreign keys here are checked {MOMENTS[min(found)]}: the habit of the tool that made them."
    return [
        _judged_anew(each, Severity.NOTE, meaning, "deferrable-convention")
        if each in deferrable
        else each
        for each in results
    ]


def _set_aside(results: list[Difference], comparison: Comparison) -> list[Difference]:
    """The schemas of this project's own nukes wait for an undo or a purge."""
    meaning = "It was set aside, and waits to be brought back or dropped for good."
    return [
        _judged_anew(each, Severity.NOTE, meaning, SET_ASIDE)
        if isinstance(each.have, Schema) and aside.is_aside(each.have.name)
        else each
        for each in results
    ]


def _belongs_elsewhere(results: list[Difference], comparison: Comparison) -> list[Difference]:
    """A table of the other database, made here by mistake."""
    moved = []
    for each in results:
        home = comparison.elsewhere.get(each.finding.object) if each.rule == "table.extra" else None
        if home:
            meaning = (
                f"{each.finding.object} belongs to {home}: programs that read it here see other "
                "rows than those that read it tcomparison."
            )
            each = _judged_anew(each, each.finding.severity, meaning, "table.elsewhere")
        moved.append(each)
    return moved


EQUIVALENCES: tuple[Callable[[list[Difference], Comparison], list[Difference]], ...] = (
    _served_by_key,
    _of_missing_function,
    _chosen_number,
    _overload,
    _used_sequence,
    _implied_key,
    _repeated,
    _django_like,
    _one_convention,
    _set_aside,
    _belongs_elsewhere,
)
