"""The credit ledger: spend, grant and refund, each balance change with its transaction row.

A thin layer over the SQL functions of migration 0002, which hold for every client. Each call here is
one statement to the database ``using`` (``auth`` by default): on its own it is its own transaction,
inside ``transaction.atomic(using=using)`` it joins that. A refusal is an exception of this module
and writes nothing; it does not abort the caller's transaction, because the functions answer with a
verdict instead of an SQL error.

Who pays: the API key's own pool where ``api_key`` is given, else the team where ``team_id`` is (its
owner and members may use it), else the user.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from django.db import connections

from fltr_project.postgres.statements import Statement

from .credit_types import (
    BalanceOverflow,
    CreditError,
    Decision,
    Entry,
    InsufficientCredits,
    KeyReused,
    LimitReached,
    NothingToRefund,
    OperationUsage,
    Spend,
    UnknownAccount,
    UsageSummary,
)

__all__ = [
    "BalanceOverflow",
    "CreditError",
    "Decision",
    "Entry",
    "InsufficientCredits",
    "KeyReused",
    "LimitReached",
    "NothingToRefund",
    "OperationUsage",
    "Spend",
    "UnknownAccount",
    "UsageSummary",
    "balance",
    "consume",
    "consume_many",
    "grant",
    "history",
    "refund",
    "renew",
    "usage_summary",
]

# user_credits.credits is a PostgreSQL integer.
LARGEST = 2**31 - 1
# Operations of rows that no use of credits has written: the functions refund none of them.
LAPSE, CORRECTION = "rollover", "reconcile"

GrantType = Literal["purchase", "bonus"]


COLUMNS = (
    "id, user_id, team_id, amount, type, operation, resource_id, api_key_id, transaction_metadata,"
    " created_at, payer, balance_after, refund_of, idempotency_key"
)
_ENTRY = ", ".join(f"(r.entry).{column}" for column in COLUMNS.split(", "))
CONSUME = Statement("SELECT public.try_consume_credits_text(%s, %s, %s, %s, %s, %s, %s, %s)")
GRANT = Statement(
    f"SELECT r.verdict, r.balance, {_ENTRY} FROM public.try_grant_credits"  # noqa: S608
    "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) AS r",
)
REFUND = Statement(
    f"SELECT r.verdict, r.balance, {_ENTRY} FROM public.try_refund_credits"  # noqa: S608
    "(%s, %s, %s, %s) AS r",
)
CONSUME_MANY = Statement(
    "SELECT verdict, balance, id, created_at FROM public.consume_credits_many(%s)",
)


def consume(
    user_id: str,
    amount: int,
    *,
    operation: str,
    resource_id: str | None = None,
    team_id: str | None = None,
    api_key: str | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
    using: str = "auth",
) -> Entry:
    """Spend ``amount`` credits (1 or more). One round trip; all of it or nothing.

    With an ``idempotency_key`` it happens once for ever: a repeat returns the original row.
    ``metadata`` is anything JSON holds. Raises InsufficientCredits with the balance, LimitReached,
    UnknownAccount, KeyReused, and ValueError for an amount that is none or an empty key.
    """
    _require_amount(amount)
    _require_key(idempotency_key)
    ((answer,),) = CONSUME.rows(
        (
            user_id,
            amount,
            operation,
            resource_id,
            team_id,
            api_key,
            _json(metadata),
            idempotency_key,
        ),
        using,
    )
    replayed = False
    if answer.startswith("done ") and answer[5] != "{":
        _, digits, id_, created_at, *team = answer.split(" ", 4)
        balance_after, paying_team = int(digits), team[0] if team else None
    else:
        verdict, _, rest = answer.partition(" ")
        if verdict not in {"done", "replayed"}:
            left = int(rest) if rest.isdigit() else 0
            raise _refusal(verdict, left, amount, _account(user_id, team_id, api_key))
        replayed = verdict == "replayed"
        # What metadata became in the column: lists for tuples, one number for another.
        row = json.loads(rest)
        balance_after, id_, paying_team = row["balance"], row["id"], row["team_id"]
        created_at, resource_id, metadata = row["created_at"], row["resource_id"], row["metadata"]
    # By place: names would cost as much again.
    return Entry(
        id_,
        user_id,
        paying_team,
        -amount,
        "usage",
        operation,
        resource_id,
        api_key,
        metadata,
        datetime.fromisoformat(f"{created_at}Z"),
        "user" if api_key is team_id is None else "team" if api_key is None else "api_key",
        balance_after,
        None,
        idempotency_key,
        replayed,
    )


def grant(
    user_id: str,
    amount: int,
    *,
    operation: str,
    type: GrantType = "purchase",  # noqa: A002 - the column's name
    resource_id: str | None = None,
    team_id: str | None = None,
    api_key: str | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
    using: str = "auth",
) -> Entry:
    """Give ``amount`` credits (1 or more), bought (``purchase``) or not (``bonus``). One round trip.

    A payment provider's event id is a good ``idempotency_key``: delivered twice, granted once.
    Raises UnknownAccount, KeyReused, BalanceOverflow, and ValueError for another type or amount or
    an empty key.
    """
    return _grant(
        (
            user_id,
            amount,
            type,
            operation,
            resource_id,
            team_id,
            api_key,
            _json(metadata),
            idempotency_key,
            None,
        ),
        using,
    )


def renew(
    user_id: str,
    amount: int,
    *,
    limit: int,
    operation: str = "renewal",
    type: GrantType = "purchase",  # noqa: A002 - the column's name
    team_id: str | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
    using: str = "auth",
) -> Entry:
    """Grant a new period's ``amount`` with rollover: the balance is lifted to ``limit`` at most.

    What would lift it above lapses again, as a usage with the operation ``rollover``; credits that
    were there before are never taken. One round trip. Raises as ``grant`` does, and ValueError for
    a limit below the amount.
    """
    _require_amount(amount)
    if not amount <= limit <= LARGEST:
        raise ValueError(f"a limit of {limit} is not between the {amount} granted and {LARGEST}")
    return _grant(
        (
            user_id,
            amount,
            type,
            operation,
            None,
            team_id,
            None,
            _json(metadata),
            idempotency_key,
            limit,
        ),
        using,
    )


def refund(
    transaction_id: str,
    amount: int | None = None,
    *,
    metadata: Any = None,
    idempotency_key: str | None = None,
    using: str = "auth",
) -> Entry:
    """Give ``amount`` credits of a usage back to who paid it, or all that is left. One round trip.

    Refunds of one usage together never exceed it, however many clients try. Raises NothingToRefund
    for anything but a usage with that much left, UnknownAccount when the payer is gone, KeyReused,
    BalanceOverflow, and ValueError for an amount that is none or an empty key.
    """
    if amount is not None:
        _require_amount(amount)
    _require_key(idempotency_key)
    (row,) = REFUND.rows((transaction_id, amount, _json(metadata), idempotency_key), using)
    if row[0] == "nothing_to_refund":
        raise NothingToRefund(transaction_id, row[1])
    return _entry_or_refusal(row, amount or 0, f"The payer of {transaction_id!r}")


def consume_many(spends: Iterable[Spend], *, using: str = "auth") -> list[Decision]:
    """Spend thousands of times in one statement; a decision for each, in the order given.

    Spends of one account are decided in their order: one that does not fit is refused, a later one
    may still fit. Accounts are locked in key order, so batches do not deadlock with each other.
    Inside one batch an idempotency key is one request. Raises nothing for a refusal, and ValueError
    for an empty key or what is no whole number, before anything is sent.
    """
    items = list(spends)
    for item in items:
        _require_key(item.idempotency_key)
        if type(item.amount) is not int or item.amount.bit_length() > 63:
            raise ValueError(f"an amount of credits is a whole number, got {item.amount!r}")
    document = json.dumps(
        [
            {
                name: value
                for name, value in zip(Spend._fields, item, strict=True)
                if value is not None
            }
            for item in items
        ]
    )
    rows = CONSUME_MANY.rows((document,), using)
    return [
        Decision(item, verdict, balance, id_, created_at and created_at.replace(tzinfo=UTC))
        for item, (verdict, balance, id_, created_at) in zip(items, rows, strict=True)
    ]


def balance(
    user_id: str,
    *,
    team_id: str | None = None,
    api_key: str | None = None,
    using: str = "auth",
) -> int:
    """The credits of the account that would pay. Read-only; raises UnknownAccount."""
    with connections[using].cursor() as cursor:
        if api_key is not None:
            cursor.execute(
                "SELECT credits FROM public.api_key_credits WHERE api_key = %s AND user_id = %s",
                (api_key, user_id),
            )
        elif team_id is not None:
            cursor.execute(
                "SELECT credits FROM public.teams t WHERE id = %(team)s AND (owner_id = %(user)s"
                " OR EXISTS (SELECT FROM public.user_credits m"
                " WHERE m.user_id = %(user)s AND m.team_id = t.id))",
                {"team": team_id, "user": user_id},
            )
        else:
            cursor.execute("SELECT credits FROM public.user_credits WHERE user_id = %s", (user_id,))
        row = cursor.fetchone()
    if row is None:
        raise _refusal("unknown_account", 0, 0, _account(user_id, team_id, api_key))
    return int(row[0])


def history(
    user_id: str, *, limit: int = 50, before: Entry | None = None, using: str = "auth"
) -> list[Entry]:
    """The user's transactions, newest first, ``limit`` at most. Read-only, one round trip.

    ``before`` is the last entry of the page before; without it the first page comes.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM public.credit_transactions"  # noqa: S608
            " WHERE user_id = %s AND (created_at, id) < (%s, %s)"
            " ORDER BY created_at DESC, id DESC LIMIT %s",
            (
                user_id,
                before.created_at.replace(tzinfo=None) if before else "infinity",
                before.id if before else "",
                limit,
            ),
        )
        return [_entry(row) for row in cursor.fetchall()]


