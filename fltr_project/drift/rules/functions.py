"""What a difference of a function means."""

from __future__ import annotations

from fltr_project.catalog.facts import Function

from .verdict import Rules, error, owner, warning

RULES: Rules = {
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
    (Function, "owner"): owner,
}
