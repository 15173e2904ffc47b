"""Rows of the ledger as pages show them, with what their ids mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError
from django.urls import reverse

from auth_app.api_keys import masked
from data_app.models import Dataset

from . import keys

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# Of the table as ``t`` and its user as ``u``; last the rows that give this one back, each by an index.
COLUMNS = """
    t.id, t.created_at, t.type, t.amount, t.operation, t.resource_id, t.payer, t.user_id, t.team_id,
    t.api_key_id, t.balance_after, t.idempotency_key, t.refund_of, t.reversal_of, t.held_until, u.email,
    (SELECT json_agg(json_build_array(l.id, l.amount, l.how) ORDER BY l.id) FROM (
        SELECT r.id, r.amount, 'refund' AS how FROM public.credit_transactions r WHERE r.refund_of = t.id
        UNION ALL
        SELECT r.id, r.amount, r.operation FROM public.credit_transactions r
        WHERE r.user_id = t.user_id AND r.reversal_of = t.id AND t.amount > 0
    ) AS l)
"""


@dataclass(frozen=True, slots=True)
class Link:
    """A row that gives back what another has taken, or takes back what it has given."""

    id: str
    amount: int
    # refund, or the operation of what a reversal has written
    how: str

    @property
    def address(self) -> str:
        return reverse("admin:auth_app_credittransaction_change", args=[self.id])

    @property
    def words(self) -> str:
        return LINKED.get(self.how, "reversed")


# A shortfall is what a reversal did not find in the account.
LINKED = {"refund": "given back", "shortfall": "missing", "reinstatement": "given again"}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of ``credit_transactions``; the amount in credits, times in UTC."""

    id: str
    created_at: datetime
    type: str
    amount: int
    operation: str | None
    resource_id: str | None
    payer: str
    user_id: str
    team_id: str | None
    # Never the secret: its beginning and its end.
    masked_key: str | None
    key_address: str | None
    balance_after: int | None
    idempotency_key: str | None
    refund_of: str | None
    reversal_of: str | None
    held_until: datetime | None
    email: str | None
    links: tuple[Link, ...] = ()
    # Of the dataset that ``resource_id`` names, where it is one.
    resource_name: str | None = None

    @property
    def kind(self) -> str:
        """The type, and what the type does not say."""
        if self.held_until is not None:
            return "hold" if self.amount < 0 else "hold ended"
        if self.reversal_of is not None:
            return f"{self.type}, of a reversal"
        return self.type

    @property
    def address(self) -> str:
        return reverse("admin:auth_app_credittransaction_change", args=[self.id])

    @property
    def returned(self) -> int:
        """What refunds have given back of a usage, or reversals have taken of a purchase."""
        return abs(sum(link.amount for link in self.links))

    @property
    def person_address(self) -> str:
        return reverse("admin:auth_app_user_change", args=[self.user_id])


def row(values: Sequence[Any]) -> Row:
    """The Row of what ``COLUMNS`` has selected."""
    (id_, created_at, type_, amount, operation, resource, payer, user, team, key, *rest) = values
    balance, idempotency_key, refund_of, reversal_of, held_until, email, links = rest
    return Row(
        id=id_,
        created_at=created_at.replace(tzinfo=UTC),
        type=type_,
        amount=amount,
        operation=operation,
        resource_id=resource,
        payer=payer,
        user_id=user,
        team_id=team,
        masked_key=None if key is None else masked(key),
        key_address=None if key is None else keys.address(user, key),
        balance_after=balance,
        idempotency_key=idempotency_key,
        refund_of=refund_of,
        reversal_of=reversal_of,
        held_until=held_until and held_until.replace(tzinfo=UTC),
        email=email,
        links=tuple(Link(*each) for each in _json(links) or ()),
    )


def _json(value: Any) -> Any:
    # Django leaves jsonb and json as text.
    return json.loads(value) if isinstance(value, str) else value


def named(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows with the names of their datasets, in at most one query of the other database.

    Without the names where that does not answer: the ledger is readable without.
    """
    rows = tuple(rows)
    ids = {
        each.resource_id for each in rows if each.resource_id and UUID.fullmatch(each.resource_id)
    }
    if not ids:
        return rows
    try:
        found = Dataset.objects.using("fltr").filter(pk__in=ids).values_list("pk", "name")
        names = {str(pk): name for pk, name in found}
    except DatabaseError:
        return rows
    return tuple(
        replace(each, resource_name=names.get((each.resource_id or "").lower())) for each in rows
    )
