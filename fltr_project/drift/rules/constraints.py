"""What a difference of a check or foreign key means."""

from __future__ import annotations

from fltr_project.catalog.facts import Check, ForeignKey

from .verdict import Rules, Severity, Verdict, error

# When a foreign key is checked.
MOMENTS = {
    "NOT DEFERRABLE": "at each statement",
    "DEFERRABLE INITIALLY IMMEDIATE": "at each statement, unless the session defers it",
    "DEFERRABLE INITIALLY DEFERRED": "at the commit",
}


def _missing(want: ForeignKey, have: None) -> Verdict:
    consequence = {
        "CASCADE": f"deleting from {want.target} leaves its {want.table} behind",
        "SET NULL": f"deleting from {want.target} leaves {want.object} pointing at nothing",
    }.get(want.on_delete, f"a row of {want.target} that {want.table} need can be deleted")
    return Verdict(
        Severity.ERROR, f"{want.object} can name what is not in {want.target}, and {consequence}."
    )


def _target(want: ForeignKey, have: ForeignKey) -> Verdict:
    return Verdict(
        Severity.ERROR,
        f"{want.object} accepts only what {have.target}.{', '.join(have.target_columns)} knows, "
        f"not what is in {want.target}.{', '.join(want.target_columns)}.",
    )


def _on_delete(want: ForeignKey, have: ForeignKey) -> Verdict:
    rule = have.on_delete.partition(" (")[0]
    does = {
        "CASCADE": f"removes its {want.table}",
        "SET NULL": f"keeps its {want.table} and clears what they point with",
        "SET DEFAULT": f"points its {want.table} at the default",
    }.get(rule, f"fails while {want.table} point at it")
    instead = {
        "CASCADE": f"removing its {want.table}",
        "SET NULL": f"keeping its {want.table} without it",
    }.get(want.on_delete, f"being refused while {want.table} point at it")
    if have.on_delete.partition(" (")[0] == want.on_delete.partition(" (")[0]:
        return Verdict(
            Severity.ERROR,
            f"Deleting from {want.target} clears other columns of {want.table} than it should.",
        )
    if {want.on_delete, have.on_delete} == {"NO ACTION", "RESTRICT"}:
        instead = f"waiting until the end of the statement, by when its {want.table} may be gone"
        does = f"fails at once while {want.table} point at it"
    return Verdict(Severity.ERROR, f"Deleting from {want.target} {does} instead of {instead}.")


def _deferrable(want: ForeignKey, have: ForeignKey) -> Verdict:
    return Verdict(
        Severity.WARNING,
        f"It is checked {MOMENTS[have.deferrable]} instead of {MOMENTS[want.deferrable]}: a program "
        "that writes the child first is refused sooner or later than it expects.",
    )


RULES: Rules = {
    (Check, "missing"): error(
        "Values that the contract refuses can be written to {fact.table}, unless another check "
        "refuses them."
    ),
    (Check, "extra"): error(
        "It may refuse rows of {fact.table} that the contract accepts: it could not be shown to say "
        "what a check of the contract says."
    ),
    (Check, "expression"): error(
        "{fact.table} may accept or refuse other rows than it should: the two conditions could not "
        "be shown to say the same."
    ),
    (Check, "valid"): error("Rows of {fact.table} that break it from before may be there."),
    (Check, "enforced"): error("Values that the contract refuses can be written to {fact.table}."),
    (Check, "no_inherit"): error("Tables that inherit from {fact.table} do not have it."),
    (ForeignKey, "missing"): _missing,
    (ForeignKey, "extra"): error(
        "Rows of {fact.table} whose {fact.columns[0]} is not in {fact.target} are refused, and "
        "deleting from {fact.target} acts on {fact.table}."
    ),
    (ForeignKey, "target"): _target,
    (ForeignKey, "target_columns"): _target,
    (ForeignKey, "on_delete"): _on_delete,
    (ForeignKey, "on_update"): error(
        "Changing a key of {fact.target} is refused or followed where it should not be."
    ),
    (ForeignKey, "match"): error(
        "Rows with some of the key's columns NULL are treated differently."
    ),
    (ForeignKey, "deferrable"): _deferrable,
    (ForeignKey, "valid"): error("Rows of {fact.table} that point at nothing may be there."),
    (ForeignKey, "enforced"): error(
        "{fact.object} can name what is not in {fact.target}, and deleting leaves rows behind."
    ),
}
