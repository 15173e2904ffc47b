"""Whose consent an act on a database needs, and whether it has been given.

Pure: plans and what the operator has said go in; the names still to be typed, or a refusal, come out.
A protected database needs its name and the token of a plan. The token dies when the content changes
or time passes; it is a seal against mistakes, not against malice: whoever could forge it can drop the
schema as well.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from fltr_project.postgres.target import Target
from fltr_project.words import counted, listed

from .errors import (
    BackupRequired,
    ContentChanged,
    DeadToken,
    LossNotAccepted,
    NameMissing,
    NoTerminal,
    TokenMissing,
    Unconfirmed,
    WrongName,
)
from .inventory import Content
from .plan import Plan

ENVIRONMENTS = ("development", "test", "staging", "production")
# Environments in which a database may be emptied without its name and a token.
FREE = frozenset({"development", "test"})
VALID_FOR = timedelta(minutes=15)
_TOKEN = re.compile(r"^([0-9a-f]{8})-([0-9a-f]{6})-([0-9a-f]{10})$")


@dataclass(frozen=True)
class Consent:
    """What the operator has said in advance about acting on the databases of these plans."""

    plans: Sequence[Plan]
    # Databases named on the command line, instead of being typed when asked.
    names: Sequence[str] = ()
    token: str | None = None
    # Whether a protected database needs a token, as it does where something could be lost unseen.
    needs_token: bool = True
    # Whether a database without an environment counts as protected even when it is empty.
    unmarked_is_protected: bool = False

    @property
    def protected(self) -> tuple[Plan, ...]:
        return tuple(
            plan
            for plan in self.plans
            if is_protected(plan)
            or (self.unmarked_is_protected and plan.target.environment is None)
        )

    @property
    def lacks_token(self) -> bool:
        return bool(self.protected) and self.needs_token and self.token is None

    def to_ask(self, *, interactive: bool, terminal: bool) -> tuple[Plan, ...]:
        """The plans whose database the operator has yet to name; empty when all is consented to.

        ``interactive`` says that the operator wants to be asked, ``terminal`` that it can be done.
        What was given must be right even where it was not needed. Raises WrongName, DeadToken,
        NoTerminal, NameMissing or TokenMissing, all of them Refused.
        """
        require_known_names(self.plans, self.names)
        if self.token is not None:
            require_valid(self.token, self.plans)
        unnamed = tuple(plan for plan in self.plans if plan.target.database not in self.names)
        why = " and ".join(f"{plan.target} {why_protected(plan)}" for plan in self.protected)
        if interactive and unnamed and not terminal:
            raise self._lacking(NoTerminal, "Guard 'terminal': there is no terminal to ask on.")
        if not interactive and any(plan in unnamed for plan in self.protected):
            raise self._lacking(
                NameMissing, f"Guard 'environment': {why}, and its name was not given."
            )
        if self.lacks_token:
            raise self._lacking(
                TokenMissing, f"Guard 'token': {why}, so a look at what would be lost comes first."
            )
        return unnamed if interactive else ()

    def _lacking(self, cause: type[Unconfirmed], sentence: str) -> Unconfirmed:
        return cause(
            sentence,
            databases=tuple(plan.target.database for plan in self.protected),
            lacks_token=self.lacks_token,
            unmarked=not all(plan.target.environment for plan in self.protected),
        )


def is_protected(plan: Plan) -> bool:
    """Whether the database counts as production: marked so, or unmarked with rows in it."""
    return protects(plan.target.environment, plan.product_rows)


def protects(environment: str | None, product_rows: int) -> bool:
    """As ``is_protected``, of a database with this mark and so many rows of the product's."""
    return environment not in FREE if environment else product_rows > 0


def why_protected(plan: Plan) -> str:
    """What a protected database is or holds, as it stands after its name."""
    if plan.target.environment:
        return f"is marked {plan.target.environment}"
    rows = counted(plan.product_rows, "rows", exact=plan.is_exact)
    return f"is not marked as anything and holds {rows} in the product's tables"


