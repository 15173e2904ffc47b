"""Every balance against its ledger: users, teams and API keys.

The server adds the ledger up in one statement and one snapshot; only accounts that drift come over
the wire, in batches, so memory does not grow with the ledger or the number of accounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import batched

from django.db import connections, transaction
from psycopg import sql

from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned

from .holding import Ended, expire

# Accounts repaired in one transaction: their rows stay locked until its end.
REPAIR_BATCH = 100
# The server sorts or hashes this much before it spills to disk; for this transaction only.
WORK_MEM = "256MB"

# Every row has a user, so one pass with one key adds up the users' own; the pools' rows have an
# index of their own. Rows of a team that is gone have no account any more.
DRIFT = """
    WITH ledger AS (
        SELECT 'user' AS payer, user_id AS account, sum(amount) FILTER (WHERE payer = 'user') AS total
        FROM public.credit_transactions
        GROUP BY user_id
        UNION ALL
        SELECT payer, CASE payer WHEN 'team' THEN team_id ELSE api_key_id END, sum(amount)
        FROM public.credit_transactions
        WHERE NOT payer = 'user'
        GROUP BY 1, 2
    ), accounts AS (
        SELECT 'user' AS payer, user_id AS account, user_id AS owner, credits
        FROM public.user_credits
        UNION ALL
        SELECT 'team', id, coalesce(owner_id, (
            SELECT m.user_id FROM public.user_credits m WHERE m.team_id = t.id
            ORDER BY m.user_id LIMIT 1)), credits
        FROM public.teams t
        UNION ALL
        SELECT 'api_key', api_key, user_id, credits FROM public.api_key_credits
    )
    SELECT a.payer, a.account, a.owner, a.credits, coalesce(l.total, 0)
    FROM accounts a LEFT JOIN ledger l ON l.payer = a.payer AND l.account = a.account
    WHERE a.credits <> coalesce(l.total, 0)
    ORDER BY a.payer DESC, a.account
"""
WITHOUT_ACCOUNT = """
    SELECT u.id FROM public.users u
    WHERE NOT EXISTS (SELECT FROM public.user_credits c WHERE c.user_id = u.id)
    ORDER BY u.id
"""
# Of every account, so it reads all holds that there ever were, from their own index.
EXPIRED_HOLDS = """
    SELECT h.id FROM public.credit_transactions h
    WHERE h.amount < 0 AND h.held_until <= timezone('utc', now())
      AND NOT EXISTS (SELECT FROM public.credit_transactions r WHERE r.refund_of = h.id)
    ORDER BY h.held_until
