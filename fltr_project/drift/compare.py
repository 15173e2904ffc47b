"""Compare a live catalog with the contract, by structure: what is missing, differs or is too much.

How bad a difference is and what it means stands in ``rules``; what counts as the same thing in other
words stands in ``equivalences``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from fltr_project.catalog.facts import (
    KINDS,
    Catalog,
    Check,
    Fact,
    Index,
    Key,
    Table,
    Trigger,
)

from . import equivalences, rules
from .describe import describe, slug
from .expressions import canonical
from .findings import Comparison, Difference, Finding
from .rules import Severity, Verdict

__all__ = ["Difference", "Finding", "Severity", "compare", "counts", "differences"]

# The fields of each kind that say how a thing is, in their order.
COMPARED: dict[type[Fact], tuple[str, ...]] = {
    kind: tuple(
        item.name
        for item in fields(kind)
        if item.compare
        and item.name != "table"
        and (item.name not in kind.key or item.name in {"definition", "expression"})
    )
    for kind in KINDS
}
# Kinds of which another name is worth a note. Statements name these: ON CONFLICT ON CONSTRAINT, DROP INDEX. Each
# tool names foreign keys in its own way, and nothing but its own migrations says their names.
NAMED: tuple[type[Fact], ...] = (Key, Check, Index, Trigger)
# Fields that hold an expression, which can say the same in other words.
EXPRESSIONS = frozenset({"default", "generated", "expression"})
# What the rules of a difference without effect mean.
OTHER_NAME = "It does the same under another name, or as an index in place of a constraint."
OTHER_WORDS = "It says the same in other words."


def compare(
    expected: Catalog, found: Catalog, elsewhere: Mapping[str, str] | None = None
) -> list[Finding]:
    """The differences of a live catalog from the contract, worst first; empty when there are none.

    Pure. ``elsewhere`` says which tables the contract of another database holds, and its name, so
    that one of them standing here is named as such.
    """
    return [difference.finding for difference in differences(expected, found, elsewhere)]


def differences(
    expected: Catalog, found: Catalog, elsewhere: Mapping[str, str] | None = None
) -> list[Difference]:
    """As ``compare``, with the facts behind each finding."""
    comparison = Comparison(expected, found, elsewhere or {})
    results = list(_compared(comparison))
    for equivalence in equivalences.EQUIVALENCES:
        results = equivalence(results, comparison)
    severities = list(Severity)
    return sorted(
        results,
        key=lambda each: (
            severities.index(each.finding.severity),
            each.finding.object,
            each.finding.id,
        ),
    )


def counts(catalog: Catalog) -> dict[str, int]:
    """How many things of each kind were compared; what is known and left out is counted too."""
    totals = Counter(fact.plural for fact in catalog.facts)
    totals["tables"] = len(catalog.tables)
    shown = {
        kind.plural: totals[kind.plural] for kind in KINDS if totals[kind.plural] or kind is Table
    }
    more = {
        "views": sum(table.is_view for table in catalog.of(Table)),
        "tracking tables": len(catalog.tracking_tables),
        "extension objects": catalog.extension_objects,
    }
    return {**shown, **{name: count for name, count in more.items() if count}}


def _compared(comparison: Comparison) -> Iterator[Difference]:
    """The differences of one kind after the other, before any equivalence."""
    silent = _not_comparable(comparison)
    for kind in KINDS:
        if kind in comparison.unread:
            continue
        expected, found = comparison.expected[kind], comparison.found[kind]
        if expected == found:
            yield from _names(zip(expected, found, strict=True))
            continue
        if silent and kind is not Table:
            expected = [fact for fact in expected if fact.table not in silent]
            found = [fact for fact in found if fact.table not in silent]
        pairs, missing, extra = _paired(expected, found, comparison)
        for want, have in pairs:
            if want == have:
                yield from _names([(want, have)])
            else:
                yield from _different(want, have, comparison)
        for want in missing:
            if verdict := _judged(kind, "missing", want, None):
                yield _difference(verdict, rules.rule_id(kind, "missing"), want, None)
        for have in extra:
            if verdict := _judged(kind, "extra", None, have):
                yield _difference(verdict, rules.rule_id(kind, "extra"), None, have)


def _judged(kind: type[Fact], on: str, want: Any, have: Any) -> Verdict | None:
    judge = rules.RULES.get((kind, on))
    return judge(want, have) if judge else None


def _not_comparable(comparison: Comparison) -> set[str]:
    """The tables that are missing, extra or something else, a view say: their parts are no news."""
    expected = {fact.table: fact.type for fact in comparison.expected[Table]}
    found = {fact.table: fact.type for fact in comparison.found[Table]}
    return {
        table for table in expected.keys() | found.keys() if expected.get(table) != found.get(table)
    }


def _paired(
    expected: list[Any], found: list[Any], comparison: Comparison
) -> tuple[list[tuple[Any, Any]], list[Any], list[Any]]:
    """What is the same thing on both sides, equal or changed; what is left of one, and of the other."""
    pairs, missing, extra = _match(expected, found, lambda fact: fact)
    for pairing in equivalences.PAIRINGS:
        if not missing or not extra:
            break
        more, missing, extra = _match(missing, extra, _by(pairing, comparison))
        pairs += more
    return pairs, missing, extra


def _by(pairing: Callable[[Any, Comparison], Any], comparison: Comparison) -> Callable[[Any], Any]:
    return lambda fact: pairing(fact, comparison)


def _match(
    expected: Sequence[Any], found: Sequence[Any], by: Callable[[Any], Any]
) -> tuple[list[tuple[Any, Any]], list[Any], list[Any]]:
    """Pair facts of the same key, each once; those whose key is None stay alone."""
    waiting: dict[Any, list[Any]] = {}
    for have in found:
        waiting.setdefault(by(have), []).append(have)
    pairs, unmatched = [], []
    for want in expected:
        key = by(want)
        candidates = waiting.get(key) if key is not None else None
        if candidates:
            # Of several that are equal, the one of the same name.
            same = (
                place
                for place, have in enumerate(candidates)
                if len(candidates) > 1 and getattr(have, "name", "") == getattr(want, "name", "")
            )
            pairs.append((want, candidates.pop(next(same, 0))))
        else:
            unmatched.append(want)
    return pairs, unmatched, [have for candidates in waiting.values() for have in candidates]


def _names(pairs: Iterable[tuple[Any, Any]]) -> Iterator[Difference]:
    """A note for each pair that does the same under another name."""
    for want, have in pairs:
        if type(want) not in NAMED:
            return
        if want.name != have.name and want.name and have.name:
            yield _note("names", OTHER_NAME, want, have, want.name, have.name)
        elif isinstance(want, Key) and want.constraint != have.constraint:
            spelling = {True: "a constraint", False: "an index"}
            words = spelling[want.constraint], spelling[have.constraint]
            yield _note("names", OTHER_NAME, want, have, *words)


def _different(want: Fact, have: Fact, comparison: Comparison) -> Iterator[Difference]:
    """The worst of what differs in a pair, with all fields that do; else a note of other words or names."""
    verdicts: list[tuple[Verdict, str]] = []
    respelled = []
    for name in COMPARED[type(want)]:
        wanted, there = getattr(want, name), getattr(have, name)
        if wanted == there:
            continue
        if name in EXPRESSIONS and _says_the_same(wanted, there, comparison.types[want.table]):
            respelled.append(name)
        elif verdict := _judged(type(want), name, want, have):
            verdicts.append((verdict, name))
    if verdicts:
        severities = list(Severity)
        worst, name = min(verdicts, key=lambda each: severities.index(each[0].severity))
        changed = tuple(name for _, name in verdicts)
        yield _difference(worst, rules.rule_id(type(want), name), want, have, changed)
    elif respelled:
        words = (describe(fact, respelled) for fact in (want, have))
        yield _note("spelling", OTHER_WORDS, want, have, *words)
    else:
        yield from _names([(want, have)])


def _says_the_same(one: str | None, other: str | None, types: Mapping[str, str]) -> bool:
    if one is None or other is None:
        return False
    return canonical(one, types) == canonical(other, types)


def _difference(
    verdict: Verdict, rule: str, want: Any, have: Any, changed: tuple[str, ...] = ()
) -> Difference:
    fact = want or have
    ending = "differs" if want and have else "missing" if want else "unexpected"
    finding = Finding(
        id=f"{slug(fact)}-{ending}",
        severity=verdict.severity,
        kind=fact.type if isinstance(fact, Table) and fact.is_view else fact.kind,
        object=fact.object,
        expected=describe(want, changed) if want else None,
        found=describe(have, changed) if have else None,
        meaning=verdict.meaning,
    )
    return Difference(finding, rule, want, have, changed)


def _note(rule: str, meaning: str, want: Fact, have: Fact, expected: str, found: str) -> Difference:
    finding = Finding(
        id=f"{slug(want)}-{rule}",
        severity=Severity.NOTE,
        kind=want.kind,
        object=want.object,
        expected=expected,
        found=found,
        meaning=meaning,
    )
    return Difference(finding, rule, want, have)
