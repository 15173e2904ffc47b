"""Compare a live catalog with the contract, by structure: what is missing, differs or is too much.

How bad a difference is and what it means stands in ``rules``; what counts as the same thing in other
words stands in ``equivalences``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from . import rules
from .describe import describe, slug
from .equivalences import EQUIVALENCES, PAIRINGS
from .expressions import canonical
from .facts import (
    KINDS,
    Catalog,
    Check,
    Fact,
    ForeignKey,
    Index,
    Key,
    Table,
    Trigger,
)
from .findings import Difference, Finding, Sides
from .rules import Severity, Verdict

__all__ = ["Difference", "Finding", "Severity", "compare", "counts", "differences", "worst"]


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
    here = _Comparison(expected, found, elsewhere or {})
    results = here.run()
    for equivalence in EQUIVALENCES.values():
        results = equivalence(results, here)
    severities = list(Severity)
    return sorted(
        results,
        key=lambda each: (
            severities.index(each.finding.severity),
            each.finding.object,
            each.finding.id,
        ),
    )


class _Comparison(Sides):
    def __init__(self, expected: Catalog, found: Catalog, elsewhere: Mapping[str, str]) -> None:
        super().__init__(expected, found, elsewhere)
        wanted = {fact.table: fact for fact in self.expected[Table]}
        there = {fact.table: fact for fact in self.found[Table]}
        # A table's own parts are no news where it is missing, extra, or something else: a view.
        shared = wanted.keys() & there.keys()
        swapped = {name for name in shared if wanted[name].type != there[name].type}
        self._silent = swapped | (wanted.keys() ^ there.keys())

    def run(self) -> list[Difference]:
        results: list[Difference] = []
        for kind in KINDS:
            expected, found = self.expected[kind], self.found[kind]
            if expected == found:
                if kind in NAMED:
                    results += self._names(zip(expected, found, strict=True))
                continue
            if self._silent and kind is not Table:
                expected = [fact for fact in expected if fact.table not in self._silent]
                found = [fact for fact in found if fact.table not in self._silent]
            results += self._kind(expected, found)
        return results

    def _kind(self, expected: list[Any], found: list[Any]) -> Iterator[Difference]:
        same, pairs, missing, extra = self._paired(expected, found)
        yield from self._names(same)
        for want, have in pairs:
            yield from self._different(want, have)
        for want in missing:
            if verdict := _verdict(want, "missing", want, None):
                yield _difference(verdict, rules.rule_id(type(want), "missing"), want, None)
        for have in extra:
            if verdict := _verdict(have, "extra", None, have):
                yield _difference(verdict, rules.rule_id(type(have), "extra"), None, have)

    def _paired(self, expected: list[Any], found: list[Any]) -> tuple[list[Any], ...]:
        """Pair equal facts first, then those that ``PAIRINGS`` take for the same thing."""
        same, unmatched, left = _match(expected, found, lambda fact: fact)
        pairs: list[tuple[Any, Any]] = []
        for pairing in PAIRINGS.values():
            if not unmatched or not left:
                break
            more, unmatched, left = _match(unmatched, left, self._keyed(pairing))
            pairs += more
        return same, pairs, unmatched, left

    def _keyed(self, pairing: Callable[[Any, Sides], Any]) -> Callable[[Any], Any]:
        return lambda fact: pairing(fact, self)

    def _names(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[Difference]:
        for want, have in pairs:
            if type(want) not in NAMED or "names" not in SAME_EFFECT:
                continue
            if want.name != have.name and want.name and have.name:
                yield _note("names", want, have, want.name, have.name)
            elif isinstance(want, Key) and want.constraint != have.constraint:
                spelling = {True: "a constraint", False: "an index"}
                yield _note(
                    "names", want, have, spelling[want.constraint], spelling[have.constraint]
                )

    def _different(self, want: Fact, have: Fact) -> Iterator[Difference]:
        verdicts: list[tuple[Verdict, str]] = []
        respelled = []
        for name in COMPARED[type(want)]:
            wanted, there = getattr(want, name), getattr(have, name)
            if wanted == there:
                continue
            if name in RESPELLABLE and self._is_same(want, wanted, there):
                respelled.append(name)
            elif verdict := _verdict(want, name, want, have):
                verdicts.append((verdict, name))
        if verdicts:
            severities = list(Severity)
            verdict, name = min(verdicts, key=lambda each: severities.index(each[0].severity))
            changed = tuple(name for _, name in verdicts)
            yield _difference(verdict, rules.rule_id(type(want), name), want, have, changed)
        elif respelled and "spelling" in SAME_EFFECT:
            expected, found = (describe(fact, respelled) for fact in (want, have))
            yield _note("spelling", want, have, expected, found)
        else:
            yield from self._names([(want, have)])

    def _is_same(self, fact: Fact, wanted: str | None, there: str | None) -> bool:
        if wanted is None or there is None:
            return False
        types = self.types[fact.table]
        return canonical(wanted, types) == canonical(there, types)


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


def _verdict(fact: Fact, on: str, want: Fact | None, have: Fact | None) -> Verdict | None:
    judge = rules.RULES.get((type(fact), on))
    return judge(want, have) if judge else None


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


def _note(rule: str, want: Fact, have: Fact, expected: str, found: str) -> Difference:
    verdict = Verdict(Severity.NOTE, SAME_EFFECT[rule])
    difference = _difference(verdict, rule, want, have)
    finding = replace(difference.finding, id=f"{slug(want)}-{rule}", expected=expected, found=found)
    return replace(difference, finding=finding)


NAMED: tuple[type[Fact], ...] = (Key, Check, ForeignKey, Index, Trigger)
RESPELLABLE = frozenset({"default", "generated", "expression"})
# What a difference of no effect means, by the rule that found it so.
SAME_EFFECT = {
    "names": "It does the same under another name, or as an index in place of a constraint.",
    "spelling": "It says the same in other words.",
}


def counts(catalog: Catalog) -> dict[str, int]:
    """How many things of each kind were compared; what is known and left out is counted too."""
    totals = Counter(fact.plural for fact in catalog.facts)
    totals["tables"] = len(catalog.tables)
    totals["views"] = sum(table.is_view for table in catalog.of(Table))
    shown = {
        kind.plural: totals[kind.plural] for kind in KINDS if totals[kind.plural] or kind is Table
    }
    more = {
        "views": totals["views"],
        "tracking tables": len(catalog.tracking_tables),
        "extension objects": catalog.extension_objects,
    }
    return {**shown, **{name: count for name, count in more.items() if count}}


def worst(findings: Iterable[Finding]) -> Severity | None:
    present = {finding.severity for finding in findings}
    return next((severity for severity in Severity if severity in present), None)
