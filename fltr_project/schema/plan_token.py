"""Consent bound to a plan: a short token that dies when the content changes or time passes.

It is a seal against mistakes, not against malice: who could forge it can as well drop the schema.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fltr_project.errors import Refused

from .plan import Plan

VALID_FOR = timedelta(minutes=15)
# Which command prints the token, for a command that has the option.
HERE = "this command with --plan"
_FORMAT = re.compile(r"^([0-9a-f]{8})-([0-9a-f]{6})-([0-9a-f]{10})$")


def issue(plans: Sequence[Plan]) -> str:
    """The token of these plans together: when by the server's clock, what target, what content."""
    seconds = int(max(plan.at for plan in plans).timestamp())
    return _at(plans, seconds)


def require_valid(token: str, plans: Sequence[Plan], look: str = HERE) -> None:
    """Raise Refused, saying why, unless the token was issued for just these plans a short time ago.

    ``look`` is the command that prints another one.
    """
    again = f"Run {look} and use the token that it prints."
    found = _FORMAT.match(token.strip().lower())
    if found is None:
        raise Refused(f"Guard 'token': {token!r} is not a token of a plan. {again}")
    seconds = int(found[1], 16)
    names = " and ".join(plan.target.database for plan in plans)
    if found[2] != _hash(seconds, *map(_target, plans))[:6]:
        raise Refused(
            f"Guard 'token': {token} was not issued for {names}, or before a mark was changed. {again}"
        )
    age = max(plan.at for plan in plans) - datetime.fromtimestamp(seconds, UTC)
    if not -timedelta(seconds=5) <= age <= VALID_FOR:
        raise Refused(
            f"Guard 'token': {token} is {age.total_seconds() / 60:.0f} minutes old, and a token is "
            f"good for {VALID_FOR.total_seconds() / 60:.0f}. {again}"
        )
    if token.strip().lower() != _at(plans, seconds):
        raise Refused(
            f"Guard 'token': {names} changed after {token} was issued. Stop what writes to it, "
            f"look at the plan again and use its token. {again}"
        )


def _at(plans: Sequence[Plan], seconds: int) -> str:
    target = _hash(seconds, *map(_target, plans))
    content = _hash(seconds, *map(_target, plans), *(plan.mark for plan in plans))
    return f"{seconds:08x}-{target[:6]}-{content[:10]}"


def _target(plan: Plan) -> str:
    """The database as the server names itself; a copy of its disk has another address."""
    it = plan.target
    return json.dumps(
        [it.system_identifier, it.database_oid, it.database, it.server, it.environment]
    )


def _hash(seconds: int, *parts: str) -> str:
    return hashlib.sha256(json.dumps([seconds, *parts]).encode()).hexdigest()
