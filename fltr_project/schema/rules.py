"""The comparison rules: how bad each difference is, and what it means for those who use the database.

Severities (design.md, decision 7): an error when something of the contract is missing or differs,
or when something extra changes what a statement accepts, stores, returns or deletes; a warning when
something extra only costs speed, space or tidiness, or when owner, grants, deferrability or replica
identity differ; a note when the effect is the same by another name or spelling.

A rule stands for one field of a kind of fact, or for its being missing or unexpected. A field
without a rule is not compared; a test proves that every field has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fltr_project.words import counted

from .describe import MOMENTS
from .facts import (
    Check,
    Column,
    DisabledTrigger,
    Extension,
    Fact,
    ForeignKey,
    Function,
    Grants,
    Index,
    Key,
    Other,
    Policy,
    Rule,
    Schema,
    Sequence,
    Setting,
    Table,
    Trigger,
    Type,
)


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Verdict:
    severity: Severity
    # One sentence: what the difference does to those who use the database.
    meaning: str


# Of two facts of one kind, expected and found; of the one there is, where the other is missing.
type Judge = Callable[[Any, Any], Verdict]


def error(meaning: str) -> Judge:
    return lambda want, have: Verdict(Severity.ERROR, _filled(meaning, want, have))


def warning(meaning: str) -> Judge:
    return lambda want, have: Verdict(Severity.WARNING, _filled(meaning, want, have))


def _filled(meaning: str, want: Fact | None, have: Fact | None) -> str:
    fact = have or want
    return meaning.format(want=want, have=have, fact=fact)


# --- columns


def _column_missing(want: Column, have: None) -> Verdict:
    return Verdict(
        Severity.ERROR,
        f"Every statement that names {want.object} fails, the ORMs' SELECTs of {want.table} included.",
    )


def _column_extra(want: None, have: Column) -> Verdict:
    if not have.nullable and have.default is None and not have.identity_kind:
        meaning = f"INSERTs into {have.table} by programs that do not know {have.name} are refused."
    else:
        meaning = f"Programs may keep data in {have.object}, where nobody else looks for it."
    return Verdict(Severity.ERROR, meaning)


def _column_type(want: Column, have: Column) -> Verdict:
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


def _column_nullable(want: Column, have: Column) -> Verdict:
    if have.nullable:
        meaning = f"{have.object} can hold NULL, which programs that read it do not expect."
    else:
        meaning = f"INSERTs that leave out {have.object}, as the contract allows, are refused."
    return Verdict(Severity.ERROR, meaning)


def _column_default(want: Column, have: Column) -> Verdict:
    left_out = f"An INSERT into {want.table} that leaves out {want.name}"
    if want.default is None:
        return Verdict(Severity.WARNING, f"{left_out} stores {have.default} by itself.")
    if have.default is None and not want.nullable:
        return Verdict(Severity.ERROR, f"{left_out} is refused.")
    if have.default is None:
        return Verdict(Severity.ERROR, f"{left_out} stores NULL instead of {want.default}.")
    return Verdict(Severity.ERROR, f"{left_out} stores {have.default} instead of {want.default}.")


def _column_identity(want: Column, have: Column) -> Verdict:
    if {want.identity_kind, have.identity_kind} == {"serial", "by default"}:
        return Verdict(Severity.NOTE, "It numbers new rows in the same way, declared differently.")
    if have.identity_kind is None:
        meaning = f"New rows of {want.table} get no number by themselves: INSERTs are refused."
    elif have.identity_kind == "always":
        meaning = f"INSERTs that give {want.object} a value of their own are refused."
    else:
        meaning = f"{want.object} numbers rows by itself where the contract expects a value."
    return Verdict(Severity.ERROR, meaning)


# --- keys and checks


def _key_extra(want: None, have: Key) -> Verdict:
    return Verdict(
        Severity.ERROR,
        f"Rows of {have.table} that the contract accepts are refused as duplicates.",
    )


def _foreign_key_missing(want: ForeignKey, have: None) -> Verdict:
    consequence = {
        "CASCADE": f"deleting from {want.target} leaves its {want.table} behind",
        "SET NULL": f"deleting from {want.target} leaves {want.object} pointing at nothing",
    }.get(want.on_delete, f"a row of {want.target} that {want.table} need can be deleted")
    return Verdict(
        Severity.ERROR, f"{want.object} can name what is not in {want.target}, and {consequence}."
    )


def _foreign_key_target(want: ForeignKey, have: ForeignKey) -> Verdict:
    return Verdict(
        Severity.ERROR,
        f"{want.object} accepts only what {have.target}.{', '.join(have.target_columns)} knows, "
        f"not what is in {want.target}.{', '.join(want.target_columns)}.",
    )


def _foreign_key_on_delete(want: ForeignKey, have: ForeignKey) -> Verdict:
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


def _foreign_key_deferrable(want: ForeignKey, have: ForeignKey) -> Verdict:
    moment = {
        "NOT DEFERRABLE": "at each statement",
        "DEFERRABLE INITIALLY IMMEDIATE": "at each statement, unless the session defers it",
        "DEFERRABLE INITIALLY DEFERRED": "at the commit",
    }
    return Verdict(
        Severity.WARNING,
        f"It is checked {moment[have.deferrable]} instead of {moment[want.deferrable]}: a program "
        "that writes the child first is refused sooner or later than it expects.",
    )


def _trigger_missing(want: Trigger, have: None) -> Verdict:
    if want.table == "users" and "credit" in want.name:
        meaning = "Users who sign up by another client than Django get no credits."
    else:
        meaning = f"What {want.name} does on writes to {want.table} no longer happens."
    return Verdict(Severity.ERROR, meaning)


def _trigger_enabled(want: Trigger, have: Trigger) -> Verdict:
    if have.enabled == "disabled":
        return _trigger_missing(want, None)
    runs, should = MOMENTS[have.enabled], MOMENTS[want.enabled]
    return Verdict(
        Severity.ERROR,
        f"On writes to {want.table} it runs {runs}; the contract has it run {should}.",
    )


def _table_extra(want: None, have: Table) -> Verdict:
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


def _schema_extra(want: None, have: Schema) -> Verdict:
    tables = counted(have.tables, "tables")
    return Verdict(Severity.WARNING, f"Nothing of the contract is in it; it holds {tables}.")


def _grants(want: Grants | None, have: Grants | None) -> Verdict:
    role = (have or want).role or "the owner"  # type: ignore[union-attr]
    more = sorted(set(have.granted if have else ()) - set(want.granted if want else ()))
    less = sorted(set(have.revoked if have else ()) - set(want.revoked if want else ()))
    if more:
        meaning = f"{role} may {', '.join(more)} there, which the contract does not say."
    elif less:
        meaning = f"Statements of {role} that need {', '.join(less)} there are refused."
    else:
        meaning = f"{role} may do more or less there than the contract says."
    return Verdict(Severity.WARNING, meaning)


def _owner(want: Any, have: Any) -> Verdict:
    return Verdict(
        Severity.WARNING,
        f"Only {have.owner or 'the owner of the rest'} may change it: a migration run by "
        f"{want.owner or 'the owner of the rest'} stops there.",
    )


RULES: dict[tuple[type[Fact], str], Judge] = {
    (Setting, "value"): warning(
        "A client that does not set its own {fact.name} may store local time as UTC."
    ),
    (Schema, "missing"): error("Every statement that uses it fails."),
    (Schema, "extra"): _schema_extra,
    (Schema, "owner"): _owner,
    (Extension, "missing"): error("What it provides is missing: statements that use it fail."),
    (Extension, "extra"): warning("Nothing of the contract uses it."),
    (Type, "missing"): error("Statements that name it fail."),
    (Type, "extra"): warning("Nothing of the contract uses it."),
    (Type, "definition"): error("It accepts other values."),
    (Type, "owner"): _owner,
    (Sequence, "missing"): error("Statements that take a number from it fail."),
    (Sequence, "extra"): warning("Nothing of the contract takes numbers from it."),
    (Sequence, "definition"): error("It gives other numbers."),
    (Sequence, "owner"): _owner,
    (Function, "missing"): error("Triggers, defaults and programs that call {fact.name} fail."),
    (Function, "extra"): warning("Nothing of the contract calls it."),
    (Function, "returns"): error("Callers of {fact.name} get another type."),
    (Function, "language"): error("It is another program under the same name."),
    (Function, "body"): error("{fact.name} does something else than the contract's."),
    (Function, "parsed"): error(
        "Its body is looked up at another time, with other names in sight."
    ),
    (Function, "security_definer"): error(
        "{fact.name} runs with the rights of another role: callers are refused, or may do more "
        "than they should."
    ),
    (Function, "settings"): error(
        "{fact.name} runs under other settings: with another search_path it can be made to call "
        "somebody else's code."
    ),
    (Function, "volatility"): error(
        "The planner may call {fact.name} once where it must be called for every row."
    ),
    (Function, "strict"): error("A NULL argument gives another result."),
    (Function, "parallel"): error("Queries that call it may fail in, or lose, parallel plans."),
    (Function, "leakproof"): error("It may see rows before row security has hidden them."),
    (Function, "defaults"): error("Calls that leave out arguments fail or do something else."),
    (Function, "owner"): _owner,
    (Table, "missing"): error("Every statement that uses {fact.table} fails."),
    (Table, "extra"): _table_extra,
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
    (Table, "owner"): _owner,
    (Column, "missing"): _column_missing,
    (Column, "extra"): _column_extra,
    (Column, "type"): _column_type,
    (Column, "nullable"): _column_nullable,
    (Column, "default"): _column_default,
    (Column, "identity_kind"): _column_identity,
    (Column, "generated"): error("{fact.object} is computed by another rule, or no longer."),
    (Column, "virtual"): error("It is computed at each read, and cannot be indexed."),
    (Column, "collation"): error("It is sorted and compared in another order."),
    (Column, "not_null_valid"): error("Rows with NULL in {fact.object} from earlier may be there."),
    (Column, "sequence"): error("New rows of {fact.table} get other numbers."),
    (Key, "missing"): error("Rows of {fact.table} that must be unique can be written twice."),
    (Key, "extra"): _key_extra,
    (Key, "definition"): error("{fact.table} is kept unique by something else."),
    (Key, "primary"): error(
        "ORMs and replication find no primary key on {fact.table}, or another one."
    ),
    (Key, "valid"): error(
        "It was left half built: duplicates may be there, queries do not use it."
    ),
    (Key, "deferrable"): warning(
        "Duplicates are refused at another moment, and ON CONFLICT cannot use a deferrable key."
    ),
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
    (ForeignKey, "missing"): _foreign_key_missing,
    (ForeignKey, "extra"): error(
        "Rows of {fact.table} whose {fact.columns[0]} is not in {fact.target} are refused, and "
        "deleting from {fact.target} acts on {fact.table}."
    ),
    (ForeignKey, "target"): _foreign_key_target,
    (ForeignKey, "target_columns"): _foreign_key_target,
    (ForeignKey, "on_delete"): _foreign_key_on_delete,
    (ForeignKey, "on_update"): error(
        "Changing a key of {fact.target} is refused or followed where it should not be."
    ),
    (ForeignKey, "match"): error(
        "Rows with some of the key's columns NULL are treated differently."
    ),
    (ForeignKey, "deferrable"): _foreign_key_deferrable,
    (ForeignKey, "valid"): error("Rows of {fact.table} that point at nothing may be there."),
    (ForeignKey, "enforced"): error(
        "{fact.object} can name what is not in {fact.target}, and deleting leaves rows behind."
    ),
    (DisabledTrigger, "missing"): error(
        "A constraint is enforced that the contract has turned off."
    ),
    (DisabledTrigger, "extra"): error(
        "The constraint {fact.constraint} is not enforced: wrong rows can be written and stay, and "
        "deletes are not followed."
    ),
    (DisabledTrigger, "enabled"): error("The constraint is enforced for other sessions."),
    (Index, "missing"): error(
        "Queries, deletes and cascades that look for these columns read all of {fact.table}."
    ),
    (Index, "extra"): warning("It costs time on every write to {fact.table}, and space."),
    (Index, "definition"): error("Queries of {fact.table} that need this index cannot use it."),
    (Index, "valid"): error("It was left half built: it costs every write and no query uses it."),
    (Trigger, "missing"): _trigger_missing,
    (Trigger, "extra"): error("It runs on writes to {fact.table} that the contract leaves alone."),
    (Trigger, "definition"): error("It runs at other moments, or does something else."),
    (Trigger, "enabled"): _trigger_enabled,
    (Rule, "missing"): error("Statements on {fact.table} are no longer rewritten."),
    (Rule, "extra"): error("Statements on {fact.table} silently do something else."),
    (Rule, "definition"): error("Statements on {fact.table} are rewritten differently."),
    (Rule, "enabled"): error("Statements on {fact.table} are rewritten for other sessions."),
    (Policy, "missing"): error("Roles see, or are refused, other rows of {fact.table}."),
    (Policy, "extra"): error("It hides or shows rows of {fact.table} once row security is on."),
    (Policy, "definition"): error("Roles see, or are refused, other rows of {fact.table}."),
    (Grants, "missing"): _grants,
    (Grants, "extra"): _grants,
    (Grants, "granted"): _grants,
    (Grants, "revoked"): _grants,
    (Other, "missing"): error("Statements that use it fail or get slower."),
    (Other, "extra"): warning("Nothing of the contract uses it."),
    (Other, "definition"): error("It does something else."),
}


def rule_id(kind: type[Fact], on: str) -> str:
    return f"{kind.kind.replace(' ', '-')}.{on.replace('_', '-')}"
