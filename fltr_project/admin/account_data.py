"""What there is to know of an account: a user's own, a team's or an API key's, in one query each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from django.db.backends.utils import CursorWrapper
from django.urls import reverse

from auth_app.api_keys import masked

from . import keys

# Days of the chart.
DAYS = 90
_HOLDS = """
    (SELECT json_agg(h ORDER BY h.held_until) FROM (
        SELECT h.id, h.amount, h.operation, h.resource_id, h.created_at, h.held_until
        FROM public.credit_transactions h
        WHERE coalesce(h.api_key_id, h.team_id, h.user_id) = {account} AND h.held_until IS NOT NULL
          AND h.amount < 0 AND h.payer = '{payer}'
          AND NOT EXISTS (SELECT FROM public.credit_transactions r WHERE r.refund_of = h.id)
        ORDER BY h.held_until DESC LIMIT 20) AS h) AS holds
"""
_DAYS = """
    (SELECT json_object_agg(d.day, d.total) FROM (
        SELECT t.created_at::date AS day, sum(t.amount) AS total FROM public.credit_transactions t
        WHERE {rows} AND t.payer = '{payer}'
          AND t.created_at >= timezone('utc', now())::date - {days}
        GROUP BY 1) AS d) AS days
"""
_KEYS = """
    (SELECT json_agg(k ORDER BY k.created_at) FROM (
        SELECT k.api_key, k.user_id, k.credits, k.daily_limit, k.monthly_limit, k.created_at,
               CASE WHEN k.spent_on >= timezone('utc', now())::date
                    THEN k.spent_that_day ELSE 0 END AS today,
               CASE WHEN k.spent_on >= date_trunc('month', timezone('utc', now()))::date
                    THEN k.spent_that_month ELSE 0 END AS month
        FROM public.api_key_credits k WHERE {keys} LIMIT 50) AS k) AS keys
"""
_SUBSCRIPTIONS = """
    (SELECT json_agg(s) FROM (
        SELECT s.id, s.plan, s.status, s.period_end, s.seats, s.stripe_subscription_id,
               s.cancel_at_period_end
        FROM public.subscriptions s WHERE {subscriptions} LIMIT 10) AS s) AS subscriptions
"""
_USER = f"""
    SELECT u.id, u.name, u.email, u.email_verified, u.stripe_customer_id, u.created_at,
           a.credits, a.total_credits_purchased AS bought, a.team_id, g.name AS team_name, u.id AS owner_id,
           (SELECT json_agg(s ORDER BY s.expires_at DESC) FROM (
               SELECT s.created_at, s.expires_at, s.ip_address, s.user_agent FROM public.sessions s
               WHERE s.user_id = u.id ORDER BY s.expires_at DESC LIMIT 10) AS s) AS sessions,
           (SELECT json_agg(o ORDER BY o.name) FROM (
               SELECT o.id, o.name FROM public.teams o WHERE o.owner_id = u.id LIMIT 20) AS o) AS teams,
           {_KEYS.format(keys="k.user_id = u.id")},
           {_SUBSCRIPTIONS.format(subscriptions="s.reference_id = u.id OR s.stripe_customer_id = u.stripe_customer_id")},
           {_HOLDS.format(account="u.id", payer="user")},
           {_DAYS.format(rows="t.user_id = u.id", payer="user", days=DAYS)}
    FROM public.users u
    LEFT JOIN public.user_credits a ON a.user_id = u.id
    LEFT JOIN public.teams g ON g.id = a.team_id
    WHERE u.id = %(id)s
"""  # noqa: S608
_TEAM = f"""
    SELECT g.id, g.name, g.created_at, g.credits, g.owner_id AS team_owner, u.email AS owner_email,
           coalesce(g.owner_id, (SELECT m.user_id FROM public.user_credits m WHERE m.team_id = g.id
                                 ORDER BY m.user_id LIMIT 1)) AS owner_id,
           (SELECT json_agg(m ORDER BY m.email) FROM (
               SELECT p.id, p.email FROM public.user_credits m JOIN public.users p ON p.id = m.user_id
               WHERE m.team_id = g.id LIMIT 50) AS m) AS members,
           {_KEYS.format(keys="k.team_id = g.id")},
           {_SUBSCRIPTIONS.format(subscriptions="s.reference_id = g.id")},
           {_HOLDS.format(account="g.id", payer="team")},
           {_DAYS.format(rows="t.team_id = g.id", payer="team", days=DAYS)}
    FROM public.teams g LEFT JOIN public.users u ON u.id = g.owner_id WHERE g.id = %(id)s
