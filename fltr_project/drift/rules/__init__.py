"""The comparison rules: a module a subject, as in ``catalog.facts``; small ones are in ``others``.

A rule stands for one field of a kind of fact, or for its being missing or unexpected. A field without a rule is
not compared; a test proves that every field has one.
"""

from __future__ import annotations

from fltr_project.catalog.facts import Fact

from . import (
    columns,
    constraints,
    functions,
    grants,
    indexes,
    others,
    policies,
    tables,
    triggers,
)
from .verdict import Judge, Rules, Severity, Verdict

__all__ = ["RULES", "Judge", "Rules", "Severity", "Verdict", "rule_id"]

RULES: Rules = {
    **others.RULES,
    **functions.RULES,
    **tables.RULES,
    **columns.RULES,
    **indexes.RULES,
    **constraints.RULES,
    **triggers.RULES,
    **policies.RULES,
    **grants.RULES,
}


def rule_id(kind: type[Fact], on: str) -> str:
    return f"{kind.kind.replace(' ', '-')}.{on.replace('_', '-')}"
