"""What a difference of a rewrite rule or a row security policy means."""

from __future__ import annotations

from fltr_project.catalog.facts import Policy, Rule

from .verdict import Rules, error

RULES: Rules = {
    (Rule, "missing"): error("Statements on {fact.table} are no longer rewritten."),
    (Rule, "extra"): error("Statements on {fact.table} silently do something else."),
    (Rule, "definition"): error("Statements on {fact.table} are rewritten differently."),
    (Rule, "enabled"): error("Statements on {fact.table} are rewritten for other sessions."),
    (Policy, "missing"): error("Roles see, or are refused, other rows of {fact.table}."),
    (Policy, "extra"): error("It hides or shows rows of {fact.table} once row security is on."),
    (Policy, "definition"): error("Roles see, or are refused, other rows of {fact.table}."),
}
