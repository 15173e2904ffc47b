"""The functions that programs call, taken apart: what each takes and what it answers.

Of a function that answers with a verdict the exports have a call by its name without ``try_``: a refusal is no
error of the server then, and does not abort the caller's transaction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Function

TRIES = "try_"
# What only other functions give.
INTERNAL = frozenset({"held_until", "end"})
# By the verdict of a refusal: the status of an HTTP answer, and why.
REFUSALS = {
    "insufficient": (402, "the balance is too small"),
    "unknown_account": (404, "there is no such account, or it is not this user's"),
    "unknown_hold": (404, "there is no such hold"),
    "key_reused": (409, "the idempotency key belongs to another change"),
    "nothing_to_refund": (409, "nothing, or not that much, is left to refund"),
    "nothing_to_reverse": (409, "nothing, or not that much, is left to reverse"),
    "nothing_to_reinstate": (409, "nothing, or not that much, is left to reinstate"),
    "is_hold": (409, "it is a hold: settle or release it"),
    "above_hold": (409, "more was used than was held"),
    "hold_settled": (409, "the hold was settled before"),
    "hold_released": (409, "the hold was released before"),
    "hold_expired": (409, "the hold has expired and was given back"),
    "overflow": (409, "the balance would pass 2,147,483,647"),
    "daily_limit": (429, "the API key's daily limit does not leave that much"),
    "monthly_limit": (429, "the API key's monthly limit does not leave that much"),
}


@dataclass(frozen=True)
class Value:
    """A parameter, or a column of the answer."""

    name: str
    type: str
    optional: bool = False


@dataclass(frozen=True)
class Call:
    # Of the function in SQL, and of the call in the other languages.
    function: str
    name: str
    takes: tuple[Value, ...]
    answers: tuple[Value, ...]
    # Whether it answers with a row for each of many items.
    many: bool = False


def calls(alias: str) -> tuple[Call, ...]:
    """The calls of the contract of ``alias``, by name. Touches no database."""
    found = []
    for each in contract.load(alias).of(Function):
        if not each.security_definer or each.returns == "trigger":
            continue
        if each.name.startswith(TRIES):
            values = [_value(part) for part in _parts(each.defaults or each.arguments)]
            takes = tuple(value for out, value in values if not out)
            found.append(
                Call(
                    function=each.name,
                    name=each.name.removeprefix(TRIES),
                    takes=tuple(value for value in takes if value.name not in INTERNAL),
                    answers=tuple(value for out, value in values if out),
                )
            )
        elif each.returns.startswith("TABLE("):
            inner = each.returns.removeprefix("TABLE(").removesuffix(")")
            found.append(
                Call(
                    function=each.name,
                    name=each.name,
                    takes=tuple(_value(part)[1] for part in _parts(each.arguments)),
                    answers=tuple(_value(part)[1] for part in _parts(inner)),
                    many=True,
                )
            )
    return tuple(sorted(found, key=lambda call: call.name))


def _parts(text: str) -> list[str]:
    return text.split(", ") if text else []


def _value(text: str) -> tuple[bool, Value]:
    found = re.fullmatch(
        r"(?P<out>OUT )?(?:p_)?(?P<name>\w+) (?P<type>.+?)(?P<default> DEFAULT .+)?", text
    )
    if found is None:
        raise ValueError(f"no parameter: {text}")
    return bool(found["out"]), Value(found["name"], found["type"], found["default"] is not None)
