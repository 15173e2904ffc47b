"""What a difference of the rest means: schemas, extensions, types, sequences, settings."""

from __future__ import annotations

from fltr_project.catalog.facts import Extension, Other, Schema, Sequence, Setting, Type
from fltr_project.words import counted

from .verdict import Rules, Severity, Verdict, error, owner, warning


def _extra(want: None, have: Schema) -> Verdict:
    tables = counted(have.tables, "tables")
    return Verdict(Severity.WARNING, f"Nothing of the contract is in it; it holds {tables}.")


RULES: Rules = {
    (Setting, "value"): warning(
        "A client that does not set its own {fact.name} may store local time as UTC."
    ),
    (Schema, "missing"): error("Every statement that uses it fails."),
    (Schema, "extra"): _extra,
    (Schema, "owner"): owner,
    (Extension, "missing"): error("What it provides is missing: statements that use it fail."),
    (Extension, "extra"): warning("Nothing of the contract uses it."),
    (Type, "missing"): error("Statements that name it fail."),
    (Type, "extra"): warning("Nothing of the contract uses it."),
    (Type, "definition"): error("It accepts other values."),
    (Type, "owner"): owner,
    (Sequence, "missing"): error("Statements that take a number from it fail."),
    (Sequence, "extra"): warning("Nothing of the contract takes numbers from it."),
    (Sequence, "definition"): error("It gives other numbers."),
    (Sequence, "owner"): owner,
    (Other, "missing"): error("Statements that use it fail or get slower."),
    (Other, "extra"): warning("Nothing of the contract uses it."),
    (Other, "definition"): error("It does something else."),
}
