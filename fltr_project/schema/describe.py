"""Facts in words: in those of SQL where they exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .facts import (
    Check,
    Column,
    DisabledTrigger,
    Fact,
    ForeignKey,
    Grants,
    Index,
    Key,
    Other,
    Policy,
    Rule,
    Setting,
    Table,
    Trigger,
    Type,
)
from .facts import (
    Sequence as SequenceFact,
)

# When a trigger runs, by its state.
MOMENTS = {
    "enabled": "in ordinary sessions only",
    "on replicas only": "only where replication applies changes",
    "always": "in all sessions",
    "disabled": "never",
}


def describe(fact: Fact, changed: Sequence[str] = ()) -> str:
    """What the fact is, cut down to the fields in ``changed`` where there are some."""
    if isinstance(fact, ForeignKey) and set(changed) <= {"target", "target_columns", "on_delete"}:
        return f"references {fact.rule}"
    if isinstance(fact, Grants):
        more = [f"GRANT {', '.join(fact.granted)}"] if fact.granted else []
        less = [f"REVOKE {', '.join(fact.revoked)}"] if fact.revoked else []
        return "; ".join(more + less)
    if changed:
        return ", ".join(_field(name, getattr(fact, name)) for name in changed)
    match fact:
        case Column():
            null = "NULL" if fact.nullable else "NOT NULL"
            default = f" DEFAULT {fact.default}" if fact.default else ""
            identity = f" {fact.identity_kind}" if fact.identity_kind else ""
            return f"{fact.type} {null}{default}{identity}"
        case Table():
            return (
                f"{fact.type} inheriting {', '.join(fact.inherits)}" if fact.inherits else fact.type
            )
        case Key():
            return f"{'PRIMARY KEY' if fact.primary else 'UNIQUE'} {fact.definition}"
        case Check():
            return fact.expression
        case DisabledTrigger():
            return _state(fact.enabled)
        case Setting():
            return fact.value
        case Index() | Trigger() | Policy() | Type() | Rule() | SequenceFact():
            return fact.definition
        case Other() if fact.definition:
            return fact.definition
    return f"{'an' if fact.kind[0] in 'aeiou' else 'a'} {fact.kind}"


def _field(name: str, value: Any) -> str:
    return _state(value) if name == "enabled" else f"{_word(name)} {_value(name, value)}"


def _state(enabled: str) -> str:
    return enabled if enabled in {"enabled", "disabled"} else f"enabled {enabled}"


def _word(name: str) -> str:
    return {
        "nullable": "null",
        "identity_kind": "identity",
        "not_null_valid": "NOT NULL validated",
    }.get(name, name.replace("_", " "))


def _value(name: str, value: Any) -> str:
    if name == "owner":
        return value or "as the rest"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == ():
        return "none"
    return ", ".join(value) if isinstance(value, tuple) else " ".join(str(value).split())


def slug(fact: Fact) -> str:
    """Stable between runs and servers: kind and identity, in letters that a file of ids can hold."""
    parts = [fact.kind]
    for part in fact.identity:
        parts += part if isinstance(part, tuple) else [str(part)]
    words = "".join(c if c.isalnum() or c in "._" else " " for c in " ".join(parts).lower())
    return "-".join(words.split())