def usage_summary(
    user_id: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    using: str = "auth",
) -> UsageSummary:
    """What the user spent from ``since`` up to, not including, ``until`` (aware datetimes).

    Read-only, one round trip. The most expensive operation comes first. What lapsed at a renewal and
    what was corrected is not spent and no operation: it stands in ``lapsed`` and ``corrected``.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT type, operation, count(*), sum(amount)::bigint"
            " FROM public.credit_transactions"
            " WHERE user_id = %s AND created_at >= %s AND created_at < %s"
            " GROUP BY type, operation ORDER BY type, operation",
            (user_id, _utc(since, "-infinity"), _utc(until, "infinity")),
        )
        rows = cursor.fetchall()
    used, back = {}, {}
    granted = lapsed = corrected = 0
    for kind, operation, count, total in rows:
        if kind == "usage" and operation == LAPSE:
            lapsed -= total
        elif kind in {"usage", "bonus"} and operation == CORRECTION:
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
        lapsed=lapsed,
        corrected=corrected,
        operations=tuple(sorted(operations, key=lambda each: each.spent, reverse=True)),
    )


def _grant(parameters: tuple[Any, ...], using: str) -> Entry:
    user_id, amount, type_, _, _, team_id, api_key, _, idempotency_key, _ = parameters
    _require_amount(amount)
    _require_key(idempotency_key)
    if type_ not in {"purchase", "bonus"}:
        raise ValueError(f"credits are granted as 'purchase' or 'bonus', not as {type_!r}")
    (row,) = GRANT.rows(parameters, using)
    return _entry_or_refusal(row, amount, _account(user_id, team_id, api_key))


def _entry_or_refusal(row: tuple[Any, ...], amount: int, account: str) -> Entry:
    verdict, left, *columns = row
    if verdict not in {"done", "replayed"}:
        raise _refusal(verdict, left, amount, account)
    return _entry(columns, replayed=verdict == "replayed")


def _refusal(verdict: str, left: int, amount: int, account: str) -> CreditError:
    if verdict == "insufficient":
        return InsufficientCredits(account, left, amount)
    if verdict == "unknown_account":
        return UnknownAccount(f"{account} has no credit account.")
    if verdict == "key_reused":
        return KeyReused("The idempotency key was used for another change of credits.")
    if verdict == "overflow":
        return BalanceOverflow(f"{account} cannot hold {amount} credits more.")
    return LimitReached(verdict.removesuffix("_limit"), left, amount)


def _entry(columns: Sequence[Any], replayed: bool = False) -> Entry:
    values = [*columns, replayed]
    values[8], values[9] = _metadata(values[8]), values[9].replace(tzinfo=UTC)
    return Entry(*values)


def _metadata(written: Any) -> Any:
    # Django leaves jsonb as text.
    return json.loads(written) if isinstance(written, str) else written


def _account(user_id: str, team_id: str | None, api_key: str | None) -> str:
    if api_key is not None:
        # The key may be a secret.
        return f"The API key of user {user_id!r}"
    return f"User {user_id!r}" if team_id is None else f"Team {team_id!r}"


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _utc(moment: datetime | None, default: str) -> datetime | str:
    return default if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _require_amount(amount: int) -> None:
    # A bool is an int to Python, and no number of credits.
    if type(amount) is not int or not 1 <= amount <= LARGEST:
        raise ValueError(f"an amount of credits is from 1 to {LARGEST}, got {amount!r}")


def _require_key(idempotency_key: str | None) -> None:
    if idempotency_key == "":
        raise ValueError("an idempotency key is not empty; give None for a call without one")
