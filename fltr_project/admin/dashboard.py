"""What the index shows: the credits of today and of 30 days, who ran out, and how both databases stand.

At most four queries: two of the people's database, one of the datasets', one of Django's own. What they
answer with is kept for a minute, in the process, and what days that are over add up to for an hour; it
names nobody by what only some may see.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.db.backends.utils import CursorWrapper
from django.utils import timezone
from django.utils.safestring import SafeString

from fltr_project.backup import directory
from fltr_project.errors import CleanSlateError, explain
from fltr_project.models import Observation
from fltr_project.postgres import environment_mark
from fltr_project.postgres.search_path import pinned

from . import charts
from .observations import CREDITS

DAYS = 30
# A balance that is soon spent.
LOW = 10
SECONDS = 60
# How long what days that are over add up to is kept: the ledger only grows, but a restore may bring older rows.
SETTLED_SECONDS = 3600
# After a day's end, for transactions that began in it.
LATE = timedelta(hours=1)
OPERATIONS = 8
_KEY = "fltr_project.admin.dashboard"
_SETTLED_KEY = f"{_KEY}.settled"

# Of a row of the ledger: what it means for the numbers; the rest are corrections and what only moves between rows.
_KIND = """
    CASE WHEN t.held_until IS NOT NULL AND t.amount < 0 THEN 'held'
         WHEN t.held_until IS NOT NULL THEN 'hold ended'
         WHEN t.reversal_of IS NOT NULL THEN 'reversed'
         WHEN t.operation IN ('reconcile', 'departure') THEN 'corrected'
         WHEN t.type = 'usage' AND t.operation = 'rollover' THEN 'expired'
         WHEN t.type = 'usage' THEN 'spent'
         WHEN t.type = 'refund' THEN 'refunded'
         ELSE 'granted' END
"""
_LEDGER = f"""
    WITH base AS MATERIALIZED (
        SELECT t.created_at::date AS day, {_KIND} AS kind, t.operation, count(*) AS number,
               sum(t.amount) AS total
        FROM public.credit_transactions t
        WHERE t.created_at >= %(since)s::date
        GROUP BY 1, 2, 3
    )
    SELECT (SELECT json_agg(d) FROM (
                SELECT b.day, b.kind, sum(b.number)::bigint AS number, sum(b.total)::bigint AS total
                FROM base b GROUP BY 1, 2) AS d),
           (SELECT json_agg(o) FROM (
                SELECT b.day < %(settled)s::date AS settled, b.operation, sum(b.number)::bigint AS number,
                       -sum(b.total)::bigint AS total,
                       coalesce(-sum(b.total) FILTER (WHERE b.day = %(today)s::date), 0)::bigint AS today
                FROM base b WHERE b.kind = 'spent' GROUP BY 1, 2) AS o)
"""  # noqa: S608
_ACCOUNTS = f"""
    SELECT d.datname, d.oid::bigint, shobj_description(d.oid, 'pg_database'),
           (SELECT json_build_object(
                'accounts', count(*), 'empty', count(*) FILTER (WHERE a.credits = 0),
                'low', count(*) FILTER (WHERE a.credits BETWEEN 1 AND {LOW}))
            FROM public.user_credits a),
           (SELECT json_agg(r) FROM (
                SELECT u.id, u.email, a.updated_at FROM public.user_credits a
                JOIN public.users u ON u.id = a.user_id
                WHERE a.credits = 0 ORDER BY a.updated_at DESC LIMIT 8) AS r),
           (SELECT json_build_object('number', count(*), 'total', coalesce(-sum(h.amount), 0))
            FROM public.credit_transactions h
            WHERE h.created_at >= timezone('utc', now())::date - {DAYS - 1}
              AND h.held_until IS NOT NULL AND h.amount < 0
              AND NOT EXISTS (SELECT FROM public.credit_transactions r WHERE r.refund_of = h.id)),
           (SELECT count(*) FROM public.api_key_credits k
            WHERE k.spent_on >= timezone('utc', now())::date AND k.spent_that_day >= k.daily_limit
               OR k.spent_on >= date_trunc('month', timezone('utc', now()))::date
                  AND k.spent_that_month >= k.monthly_limit)
    FROM pg_database d WHERE d.datname = current_database()
