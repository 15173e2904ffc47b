"""What a difference of a table or view means."""

from __future__ import annotations

from fltr_project.catalog.facts import Table

from .verdict import Rules, Severity, Verdict, error, owner, warning


def _extra(want: None, have: Table) -> Verdict:
    if have.is_view:
        return Verdict(
            Severity.WARNING,
            "Nothing of the contract reads it; it blocks changes of what it shows.",
        )
    if have.inherits:
        return Verdict(
            Severity.ERROR, f"Its rows appear in every query of {', '.join(have.inherits)}."
        )
    return Verdict(
        Severity.ERROR, f"Programs may read or write {have.table} in place of the table they mean."
    )


RULES: Rules = {
    (Table, "missing"): error("Every statement that uses {fact.table} fails."),
    (Table, "extra"): _extra,
    (Table, "type"): error(
        "It is a {have.type}: rows cannot be stored or kept as in a {want.type}."
    ),
    (Table, "persistence"): error("After a crash of the server {fact.table} is empty."),
    (Table, "row_security"): error(
        "Roles other than the owner see and write other rows of {fact.table} than before."
    ),
    (Table, "force_row_security"): error("The owner, too, sees and writes other rows."),
    (Table, "replica_identity"): warning(
        "Logical replication sends other columns for updates and deletes, or refuses them."
    ),
    (Table, "inherits"): error("Queries of one table return the rows of another as well."),
    (Table, "partition_key"): error("Rows go to other partitions, or to none and are refused."),
    (Table, "partition_bound"): error("It takes other rows of its parent, and refuses the rest."),
    (Table, "options"): warning("It is stored, cleaned up or shown in another way."),
    (Table, "definition"): error("It shows other rows or columns."),
    (Table, "owner"): owner,
}