"""  # noqa: S608
_KEY = f"""
    SELECT a.api_key AS id, a.created_at, a.credits, a.user_id AS owner_id, u.email AS owner_email,
           a.team_id, g.name AS team_name,
           {_KEYS.format(keys="k.api_key = a.api_key")},
           {_HOLDS.format(account="a.api_key", payer="api_key")},
           {_DAYS.format(rows="t.user_id = a.user_id AND t.api_key_id = a.api_key", payer="api_key", days=DAYS)}
    FROM public.api_key_credits a JOIN public.users u ON u.id = a.user_id
    LEFT JOIN public.teams g ON g.id = a.team_id WHERE a.api_key = %(id)s
"""  # noqa: S608
_QUERIES = {"user": _USER, "team": _TEAM, "api_key": _KEY}
_LISTS = ("sessions", "teams", "members", "keys", "subscriptions", "holds")
_MOMENTS = ("created_at", "expires_at", "held_until", "period_end")


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as pages show it, with what its limits count of today and of this month; credits."""

    masked: str
    address: str
    credits: int
    daily_limit: int | None
    monthly_limit: int | None
    today: int
    month: int


@dataclass(frozen=True)
class Account:
    """Who pays, and everything beside the ledger that is known of it; credits, times in UTC."""

    payer: str
    # Of a key: the secret itself, which no page shows.
    id: str = field(repr=False)
    # None for a user whose sign-up made no account.
    credits: int | None
    # Whose rows the account's rows are; None for a team that nobody owns or is in.
    owner_id: str | None
    keys: tuple[Key, ...]
    # By day, what the balance changed by; only days with a change.
    days: Mapping[date, int]
    # The rest by its column: texts, numbers, and lists of dicts.
    facts: Mapping[str, Any]

    @property
    def grant_address(self) -> str:
        """Of the form that gives it credits."""
        if self.payer == "api_key":
            names = [self.owner_id, keys.digest(self.id)]
            return reverse("admin:auth_app_apikeycredits_grant", args=names)
        return reverse(f"admin:auth_app_{self.payer}_grant", args=[self.id])

    @property
    def arguments(self) -> dict[str, Any]:
        """How the ledger's functions call this account."""
        return {
            "team_id": self.id if self.payer == "team" else None,
            "api_key": self.id if self.payer == "api_key" else None,
        }


def account(cursor: CursorWrapper, payer: str, id_: str) -> Account | None:
    """The account of a user, a team or an API key (``payer`` as the ledger calls it), by a pinned cursor.

    Read-only, one query.
    """
    cursor.execute(_QUERIES[payer], {"id": id_})
    values = cursor.fetchone()
    if values is None:
        return None
    facts = dict(zip((column.name for column in cursor.description), values, strict=True))
    for name in _LISTS:
        facts[name] = [_item(each) for each in _json(facts.get(name)) or ()]
    facts["created_at"] = facts["created_at"].replace(tzinfo=UTC)
    days = _json(facts.pop("days")) or {}
    return Account(
        payer=payer,
        id=facts.pop("id"),
        credits=facts.pop("credits"),
        owner_id=facts.pop("owner_id"),
        keys=tuple(_key(each) for each in facts.pop("keys")),
        days={date.fromisoformat(day): int(total) for day, total in days.items()},
        facts=facts,
    )


def _key(item: Mapping[str, Any]) -> Key:
    return Key(
        masked=masked(item["api_key"]),
        address=keys.address(item["user_id"], item["api_key"]),
        credits=item["credits"],
        daily_limit=item["daily_limit"],
        monthly_limit=item["monthly_limit"],
        today=item["today"],
        month=item["month"],
    )


def _item(item: dict[str, Any]) -> dict[str, Any]:
    moments = {name: item[name] for name in _MOMENTS if item.get(name)}
    return item | {
        name: datetime.fromisoformat(text).replace(tzinfo=UTC) for name, text in moments.items()
    }


def _json(value: Any) -> Any:
    # Django leaves json as text.
    return json.loads(value) if isinstance(value, str) else value