"""  # noqa: S608


@dataclass(frozen=True)
class Span:
    """Numbers of some days, in credits."""

    granted: int
    spent: int
    refunded: int
    held: int
    charges: int


@dataclass(frozen=True)
class Ledger:
    today: Span
    month: Span
    # operation, number, total and today, the largest first.
    operations: tuple[Mapping[str, Any], ...]
    chart: SafeString | None


@dataclass(frozen=True)
class Settled:
    """What the days from ``since`` until ``until`` add up to, which is not of them."""

    since: date
    until: date
    days: tuple[Mapping[str, Any], ...]
    operations: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Accounts:
    accounts: int
    empty: int
    low: int
    # id, email and since when, the latest first.
    ran_out: tuple[Mapping[str, Any], ...]
    holds: int
    held: int
    # API keys that have spent all of their day or month.
    limited: int


@dataclass(frozen=True)
class Database:
    """How a database stands; ``trouble`` in words where it does not answer."""

    alias: str
    name: str
    environment: str | None
    # ISO 8601; None where none has come back.
    proven: str | None
    trouble: str = ""


@dataclass(frozen=True)
class Dashboard:
    ledger: Ledger | None
    accounts: Accounts | None
    databases: tuple[Database, ...]
    drift: Mapping[str, Any] | None
    drift_at: datetime | None
    at: datetime


def dashboard() -> Dashboard:
    """The dashboard of at most a minute ago; without what a database that is down would say, and then not kept."""
    kept: Dashboard | None = cache.get(_KEY)
    if kept is not None:
        return kept
    made = _make()
    if not any(each.trouble for each in made.databases):
        cache.set(_KEY, made, SECONDS)
    return made


def forget() -> None:
    """Have the next one made anew, after something on it was looked at; days that are over stay as they were."""
    cache.delete(_KEY)


def _make() -> Dashboard:
    ledger = accounts = None
    databases = []
    try:
        with pinned(connections["auth"]) as cursor:
            ledger = _ledger(cursor, timezone.now())
            cursor.execute(_ACCOUNTS)
            name, oid, comment, *rest = cursor.fetchone()
            accounts = _accounts(*map(_json, rest))
        databases.append(_database("auth", name, environment_mark.marked(comment, name, oid)))
    except (DatabaseError, ImproperlyConfigured, CleanSlateError) as error:
        databases.append(_down("auth", error))
    try:
        with pinned(connections["fltr"]) as cursor:
            cursor.execute(environment_mark.READ)
            name, oid, comment = cursor.fetchone()
        databases.append(_database("fltr", name, environment_mark.marked(comment, name, oid)))
    except (DatabaseError, ImproperlyConfigured, CleanSlateError) as error:
        databases.append(_down("fltr", error))
    looked = Observation.objects.using("default").filter(subject=CREDITS).first()
    return Dashboard(
        ledger=ledger,
        accounts=accounts,
        databases=tuple(databases),
        drift=looked.found if looked else None,
        drift_at=looked.at if looked else None,
        at=timezone.now(),
    )


def _database(alias: str, name: str, environment: str | None) -> Database:
    try:
        proven = directory.last_proven(settings.BACKUP_DIR, alias)
    except CleanSlateError:
        proven = None
    return Database(alias, name, environment, proven)


def _down(alias: str, error: Exception) -> Database:
    trouble = explain(error) or f"It cannot be used ({type(error).__name__})."
    return Database(alias, str(connections[alias].settings_dict["NAME"]), None, None, trouble)


def _ledger(cursor: CursorWrapper, now: datetime) -> Ledger:
    today, settled = now.date(), (now - LATE).date()
    since = today - timedelta(days=DAYS - 1)
    kept: Settled | None = cache.get(_SETTLED_KEY)
    if kept is None or kept.since != since:
        kept = Settled(since, since, (), ())
    cursor.execute(_LEDGER, {"since": kept.until, "settled": settled, "today": today})
    found = [tuple(_json(each) or ()) for each in cursor.fetchone()]
    days = [{**each, "day": date.fromisoformat(each["day"])} for each in found[0]]
    if kept.until < settled:
        now_settled = Settled(
            since,
            settled,
            (*kept.days, *(each for each in days if each["day"] < settled)),
            (*kept.operations, *(each for each in found[1] if each["settled"])),
        )
        cache.set(_SETTLED_KEY, now_settled, SETTLED_SECONDS)
    rows = [*kept.days, *days]
    return Ledger(
        today=_span([each for each in rows if each["day"] == today]),
        month=_span(rows),
        operations=_operations((*kept.operations, *found[1])),
        chart=_chart(rows, today) if rows else None,
    )


def _operations(parts: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """What was spent by operation, the largest first."""
    summed: dict[str | None, Counter[str]] = defaultdict(Counter)
    for part in parts:
        summed[part["operation"]].update(
            {name: part[name] for name in ("number", "total", "today")}
        )
    largest = sorted(summed.items(), key=lambda each: -each[1]["total"])[:OPERATIONS]
    return tuple({"operation": operation, **numbers} for operation, numbers in largest)


def _span(rows: Sequence[Mapping[str, Any]]) -> Span:
    def total(value: str, *kinds: str) -> int:
        return sum(each[value] for each in rows if each["kind"] in kinds)

    return Span(
        granted=total("total", "granted"),
        spent=-total("total", "spent"),
        refunded=total("total", "refunded"),
        held=-total("total", "held", "hold ended"),
        charges=total("number", "spent"),
    )


def _chart(rows: Sequence[Mapping[str, Any]], today: date) -> SafeString:
    first = today - timedelta(days=DAYS - 1)
    days = [first + timedelta(days=n) for n in range(DAYS)]
    spans = [_span([each for each in rows if each["day"] == day]) for day in days]
    month = _span(rows)
    title = (
        f"Credits by day from {first} to {today}: {month.granted:,} granted, above the line, and "
        f"{month.spent:,} spent, hatched below it"
    )
    return charts.bars(
        [
            charts.Bar(day, max(0, span.granted), max(0, span.spent))
            for day, span in zip(days, spans, strict=True)
        ],
        title,
    )


def _accounts(numbers: Any, ran_out: Any, holds: Any, limited: int) -> Accounts:
    return Accounts(
        **numbers,
        ran_out=tuple(
            {**each, "updated_at": datetime.fromisoformat(each["updated_at"])}
            for each in ran_out or ()
        ),
        holds=holds["number"],
        held=holds["total"],
        limited=limited,
    )


def _json(value: Any) -> Any:
    # Django leaves json as text.
    return json.loads(value) if isinstance(value, str) and value[:1] in {"{", "["} else value
