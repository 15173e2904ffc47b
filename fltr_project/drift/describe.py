"""Facts in words: in those of SQL where they exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fltr_project.catalog.facts import Fact, ForeignKey, Grants, enabled_in_words


def describe(fact: Fact, changed: Sequence[str] = ()) -> str:
    """What the fact is, cut down to the fields in ``changed`` where there are some."""
    is_rule = isinstance(fact, ForeignKey) and set(changed) <= {
        "target",
        "target_columns",
        "on_delete",
    }
    if not changed or is_rule or isinstance(fact, Grants):
        return fact.description
    return ", ".join(_field(name, getattr(fact, name)) for name in changed)


def _field(name: str, value: Any) -> str:
    return enabled_in_words(value) if name == "enabled" else f"{_word(name)} {_value(name, value)}"


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
