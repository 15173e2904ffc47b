"""Pages of the ledger by keyset: the last is as fast as the first, and none counts the rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.core.exceptions import BadRequest
from django.db import connections
from django.db.backends.utils import CursorWrapper

from fltr_project.postgres.search_path import pinned

from .rows import COLUMNS, Row, row

PAGE = 50
# Rows that are looked at for a page whose filter no index serves; further ones are a click away.
WINDOW = 25_000
# Rows of a download that are fetched at once.
BATCH = 5_000

_PAYERS_BALANCE = """
    SELECT CASE t.payer
        WHEN 'user' THEN (SELECT a.credits FROM public.user_credits a WHERE a.user_id = t.user_id)
        WHEN 'team' THEN (SELECT g.credits FROM public.teams g WHERE g.id = t.team_id)
        ELSE (SELECT k.credits FROM public.api_key_credits k WHERE k.api_key = t.api_key_id) END
    FROM public.credit_transactions t WHERE t.id = %s::text
"""


@dataclass(frozen=True)
class Filter:
    """Which rows; an unset field leaves all. ``since`` and ``until`` are days in UTC, both included."""

    type: str = ""
    operation: str = ""
    payer: str = ""
    user: str = ""
    team: str = ""
    # A whole API key, with its user; no address says it.
    api_key: str = ""
    since: date | None = None
    until: date | None = None
    # Credits without their sign: of usages and of grants alike.
    least: int | None = None
    most: int | None = None

    @property
    def is_indexed(self) -> bool:
        """Whether the rows are found in the order of a page without looking at others."""
        return bool(self.user or self.team) or (
            self.payer in {"", "user"}
            and self.least is self.most is None
            and not (self.type and self.operation)
        )

    @property
    def lead(self) -> str | None:
        """The column that the index of this filter begins with, before the time."""
        if self.user or self.team:
            return None
        if self.operation:
            return "operation"
        return "type" if self.type not in {"", "usage"} else None

    def conditions(self, lead: str | None) -> tuple[list[str], dict[str, Any]]:
        """SQL conditions on ``t``, and their parameters; ``lead`` is the column that the order begins with."""
        known = {
            _equals("type", lead): self.type or None,
            _equals("operation", lead): self.operation or None,
            "t.payer = %(payer)s": self.payer or None,
            "t.user_id = %(user)s": self.user or None,
            "t.team_id = %(team)s": self.team or None,
            "t.api_key_id = %(api_key)s": self.api_key or None,
            "t.created_at >= %(since)s": self.since,
            "t.created_at < %(until)s": self.until and self.until + timedelta(days=1),
            "abs(t.amount::bigint) >= %(least)s": self.least,
            "abs(t.amount::bigint) <= %(most)s": self.most,
        }
        conditions = [text for text, value in known.items() if value is not None]
        if self.type and self.type != "usage":
            # So that the planner sees that the partial index fits, also in a prepared statement.
            conditions.append("t.type <> 'usage'")
        names = (
            "type",
            "operation",
            "payer",
            "user",
            "team",
            "api_key",
            "since",
            "until",
            "least",
            "most",
        )
        return conditions, dict(zip(names, known.values(), strict=True))


def _equals(column: str, lead: str | None) -> str:
    """A condition that the column has the filter's value.

    Of the index's first column as a range, and that column is in the order: for an equality the planner leaves
    it out of the order, and where it takes the rows for evenly spread, it looks for the seldom ones by time.
    """
    if column != lead:
        return f"t.{column} = %({column})s"
    return f"t.{column} >= %({column})s AND t.{column} <= %({column})s"


@dataclass(frozen=True)
class Key:
    """A place in the order of the rows: by time, then by id."""

    created_at: datetime
    id: str

    def __str__(self) -> str:
        return f"{self.created_at.replace(tzinfo=None).isoformat()}_{self.id}"


def key(text: str) -> Key:
    """The Key of its text; raises BadRequest for another."""
    moment, underscore, id_ = text.partition("_")
    try:
        if not underscore:
            raise ValueError
        return Key(datetime.fromisoformat(moment).replace(tzinfo=None), id_)
    except ValueError:
        raise BadRequest("The address names no place in the ledger.") from None


@dataclass(frozen=True)
class Page:
    """Rows, the newest first, and where the pages beside them begin; None where there is none."""

    rows: tuple[Row, ...]
    # Older rows begin before it, newer ones after it.
    older: Key | None
    newer: Key | None
    # How many rows the filter finds, exactly or as the planner thinks.
    total: int
    exact: bool
    # Where no index serves the filter: back to when it was looked.
    looked_until: datetime | None = None


def page(
    cursor: CursorWrapper,
    filter_: Filter,
    *,
    before: Key | None = None,
    after: Key | None = None,
    oldest: bool = False,
    counted: bool = True,
) -> Page:
    """The page before or after a key, the oldest, or without any of them the newest; by a pinned cursor.

    Read-only: 1 query, one more unless it is ``counted``, and one where no index serves the filter.
    """
    upward = oldest or after is not None
    start = after if after is not None else before
    conditions, parameters = filter_.conditions(filter_.lead)
    bounded = [*conditions, *_from(filter_, start, upward)]
    parameters |= _key_parameters(start)
    end = None
    if not filter_.is_indexed:
        end = _end_of_window(cursor, filter_, start, upward)
        if end is not None:
            bounded.append(f"t.created_at {'<=' if upward else '>='} %(end)s")
            parameters["end"] = end
    rows = _fetch(cursor, filter_, bounded, parameters, upward, PAGE + 1)
    more, rows = len(rows) > PAGE, rows[:PAGE]
    total, exact = len(rows), start is None and not more and end is None
    if counted and not exact:
        total = _estimate(cursor, filter_)
    beyond: Key | None = None
    if more:
        beyond = Key(rows[-1].created_at, rows[-1].id)
    elif end is not None:
        # All of the window has been looked at, rows at its last moment included.
        beyond = Key(end, "" if not upward else "\U0010ffff")
    behind = None if start is None or not rows else Key(rows[0].created_at, rows[0].id)
    if oldest:
        behind = None
    if upward:
        rows.reverse()
    return Page(
        rows=tuple(rows),
        older=behind if upward else beyond,
        newer=beyond if upward else behind,
        total=max(total, len(rows)),
        exact=exact,
        looked_until=end if end is not None and not more else None,
    )


def everything(filter_: Filter, *, using: str = "auth") -> Iterator[Row]:
    """All rows of the filter, the newest first, fetched in batches: memory does not grow with them."""
    start: Key | None = None
    conditions, values = filter_.conditions(filter_.lead)
    while True:
        parameters = values | _key_parameters(start)
        bounded = [*conditions, *_from(filter_, start, upward=False)]
        with pinned(connections[using]) as cursor:
            end = None
            if not filter_.is_indexed:
                end = _end_of_window(cursor, filter_, start, upward=False)
                if end is not None:
                    bounded.append("t.created_at >= %(end)s")
                    parameters["end"] = end
            rows = _fetch(cursor, filter_, bounded, parameters, False, BATCH)
        yield from rows
        if len(rows) == BATCH:
            start = Key(rows[-1].created_at, rows[-1].id)
        elif end is not None:
            start = Key(end, "")
        else:
            return


def _from(filter_: Filter, start: Key | None, upward: bool) -> list[str]:
    if start is None:
        return []
    sign, lead = ">" if upward else "<", filter_.lead
    if lead is None:
        return [f"(t.created_at, t.id) {sign} (%(moment)s, %(id)s)"]
    return [f"(t.{lead}, t.created_at, t.id) {sign} (%({lead})s, %(moment)s, %(id)s)"]


def _key_parameters(start: Key | None) -> dict[str, Any]:
    if start is None:
        return {}
    return {"moment": start.created_at.replace(tzinfo=None), "id": start.id}


def _fetch(
    cursor: Any,
    filter_: Filter,
    conditions: list[str],
    parameters: dict[str, Any],
    upward: bool,
    limit: int,
) -> list[Row]:
    columns = [*filter(None, [filter_.lead]), "created_at", "id"]
    order = ", ".join(f"t.{column} {'ASC' if upward else 'DESC'}" for column in columns)
    cursor.execute(
        f"""
        SELECT {COLUMNS} FROM (
            SELECT t.* FROM public.credit_transactions t {_where(conditions)}
            ORDER BY {order} LIMIT {limit}
        ) AS t LEFT JOIN public.users u ON u.id = t.user_id ORDER BY {order}
        """,  # noqa: S608
        parameters,
    )
    return [row(values) for values in cursor.fetchall()]


def _end_of_window(
    cursor: Any, filter_: Filter, start: Key | None, upward: bool
) -> datetime | None:
    """The moment of the row that is ``WINDOW`` rows further, or None where there are not that many."""
    served = Filter(
        type=filter_.type,
        operation=filter_.operation,
        since=filter_.since,
        until=filter_.until,
    )
    conditions, parameters = served.conditions(served.lead)
    columns = [*filter(None, [served.lead]), "created_at"]
    order = ", ".join(f"t.{column} {'ASC' if upward else 'DESC'}" for column in columns)
    # By time alone, which the index has: rows of one moment are all in one window, and each ends beyond its start.
    if start is not None:
        conditions.append(f"t.created_at {'>' if upward else '<'} %(moment)s")
    cursor.execute(
        f"""
        SELECT t.created_at FROM public.credit_transactions t {_where(conditions)}
        ORDER BY {order} OFFSET {WINDOW} LIMIT 1
        """,  # noqa: S608
        parameters | _key_parameters(start),
    )
    found = cursor.fetchone()
    return None if found is None else found[0]


def _estimate(cursor: Any, filter_: Filter) -> int:
    """How many rows the planner thinks there are, which costs a millisecond at any size."""
    conditions, parameters = filter_.conditions(None)
    cursor.execute(
        f"EXPLAIN (FORMAT JSON) SELECT FROM public.credit_transactions t {_where(conditions)}",
        parameters,
    )
    (plan,) = cursor.fetchone()
    if isinstance(plan, str):
        plan = json.loads(plan)
    return int(plan[0]["Plan"]["Plan Rows"])


def _where(conditions: list[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def one(cursor: CursorWrapper, id_: str) -> Row | None:
    """The row with this id, by a pinned cursor. Read-only."""
    rows = _fetch(cursor, Filter(), ["t.id = %(id)s"], {"id": id_}, False, 1)
    return rows[0] if rows else None


def payers_balance(cursor: CursorWrapper, row_id: str) -> int | None:
    """What the account has now that a row is of, by a pinned cursor; None where it is gone. Read-only."""
    cursor.execute(_PAYERS_BALANCE, [row_id])
    found = cursor.fetchone()
    return None if found is None else found[0]
