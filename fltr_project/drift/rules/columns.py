"""What a difference of a column means."""

from __future__ import annotations

from fltr_project.catalog.facts import Column

from .verdict import Rules, Severity, Verdict, error


def _missing(want: Column, have: None) -> Verdict:
    return Verdict(
        Severity.ERROR,
        f"Every statement that names {want.object} fails, the ORMs' SELECTs of {want.table} included.",
    )


def _extra(want: None, have: Column) -> Verdict:
    if not have.nullable and have.default is None and not have.identity_kind:
        meaning = f"INSERTs into {have.table} by programs that do not know {have.name} are refused."
    else:
        meaning = f"Programs may keep data in {have.object}, where nobody else looks for it."
    return Verdict(Severity.ERROR, meaning)


def _type(want: Column, have: Column) -> Verdict:
    wanted, found = want.type.partition("(")[0], have.type.partition("(")[0]
    if {wanted, found} == {"timestamp without time zone", "timestamp with time zone"}:
        meaning = "Sessions outside UTC read and write times that are hours off."
    elif (wanted, have.type) == ("text", "character varying"):
        meaning = "It stores the same, but every tool that compares types wants to change it back."
    elif found in {"character varying", "character"} and wanted == "text":
        padded = ", and shorter ones are padded with blanks" if found == "character" else ""
        meaning = f"Texts longer than the column allows are refused{padded}."
    elif (wanted, found) in {("bigint", "integer"), ("integer", "smallint")}:
        meaning = "Numbers that the contract allows are refused as out of range."
    elif (wanted, found) == ("integer", "bigint"):
        meaning = (
            "Drivers that read 64-bit numbers as strings hand programs text instead of a number."
        )
    elif found in {"real", "double precision"} and wanted in {"integer", "bigint", "numeric"}:
        meaning = "Fractions are stored where whole numbers belong, and large ones lose digits."
    elif found not in BUILT_IN_TYPES:
        meaning = f"Only values that type {found} knows are accepted, and clients see another type."
    else:
        meaning = f"Clients declare {want.type} and are refused or read something else."
    return Verdict(Severity.ERROR, meaning)


BUILT_IN_TYPES = frozenset(
    [
        "text",
        "character varying",
        "character",
        "integer",
        "smallint",
        "bigint",
        "numeric",
        "real",
        "double precision",
        "boolean",
        "uuid",
        "json",
        "jsonb",
        "date",
        "time without time zone",
        "timestamp without time zone",
        "timestamp with time zone",
        "bytea",
        "interval",
        "inet",
    ]
)


def _nullable(want: Column, have: Column) -> Verdict:
    if have.nullable:
        meaning = f"{have.object} can hold NULL, which programs that read it do not expect."
    else:
        meaning = f"INSERTs that leave out {have.object}, as the contract allows, are refused."
    return Verdict(Severity.ERROR, meaning)


def _default(want: Column, have: Column) -> Verdict:
    left_out = f"An INSERT into {want.table} that leaves out {want.name}"
    if want.default is None:
        return Verdict(Severity.WARNING, f"{left_out} stores {have.default} by itself.")
    if have.default is None and not want.nullable:
        return Verdict(Severity.ERROR, f"{left_out} is refused.")
    if have.default is None:
        return Verdict(Severity.ERROR, f"{left_out} stores NULL instead of {want.default}.")
    return Verdict(Severity.ERROR, f"{left_out} stores {have.default} instead of {want.default}.")


def _identity(want: Column, have: Column) -> Verdict:
    if {want.identity_kind, have.identity_kind} == {"serial", "by default"}:
        return Verdict(Severity.NOTE, "It numbers new rows in the same way, declared differently.")
    if have.identity_kind is None:
        meaning = f"New rows of {want.table} get no number by themselves: INSERTs are refused."
    elif have.identity_kind == "always":
        meaning = f"INSERTs that give {want.object} a value of their own are refused."
    else:
        meaning = f"{want.object} numbers rows by itself where the contract expects a value."
    return Verdict(Severity.ERROR, meaning)


RULES: Rules = {
    (Column, "missing"): _missing,
    (Column, "extra"): _extra,
    (Column, "type"): _type,
    (Column, "nullable"): _nullable,
    (Column, "default"): _default,
    (Column, "identity_kind"): _identity,
    (Column, "generated"): error("{fact.object} is computed by another rule, or no longer."),
    (Column, "virtual"): error("It is computed at each read, and cannot be indexed."),
    (Column, "collation"): error("It is sorted and compared in another order."),
    (Column, "not_null_valid"): error("Rows with NULL in {fact.object} from earlier may be there."),
    (Column, "sequence"): error("New rows of {fact.table} get other numbers."),
}