"""
ACCOUNT_TABLES = {
    "user": ("user_credits", "user_id", "user_id"),
    "team": ("teams", "id", "team_id"),
    "api_key": ("api_key_credits", "api_key", "api_key_id"),
}


@dataclass(frozen=True, slots=True)
class Drift:
    """An account whose balance is not the sum of its ledger; amounts in credits."""

    payer: str
    account: str
    # Whose transaction a correcting row is; None for a team without an owner and members.
    owner: str | None
    balance: int
    ledger: int
    # The id of the correcting row that was written.
    repaired_by: str | None = None

    @property
    def difference(self) -> int:
        return self.balance - self.ledger


def drifts(using: str = "auth") -> Iterator[Drift]:
    """The accounts that drift, users first, as one snapshot sees them. Read-only, no locks.

    Streams: the connection can run nothing else until the iteration ends. Inside the caller's
    transaction, or in one of its own.
    """
    with transaction.atomic(using=using), pinned(connections[using]) as cursor:
        cursor.execute("SELECT set_config('work_mem', %s, true)", [WORK_MEM])
        # Not a server-side cursor: PostgreSQL never runs those in parallel.
        with connections[using].wrap_database_errors:
            for payer, account, owner, balance, ledger in cursor.stream(DRIFT):
                yield Drift(payer, account, owner, balance, int(ledger))


def users_without_account(using: str = "auth") -> Iterator[str]:
    """Users whose sign-up made no credit account, so that every consume is refused. Read-only."""
    connection = connections[using]
    with pinned(connection) as cursor, connection.wrap_database_errors:
        for (user_id,) in cursor.stream(WITHOUT_ACCOUNT):
            yield user_id


def count_accounts(using: str = "auth") -> int:
    """How many balances there are. Read-only."""
    with pinned(connections[using]) as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM public.user_credits)"
            " + (SELECT count(*) FROM public.teams)"
            " + (SELECT count(*) FROM public.api_key_credits)"
        )
        return int(cursor.fetchone()[0])


def open_accounts(using: str = "auth") -> Iterator[str]:
    """Open the missing accounts; yields the users, committed.

    With what the user's ledger says, where it says anything; else as a sign-up does, with the bonus.
    """
    for batch in batched(list(users_without_account(using)), REPAIR_BATCH):
        with transaction.atomic(using=using), pinned(connections[using]) as cursor:
            locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
            cursor.execute(
                "SELECT public.open_credit_account(u.id) FROM unnest(%s::text[]) AS u (id)",
                [list(batch)],
            )
        yield from batch


def release_expired(using: str = "auth") -> Iterator[str]:
    """Give back what expired holds have; yields their ids, each committed on its own.

    What the payers' next refused call would do. A hold that somebody ends meanwhile, or whose payer is
    gone, is passed over.
    """
    connection = connections[using]
    with pinned(connection) as cursor, connection.wrap_database_errors:
        expired = [hold_id for (hold_id,) in cursor.stream(EXPIRED_HOLDS)]
    for hold_id in expired:
        with transaction.atomic(using=using):
            with connection.cursor() as cursor:
                locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
            ended = expire(hold_id, using=using)
        if ended is Ended.NOW:
            yield hold_id


def repair(using: str = "auth") -> Iterator[Drift]:
    """Write one correcting row for each account that drifts; balances and rows are never edited.

    A ``bonus`` where the ledger says too little, a ``usage`` where it says too much, both with the
    operation ``reconcile``. Each account is locked and added up anew, so running consumes are safe.
    Accounts of one batch are locked in order and committed together. Yields what drifted, with the
    new row's id or, for an account that no user owns, without one.
    """
    for batch in batched(list(drifts(using)), REPAIR_BATCH):
        with transaction.atomic(using=using):
            with pinned(connections[using]) as cursor:
                locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
                # Users before accounts, as everybody locks; who is gone by now gets no row.
                cursor.execute(
                    "SELECT u.id FROM public.users u WHERE u.id = ANY (%s) ORDER BY u.id FOR KEY SHARE",
                    [[drift.owner for drift in batch]],
                )
                owners = {owner for (owner,) in cursor.fetchall()}
            repaired = [_repair(drift, owners, using) for drift in batch]
        yield from (drift for drift in repaired if drift.difference)


def _repair(drift: Drift, owners: set[str], using: str) -> Drift:
    table, key, column = ACCOUNT_TABLES[drift.payer]
    with pinned(connections[using]) as cursor:
        cursor.execute(
            sql.SQL("SELECT credits FROM {} WHERE {} = %s FOR NO KEY UPDATE").format(
                sql.Identifier("public", table), sql.Identifier(key)
            ),
            [drift.account],
        )
        row = cursor.fetchone()
        if row is None or drift.owner not in owners:
            # The account or its owner is gone, or it is nobody's: there is no user to write a row for.
            balance, ledger = (drift.balance, drift.ledger) if row else (0, 0)
            return Drift(drift.payer, drift.account, drift.owner, balance, ledger)
        balance = row[0]
        cursor.execute(
            sql.SQL(
                "SELECT coalesce(sum(amount), 0)::bigint FROM public.credit_transactions"
                " WHERE payer = %s AND {} = %s"
            ).format(sql.Identifier(column)),
            [drift.payer, drift.account],
        )
        ledger = cursor.fetchone()[0]
        found = Drift(drift.payer, drift.account, drift.owner, balance, ledger)
        if not found.difference:
            return found
        cursor.execute(
            """
            INSERT INTO public.credit_transactions
                (user_id, team_id, api_key_id, amount, type, operation, payer, balance_after)
            VALUES (%s, %s, %s, %s, %s, 'reconcile', %s, %s) RETURNING id
            """,
            [
                drift.owner,
                drift.account if drift.payer == "team" else None,
                drift.account if drift.payer == "api_key" else None,
                found.difference,
                "bonus" if found.difference > 0 else "usage",
                drift.payer,
                balance,
            ],
        )
        return Drift(drift.payer, drift.account, drift.owner, balance, ledger, cursor.fetchone()[0])
