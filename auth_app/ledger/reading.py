"""Reading the ledger: balances, history and what was spent on what."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import connections

from . import calls
from .types import CreditError, Entry, OperationUsage, Statement, UsageSummary

# Operations of rows that are no use of credits: what expired at a renewal, and what corrects a ledger, by
# `reconcile_credits --repair` or for a member who has gone. The SQL functions refund none of them.
_EXPIRY, _CORRECTIONS = "rollover", frozenset({"reconcile", "departure"})
# By payer: its balance where the user may use it, and its rows.
_BALANCES = {
    "user": "SELECT credits FROM public.user_credits WHERE user_id = %(user)s",
    "team": """
        SELECT credits FROM public.teams g WHERE g.id = %(team)s
        AND (g.owner_id = %(user)s OR EXISTS (
            SELECT FROM public.user_credits m WHERE m.user_id = %(user)s AND m.team_id = g.id))
    """,
    "api_key": """
        SELECT credits FROM public.api_key_credits
        WHERE api_key = %(api_key)s AND user_id = %(user)s
    """,
}


def balance(
    user_id: str,
    *,
    team_id: str | None = None,
    api_key: str | None = None,
    using: str = "auth",
) -> int:
    """The credits of the account that would pay. Read-only; raises UnknownAccount."""
    payer, account = calls.payer(user_id, team_id, api_key)
    with connections[using].cursor() as cursor:
        cursor.execute(_BALANCES[payer], account)
        row = cursor.fetchone()
    if row is None:
        raise _unknown(user_id, team_id, api_key)
    return int(row[0])


def history(
    user_id: str, *, limit: int = 50, before: Entry | None = None, using: str = "auth"
) -> list[Entry]:
    """The user's transactions, newest first, ``limit`` at most. Read-only, one round trip.

    ``before`` is the last entry of the page before; without it the first page comes.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT {calls.entry_columns('t')} FROM public.credit_transactions t"  # noqa: S608
            " WHERE t.user_id = %s AND (t.created_at, t.id) < (%s, %s)"
            " ORDER BY t.created_at DESC, t.id DESC LIMIT %s",
            (
                user_id,
                before.created_at.replace(tzinfo=None) if before else "infinity",
                before.id if before else "",
                limit,
            ),
        )
        return [calls.entry(row) for row in calls.named(cursor)]


def statement(
    user_id: str,
    *,
    team_id: str | None = None,
    api_key: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    using: str = "auth",
) -> Statement:
    """What changed the account's balance from ``since`` up to, not including, ``until`` (aware datetimes).

    Read-only, one round trip: the opening balance is the sum of all earlier rows, so it
    and the movements are the closing balance whoever wrote them. Whether that is the balance that the
    account has is what ``reconcile_credits`` says. Raises UnknownAccount as ``balance`` does.
    """
    payer, account = calls.payer(user_id, team_id, api_key)
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"""
            WITH rows AS NOT MATERIALIZED (
                SELECT t.*, t.created_at < %(since)s AS earlier FROM public.credit_transactions t
                WHERE t.payer = %(payer)s AND t.created_at < %(until)s AND {calls.ROWS_OF[payer]}
            )
            SELECT ({_BALANCES[payer]}) IS NOT NULL AS known,
                   (SELECT coalesce(sum(amount), 0)::bigint FROM rows WHERE earlier) AS opening,
                   {calls.entry_columns("t")}
            FROM (SELECT) AS always LEFT JOIN rows t ON NOT t.earlier ORDER BY t.id
            """,  # noqa: S608
            {
                **account,
                "payer": payer,
                "since": _utc(since, "-infinity"),
                "until": _utc(until, "infinity"),
            },
        )
        rows = calls.named(cursor)
    if not rows[0]["known"]:
        raise _unknown(user_id, team_id, api_key)
    return Statement(
        opening=rows[0]["opening"],
        entries=tuple(calls.entry(row) for row in rows if row["id"] is not None),
    )


def usage_summary(
    user_id: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    using: str = "auth",
) -> UsageSummary:
    """What the user spent from ``since`` up to, not including, ``until`` (aware datetimes).

    Read-only, one round trip. The most expensive operation comes first. What expired at a renewal, what
    was taken back of purchases and what was corrected is not spent and no operation: it stands in
    ``expired``, ``reversed`` and ``corrected``.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT type, operation, held_until IS NOT NULL, reversal_of IS NOT NULL, count(*),"
            " sum(amount)::bigint"
            " FROM public.credit_transactions"
            " WHERE user_id = %s AND created_at >= %s AND created_at < %s"
            " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
            (user_id, _utc(since, "-infinity"), _utc(until, "infinity")),
        )
        rows = cursor.fetchall()
    used, back = {}, {}
    granted = held = expired = corrected = taken_back = 0
    for kind, operation, of_hold, of_reversal, count, total in rows:
        if of_hold:
            held -= total
        elif of_reversal:
            taken_back -= total
        elif kind == "usage" and operation == _EXPIRY:
            expired -= total
        elif kind in {"usage", "bonus"} and operation in _CORRECTIONS:
            corrected += total
        elif kind == "usage":
            used[operation] = count, -total
        elif kind == "refund":
            back[operation] = total
        else:
            granted += total
    operations = [
        OperationUsage(operation, *used.get(operation, (0, 0)), back.get(operation, 0))
        for operation in used | back
    ]
    return UsageSummary(
        spent=sum(total for _, total in used.values()),
        refunded=sum(back.values()),
        granted=granted,
        expired=expired,
        reversed=taken_back,
        corrected=corrected,
        operations=tuple(sorted(operations, key=lambda each: each.spent, reverse=True)),
        held=held,
    )


def _unknown(user_id: str, team_id: str | None, api_key: str | None) -> CreditError:
    account = calls.account_name(user_id, team_id, api_key)
    return calls.refusal("unknown_account", 0, 0, account)


def _utc(moment: datetime | None, default: str) -> datetime | str:
    return default if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
