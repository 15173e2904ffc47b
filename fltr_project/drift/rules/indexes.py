"""What a difference of an index, or of what a unique one promises, means."""

from __future__ import annotations

from fltr_project.catalog.facts import Index, Key

from .verdict import Rules, Severity, Verdict, error, warning


def _deferrable(want: Key, have: Key) -> Verdict:
    if want.deferrable == "NOT DEFERRABLE":
        meaning = "INSERT ... ON CONFLICT is refused: it cannot use a key that is deferrable."
        return Verdict(Severity.ERROR, meaning)
    return Verdict(Severity.WARNING, "Duplicates are refused at another moment.")


RULES: Rules = {
    (Key, "missing"): error("Rows of {fact.table} that must be unique can be written twice."),
    (Key, "extra"): error(
        "Rows of {fact.table} that the contract accepts are refused as duplicates."
    ),
    (Key, "definition"): error("{fact.table} is kept unique by something else."),
    (Key, "primary"): error(
        "ORMs and replication find no primary key on {fact.table}, or another one."
    ),
    (Key, "valid"): error(
        "It was left half built: duplicates may be there, queries do not use it."
    ),
    (Key, "deferrable"): _deferrable,
    (Index, "missing"): error(
        "Queries, deletes and cascades that look for these columns read all of {fact.table}."
    ),
    (Index, "extra"): warning("It costs time on every write to {fact.table}, and space."),
    (Index, "definition"): error("Queries of {fact.table} that need this index cannot use it."),
    (Index, "valid"): error("It was left half built: it costs every write and no query uses it."),
}
