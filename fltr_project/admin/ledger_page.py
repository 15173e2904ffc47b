"""A page of an account's ledger as a person reads it: with the running balance, and what looks like twice the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.backends.utils import CursorWrapper

from auth_app import ledger

from . import pages
from .account_data import Account
from .rows import Row, named

# Two charges for the same within it are worth a look.
SAME = timedelta(minutes=1)


@dataclass(frozen=True)
class Line:
    """A row with the account's balance after it by the ledger; None for a row of another balance."""

    row: Row
    balance: int | None
    # Rows that look like the same charge: within a minute, or with the same idempotency key.
    twins: tuple[Row, ...] = ()

    @property
    def alike(self) -> str:
        """In which way it is like its twins."""
        keys = {each.idempotency_key for each in (self.row, *self.twins)}
        if len(keys) == 1 and None not in keys:
            return "same key"
        return "same minute, without a key" if None in keys else "same minute, another key"


@dataclass(frozen=True)
class LedgerPage:
    page: pages.Page
    # The newest first.
    lines: tuple[Line, ...]
    # What the account has by its ledger; None where the page is not the newest, or nobody may ask.
    closing: int | None

    def drift(self, stored: int | None) -> int | None:
        """What the stored balance has more than the ledger says; None where that is not known."""
        return None if stored is None or self.closing is None else stored - self.closing


def ledger_page(
    cursor: CursorWrapper,
    account: Account,
    *,
    before: pages.Key | None = None,
    after: pages.Key | None = None,
    oldest: bool = False,
    using: str = "auth",
) -> LedgerPage:
    """A page of the account's rows, by a pinned cursor of ``using``; of a user all, whatever has paid for them.

    Read-only: 2 queries.
    """
    filter_ = {
        "user": pages.Filter(user=account.id),
        "team": pages.Filter(team=account.id),
        "api_key": pages.Filter(user=account.owner_id or "", api_key=account.id),
    }[account.payer]
    page = pages.page(cursor, filter_, before=before, after=after, oldest=oldest, counted=False)
    newest = before is after is None and not oldest
    statement = _statement(account, page.rows, newest, using)
    balances = {} if statement is None else _running(statement)
    twins = _twins(page.rows)
    return LedgerPage(
        page=page,
        lines=tuple(
            Line(each, balances.get(each.id), twins.get(each.id, ())) for each in page.rows
        ),
        closing=statement.closing if statement is not None and newest else None,
    )


def with_names(found: LedgerPage) -> LedgerPage:
    """The same with the names of datasets, in at most one query of the other database."""
    rows = named(line.row for line in found.lines)
    lines = tuple(replace(line, row=row) for line, row in zip(found.lines, rows, strict=True))
    return replace(found, lines=lines)


def _statement(
    account: Account, rows: Sequence[Row], newest: bool, using: str
) -> ledger.Statement | None:
    """The statement of the time of these rows; None where no user may ask for one."""
    if account.owner_id is None:
        return None
    since: datetime | None = rows[-1].created_at if rows else None
    until = None if newest or not rows else rows[0].created_at + timedelta(microseconds=1)
    try:
        return ledger.statement(
            account.owner_id, **account.arguments, since=since, until=until, using=using
        )
    except ledger.UnknownAccount:
        return None


def _running(statement: ledger.Statement) -> Mapping[str, int]:
    balance, after = statement.opening, {}
    for entry in statement.entries:
        balance += entry.amount
        after[entry.id] = balance
    return after


def _twins(rows: Iterable[Row]) -> Mapping[str, tuple[Row, ...]]:
    """Of each charge those of the same page that look like it, by its id."""
    alike: dict[tuple[object, ...], list[Row]] = {}
    for each in rows:
        if each.type == "usage" and each.held_until is None:
            alike.setdefault((each.operation, each.amount, each.resource_id), []).append(each)
    found: dict[str, tuple[Row, ...]] = {}
    for group in alike.values():
        for each in group:
            twins = tuple(
                other
                for other in group
                if other is not each
                and (
                    abs(other.created_at - each.created_at) <= SAME
                    or (each.idempotency_key and other.idempotency_key == each.idempotency_key)
                )
            )
            if twins:
                found[each.id] = twins
    return found
