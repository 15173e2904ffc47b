"""Compare a live catalog with the contract, by structure: what is missing, differs or is too much.

How bad a difference is and what it means stands in ``rules``; what counts as the same thing in other
words stands here, in ``PAIRINGS`` and ``EQUIVALENCES``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from . import aside, rules
from .describe import describe, slug
from .expressions import canonical
from .facts import (
    KINDS,
    Catalog,
    Check,
    Column,
    Fact,
    ForeignKey,
    Index,
    Key,
    Schema,
    Table,
    Trigger,
    plain_columns,
)
from .facts import Sequence as SequenceFact
from .rules import Severity, Verdict

__all__ = ["Difference", "Finding", "Severity", "compare", "counts", "differences", "worst"]


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


@dataclass(frozen=True)
class Difference:
    """A finding with the facts that it was made from, of which at least one is there."""

    finding: Finding
    # The rule that decided, as "column.type"; "names" and the like for those of no effect.
    rule: str
    want: Fact | None
    have: Fact | None
    changed: tuple[str, ...] = ()


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


class _Comparison:
    def __init__(self, expected: Catalog, found: Catalog, elsewhere: Mapping[str, str]) -> None:
        self.expected, self.found, self.elsewhere = _by_kind(expected), _by_kind(found), elsewhere
        wanted = {fact.table: fact for fact in self.expected[Table]}
        there = {fact.table: fact for fact in self.found[Table]}
        # A table's own parts are no news where it is missing, extra, or something else: a view.
        shared = wanted.keys() & there.keys()
        swapped = {name for name in shared if wanted[name].type != there[name].type}
        self._silent = swapped | (wanted.keys() ^ there.keys())
        self.types: dict[str, dict[str, str]] = defaultdict(dict)
        for column in (*self.expected[Column], *self.found[Column]):
            self.types[column.table][column.name] = column.type

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

    def _keyed(self, pairing: Callable[[Any, _Comparison], Any]) -> Callable[[Any], Any]:
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


def _by_kind(catalog: Catalog) -> dict[type[Fact], list[Any]]:
    groups: dict[type[Fact], list[Any]] = {kind: [] for kind in KINDS}
    for fact in catalog.facts:
        groups[type(fact)].append(fact)
    return groups


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
        kind=fact.kind,
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


# --- which facts are the same thing, in the order of preference


def _identity(fact: Fact, here: _Comparison) -> Any:
    return fact.identity


def _spelling(fact: Fact, here: _Comparison) -> Any:
    """The same condition in other words."""
    if not isinstance(fact, Check):
        return None
    return fact.table, canonical(fact.expression, here.types[fact.table])


def _name(fact: Fact, here: _Comparison) -> Any:
    """Only where structure fails: a check, key or index of the same name is the same one, changed."""
    return (fact.table, fact.name) if isinstance(fact, Key | Check | Index) else None


def _primary(fact: Fact, here: _Comparison) -> Any:
    """A table has one primary key, so another one is that, changed."""
    return fact.table if isinstance(fact, Key) and fact.primary else None


def _work(fact: Fact, here: _Comparison) -> Any:
    """A trigger that does the same at the same moment, by another name."""
    return (fact.table, fact.definition) if isinstance(fact, Trigger) else None


PAIRINGS: dict[str, Callable[[Any, _Comparison], Any]] = {
    "identity": _identity,
    "spelling": _spelling,
    "primary": _primary,
    "name": _name,
    "work": _work,
}
NAMED: tuple[type[Fact], ...] = (Key, Check, ForeignKey, Index, Trigger)
RESPELLABLE = frozenset({"default", "generated", "expression"})
# What a difference of no effect means, by the rule that found it so.
SAME_EFFECT = {
    "names": "It does the same under another name, or as an index in place of a constraint.",
    "spelling": "It says the same in other words.",
}


# --- differences that mean less, or nothing, beside the others


def _less(difference: Difference, severity: Severity, meaning: str, rule: str) -> Difference:
    finding = replace(difference.finding, severity=severity, meaning=meaning)
    return replace(difference, finding=finding, rule=rule)


def _served_by_key(results: list[Difference], here: _Comparison) -> list[Difference]:
    """A missing index is no loss where a unique one on the same columns does its work."""
    serving = {(key.table, key.definition) for key in here.found[Key] if key.valid}
    return [
        each
        for each in results
        if not (each.rule == "index.missing" and each.want and each.want.identity in serving)
    ]


def _used_sequence(results: list[Difference], here: _Comparison) -> list[Difference]:
    """A sequence that gives a column its default is told with the column."""
    defaults = [column.default for column in here.found[Column] if column.default]
    return [
        each
        for each in results
        if not (
            isinstance(each.have, SequenceFact)
            and each.rule == "sequence.extra"
            and any(
                default.startswith("nextval(") and each.have.name in default for default in defaults
            )
        )
    ]


def _implied_key(results: list[Difference], here: _Comparison) -> list[Difference]:
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


def _repeated(results: list[Difference], here: _Comparison) -> list[Difference]:
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


def _django_like(results: list[Difference], here: _Comparison) -> list[Difference]:
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


def _one_convention(results: list[Difference], here: _Comparison) -> list[Difference]:
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


def _set_aside(results: list[Difference], here: _Comparison) -> list[Difference]:
    """The schemas of this project's own nukes wait for an undo or a purge."""
    meaning = "It was set aside by nuke_schema and waits for --undo or --purge."
    return [
        _less(each, Severity.NOTE, meaning, "schema.set-aside")
        if isinstance(each.have, Schema) and aside.is_aside(each.have.name)
        else each
        for each in results
    ]


def _belongs_elsewhere(results: list[Difference], here: _Comparison) -> list[Difference]:
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


EQUIVALENCES: dict[str, Callable[[list[Difference], _Comparison], list[Difference]]] = {
    "served by a key": _served_by_key,
    "used sequence": _used_sequence,
    "implied key": _implied_key,
    "repeated": _repeated,
    "Django's LIKE index": _django_like,
    "one convention": _one_convention,
    "set aside": _set_aside,
    "belongs elsewhere": _belongs_elsewhere,
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