def require_accepted(plans: Sequence[Plan], accepted: Collection[str]) -> None:
    """Raise LossNotAccepted when a protected database holds what will not come back, of a kind that
    the operator has not named."""
    for plan in plans:
        kinds = [loss.kind for loss in plan.losses if loss.kind not in accepted]
        if kinds and is_protected(plan):
            named = listed(
                [f"{loss.kind}: {loss.object}" for loss in plan.losses if loss.kind in kinds]
            )
            raise LossNotAccepted(
                f"Guard 'loss': {plan.target} {why_protected(plan)}, and the migrations do not make again "
                f"what others have made there: {named}.",
                tuple(dict.fromkeys(kinds)),
            )


def require_known_names(plans: Sequence[Plan], names: Sequence[str]) -> None:
    """Raise WrongName when a confirmed name is not that of one of the plans' databases."""
    for name in names:
        if name not in {plan.target.database for plan in plans}:
            raise WrongName(
                f"Guard 'confirm': {name!r} does not name what this is about, which is "
                f"{_names(plans)}."
            )


def require_backup(plan: Plan) -> None:
    """Raise BackupRequired for a protected database that is about to be emptied without a backup."""
    if is_protected(plan):
        raise BackupRequired(
            f"Guard 'backup': {plan.target} {why_protected(plan)}, so it is not emptied without "
            "a backup."
        )


def is_unchanged(plan: Plan, target: Target, content: Content) -> bool:
    """Whether the database still is what the plan says.

    ``target`` and ``content`` are what the server says now, when nobody else can write any more. Whoever
    consented has seen what the plan says, and the backup has just that; so a protected database that
    has changed, or one that has become protected since, raises ContentChanged.
    """
    now = replace(plan, target=target, rows=content.rows, fingerprint=content.fingerprint)
    same = (now.fingerprint, target.environment) == (plan.fingerprint, plan.target.environment)
    if same or not (is_protected(plan) or is_protected(now)):
        return same
    raise ContentChanged(
        f"Guard 'content': {plan.target} has changed since its plan was read, so it holds what "
        "nobody agreed to lose."
    )


def issue_token(plans: Sequence[Plan]) -> str:
    """The token of these plans together: when by the server's clock, what target, what content."""
    return _token(plans, int(max(plan.at for plan in plans).timestamp()))


def require_valid(token: str, plans: Sequence[Plan]) -> None:
    """Raise DeadToken, saying why, unless it was issued for just these plans a short time ago."""
    found = _TOKEN.match(token.strip().lower())
    if found is None:
        raise DeadToken(f"Guard 'token': {token!r} is not a token of a plan.")
    seconds = int(found[1], 16)
    names = _names(plans)
    if found[2] != _hash(seconds, *map(_identity, plans))[:6]:
        raise DeadToken(
            f"Guard 'token': {token} was not issued for {names}, or before a mark was changed."
        )
    age = max(plan.at for plan in plans) - datetime.fromtimestamp(seconds, UTC)
    # The clocks of two servers, one token: a few seconds of the future are none.
    if not -timedelta(seconds=5) <= age <= VALID_FOR:
        raise DeadToken(
            f"Guard 'token': {token} is {age.total_seconds() / 60:.0f} minutes old, and a token is "
            f"good for {VALID_FOR.total_seconds() / 60:.0f}."
        )
    if token.strip().lower() != _token(plans, seconds):
        raise DeadToken(
            f"Guard 'token': {names} changed after {token} was issued. Stop what writes to it and "
            "look at the plan again."
        )


def _token(plans: Sequence[Plan], seconds: int) -> str:
    target = _hash(seconds, *map(_identity, plans))
    content = _hash(seconds, *map(_identity, plans), *(plan.fingerprint for plan in plans))
    return f"{seconds:08x}-{target[:6]}-{content[:10]}"


def _identity(plan: Plan) -> str:
    """The database as the server names itself; a copy of its disk has another address."""
    it = plan.target
    return json.dumps(
        [it.system_identifier, it.database_oid, it.database, it.server, it.environment]
    )


def _hash(seconds: int, *parts: str) -> str:
    return hashlib.sha256(json.dumps([seconds, *parts]).encode()).hexdigest()


def _names(plans: Sequence[Plan]) -> str:
    return " and ".join(plan.target.database for plan in plans)
