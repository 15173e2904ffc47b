"""What a difference of a trigger means."""

from __future__ import annotations

from fltr_project import registry
from fltr_project.catalog.facts import DisabledTrigger, Trigger

from .verdict import Rules, Severity, Verdict, error

# When a trigger runs, by its state.
MOMENTS = {
    "enabled": "in ordinary sessions only",
    "on replicas only": "only where replication applies changes",
    "always": "in all sessions",
    "disabled": "never",
}


def _missing(want: Trigger, have: None) -> Verdict:
    usual = f"What {want.name} does on writes to {want.table} no longer happens."
    return Verdict(Severity.ERROR, registry.trigger_losses.get((want.table, want.name), usual))


def _enabled(want: Trigger, have: Trigger) -> Verdict:
    if have.enabled == "disabled":
        return _missing(want, None)
    runs, should = MOMENTS[have.enabled], MOMENTS[want.enabled]
    return Verdict(
        Severity.ERROR,
        f"On writes to {want.table} it runs {runs}; the contract has it run {should}.",
    )


RULES: Rules = {
    (DisabledTrigger, "missing"): error(
        "A constraint is enforced that the contract has turned off."
    ),
    (DisabledTrigger, "extra"): error(
        "The constraint {fact.constraint} is not enforced: wrong rows can be written and stay, and "
        "deletes are not followed."
    ),
    (DisabledTrigger, "enabled"): error("The constraint is enforced for other sessions."),
    (Trigger, "missing"): _missing,
    (Trigger, "extra"): error("It runs on writes to {fact.table} that the contract leaves alone."),
    (Trigger, "definition"): error("It runs at other moments, or does something else."),
    (Trigger, "enabled"): _enabled,
}
