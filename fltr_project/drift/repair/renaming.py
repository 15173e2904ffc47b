"""The repairs of all differences of a database, where some things only have another name.

What has only another name is renamed first, with its rows, indexes and keys; the rest is repaired as if it
had been called so all the time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from fltr_project.catalog.facts import Catalog
from fltr_project.drift import renames
from fltr_project.drift.compare import Difference, Severity, differences
from fltr_project.drift.renames import Renames

from .columns import alter
from .names import name, public
from .repair import Repair, repair
from .statement import Stage, Statement, dropping, held_together, ordered


def repairs(
    drift: Sequence[Difference],
    expected: Catalog,
    found: Catalog,
    elsewhere: Mapping[str, str] | None = None,
) -> list[Repair]:
    """One repair for each of the differences, which are those of ``found`` from ``expected``. Pure."""
    named = renames.find(expected, found)
    if not named:
        return [repair(each, expected, found) for each in drift]
    then = renames.applied(found, named)
    left = differences(expected, then, elsewhere or {})
    mended = {_which(each): repair(each, expected, then) for each in left}
    wrong = [each for each in left if each.finding.severity is not Severity.NOTE]
    known = {_which(each) for each in drift}
    groups = {table: _group(table, wrong, mended, named, known) for table in named.touched}
    results = []
    for each in drift:
        tables = renames.concerns(each.want, named) | renames.concerns(each.have, named)
        statements = [statement for table in sorted(tables) for statement in groups[table]]
        if _which(each) in mended:
            # As it was before, so it has nothing to do with the name but that it comes after it.
            statements = [line for table in sorted(tables) for line in _renaming(table, named)]
            results.append(Repair(ordered((*statements, *mended[_which(each)].statements))))
            continue
        if not tables and each.finding.severity is not Severity.NOTE:
            # A function that takes a row of the table, and the like, which goes with the name.
            statements = [line for table in named.touched for line in _renaming(table, named)]
        results.append(Repair(ordered(statements)))
    return results


def _group(
    table: str,
    wrong: Sequence[Difference],
    mended: Mapping[tuple[str, str], Repair],
    named: Renames,
    known: Collection[tuple[str, str]],
) -> tuple[Statement, ...]:
    """The renames of a table of the contract and its columns, and what is left to repair of it then."""
    statements = list(_renaming(table, named))
    for each in wrong:
        concerned = renames.concerns(each.want, named) | renames.concerns(each.have, named)
        # What only shows under the right names, of this table or of none.
        if _which(each) not in known and (table in concerned or not concerned):
            statements += mended[_which(each)].statements
    return ordered(statements)


def _which(difference: Difference) -> tuple[str, str]:
    """Two indexes that are alike have one id between them, and each its own name."""
    return difference.finding.id, difference.finding.object


def _renaming(table: str, named: Renames) -> Iterator[Statement]:
    in_the_way = named.views.get(table)
    statements = [
        Statement(Stage.RENAME, alter(old, f"RENAME TO {name(table)}"))
        for old, new in named.tables.items()
        if new == table
    ]
    statements += [
        Statement(Stage.RENAME, alter(table, f"RENAME COLUMN {name(old)} TO {name(new)}"))
        for (of, old), new in named.columns.items()
        if of == table
    ]
    if in_the_way is None:
        yield from statements
        return
    sql = f"DROP {in_the_way.type.upper()} {public(table)};"
    drop = dropping(Stage.RENAME, sql, f"SELECT count(*) FROM {public(table)};")
    yield from held_together(drop.hazards, "", [drop, *statements])
