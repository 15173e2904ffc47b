"""Clients that race each other through every way to change credits, as a process of its own.

    python -m tests.auth_app.ledger.client LOG SEED THREADS ATTEMPTS

Each thread is a client with a connection. What the server has acknowledged is written to LOG, one
JSON line at a time and unbuffered, so that a killed process has told everything it knew. A change
with an idempotency key that fails for want of a connection or a consistent snapshot is sent again,
with the same key, until there is an answer.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django
import psycopg

# Seconds until a client gives up on a server that does not come back.
PATIENCE = 60
REFUNDABLE = 20


def main(log: str, seed: str, threads: str, attempts: str) -> None:
    django.setup()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    clients = [
        threading.Thread(target=_client, args=(descriptor, f"{seed}-{number}", int(attempts)))
        for number in range(int(threads))
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()


def _client(log: int, name: str, attempts: int) -> None:
    from django.db import connections

    client = Client(name, log)
    try:
        for number in range(attempts):
            client.attempt(number)
        client.write({"errors": client.errors, "client": name})
    finally:
        connections["auth"].close()


class Client:
    """One client: picks an account and a way, sends it, remembers what it may refund."""

    def __init__(self, name: str, log: int) -> None:
        from django.db import connections

        self.name, self.log = name, log
        self.random = random.Random(name)  # noqa: S311 - a schedule, no secret
        self.errors: Counter[str] = Counter()
        self.used: list[str] = []
        self.holds: list[str] = []
        with connections["auth"].cursor() as cursor:
            cursor.execute("SELECT user_id, team_id FROM public.user_credits ORDER BY user_id")
            self.users = cursor.fetchall()
            cursor.execute("SELECT api_key, user_id FROM public.api_key_credits ORDER BY api_key")
            self.keys = cursor.fetchall()
            # The same for all, so that several take one purchase back at once.
            cursor.execute(
                "SELECT id FROM public.credit_transactions"
                " WHERE type = 'purchase' AND resource_id = 'reversible' ORDER BY id"
            )
            self.purchases = [id_ for (id_,) in cursor.fetchall()]

    def write(self, line: dict[str, Any]) -> None:
        os.write(self.log, json.dumps(line).encode() + b"\n")

    def attempt(self, number: int) -> None:
        ways: list[tuple[int, Callable[[str, str, str | None], str | None], bool]] = [
            (40, self.consume, True),
            (12, self.consume_by_sql, True),
            (12, self.update_and_insert, False),
            (6, self.consume_many, True),
            (12, self.refund, True),
            (12, self.hold, True),
            (12, self.end_hold, False),
            (4, self.grant, True),
            (3, self.renew, True),
            (6, self.consume_of_team, True),
            (5, self.consume_with_key, True),
            (4, self.reverse, True),
            (4, self.reinstate, True),
        ]
        _, way, has_key = self.random.choices(ways, [weight for weight, _, _ in ways])[0]
        # Half of everything is on one account.
        user_id, team_id = (
            self.users[0] if self.random.random() < 0.5 else self.random.choice(self.users)
        )
        state = self.random.getstate()
        key, deadline = f"{self.name}-{number}", time.monotonic() + PATIENCE
        while True:
            self.random.setstate(state)
            try:
                acknowledged = way(key, user_id, team_id)
            except django.db.Error as error:
                self.errors[_sqlstate(error)] += 1
                if not _is_transient(error) or time.monotonic() > deadline:
                    raise
                self.reconnect(deadline)
                if not has_key:
                    return
            else:
                if acknowledged:
                    self.write({"id": acknowledged, "key": key if has_key else None})
                return

    def reconnect(self, deadline: float) -> None:
        from django.db import connections

        if connections["auth"].is_usable():
            return
        connections["auth"].close()
        while time.monotonic() < deadline:
            try:
                connections["auth"].ensure_connection()
            except django.db.OperationalError:
                time.sleep(0.05)
            else:
                return

    # --- the ways; each returns the id of the transaction that was acknowledged

    def consume(self, key: str, user_id: str, team_id: str | None) -> str | None:
        from auth_app import ledger

        try:
            entry = ledger.consume(
                user_id, self.random.randint(1, 3), operation="race", idempotency_key=key
            )
        except ledger.InsufficientCredits:
            return None
        self.used = [*self.used[-REFUNDABLE:], entry.id]
        return entry.id

    def consume_by_sql(self, key: str, user_id: str, team_id: str | None) -> str | None:
        from django.db import connections

        try:
            with connections["auth"].cursor() as cursor:
                cursor.execute(
                    "SELECT id FROM public.consume_credits(%s, %s, 'race',"
                    " p_idempotency_key => %s)",
                    [user_id, self.random.randint(1, 3), key],
                )
                return str(cursor.fetchone()[0])
        except django.db.Error as error:
            if _sqlstate(error) == "LC001":
                return None
            raise

    def update_and_insert(self, key: str, user_id: str, team_id: str | None) -> str | None:
        """What the existing application does: its own UPDATE and its own row."""
        from django.db import connections, transaction

        with transaction.atomic(using="auth"), connections["auth"].cursor() as cursor:
            cursor.execute(
                "UPDATE public.user_credits SET credits = credits - 1"
                " WHERE user_id = %s AND credits >= 1",
                [user_id],
            )
            if not cursor.rowcount:
                return None
            cursor.execute(
                "INSERT INTO public.credit_transactions (user_id, amount, type, operation)"
                " VALUES (%s, -1, 'usage', 'race') RETURNING id",
                [user_id],
            )
            return str(cursor.fetchone()[0])

    def consume_many(self, key: str, user_id: str, team_id: str | None) -> str | None:
        from auth_app import ledger

        users = [user_id, *(self.random.choice(self.users)[0] for _ in range(4))]
        decisions = ledger.consume_many(
            ledger.Spend(user, 1, "race", idempotency_key=f"{key}-{place}")
            for place, user in enumerate(users)
        )
        for place, decision in enumerate(decisions):
            if decision.ok:
                self.write({"id": decision.transaction_id, "key": f"{key}-{place}"})
        return None

    def refund(self, key: str, user_id: str, team_id: str | None) -> str | None:
        from auth_app import ledger

        if not self.used:
            return None
        try:
            return ledger.refund(self.random.choice(self.used), 1, idempotency_key=key).id
        except ledger.NothingToRefund:
            return None

    def hold(self, key: str, user_id: str, team_id: str | None) -> str | None:
        """Of a user, the team or an API key; half of them expire while they are worked on."""
        from auth_app import ledger

        api_key, owner = self.random.choice(self.keys)
        payers: list[dict[str, Any]] = [{}, {"team_id": team_id}, {"api_key": api_key}]
        payer = self.random.choice(payers)
        brief, amount = self.random.random() < 0.5, self.random.randint(2, 6)
        try:
            hold = ledger.hold(
                owner if "api_key" in payer else user_id,
                amount,
                operation="race",
                expires_in=timedelta(milliseconds=20 if brief else 3_600_000),
                idempotency_key=key,
                **payer,
            )
        except (ledger.InsufficientCredits, ledger.LimitReached):
            return None
        self.holds.append(hold.id)
        return hold.id

    def end_hold(self, key: str, user_id: str, team_id: str | None) -> str | None:
        """One of its own, perhaps not for the first time, and at once by another client's expiry."""
        from auth_app import ledger

        if not self.holds:
            return None
        hold = self.random.choice(self.holds[-REFUNDABLE:])
        used, way = self.random.randint(0, 8), self.random.random()
        try:
            if way < 0.2:
                ledger.release(hold)
                self.write({"hold": hold, "charged": 0})
                return None
            settled = ledger.settle(hold, used, overage=way > 0.7)
        except (ledger.HoldEnded, ledger.HoldExceeded):
            return None
        self.write({"hold": hold, "charged": settled.charged})
        return None

    def grant(self, key: str, user_id: str, team_id: str | None) -> str | None:
        from auth_app import ledger

        collect = self.random.random() < 0.5
        return ledger.grant(user_id, 5, operation="race", idempotency_key=key, collect=collect).id

    def reverse(self, key: str, user_id: str, team_id: str | None) -> str | None:
        from auth_app import ledger

        try:
            return ledger.reverse(
                self.random.choice(self.purchases), self.random.randint(1, 9), idempotency_key=key
            ).entry.id
        except ledger.NothingToReverse:
            return None

    def reinstate(self, key: str, user_id: str, team_id: str | None) -> str | None:
        from auth_app import ledger

        try:
            return ledger.reinstate(
                self.random.choice(self.purchases), self.random.randint(1, 9), idempotency_key=key
            ).id
        except ledger.NothingToReverse:
            return None

    def renew(self, key: str, user_id: str, team_id: str | None) -> str | None:
        from auth_app import ledger

        return ledger.renew(user_id, 5, limit=50, idempotency_key=key).id

    def consume_of_team(self, key: str, user_id: str, team_id: str | None) -> str | None:
        from auth_app import ledger

        try:
            return ledger.consume(
                user_id, 1, operation="race", team_id=team_id, idempotency_key=key
            ).id
        except ledger.InsufficientCredits:
            return None

    def consume_with_key(self, key: str, user_id: str, team_id: str | None) -> str | None:
        from auth_app import ledger

        api_key, owner = self.random.choice(self.keys)
        try:
            return ledger.consume(
                owner, 1, operation="race", api_key=api_key, idempotency_key=key
            ).id
        except (ledger.InsufficientCredits, ledger.LimitReached):
            return None


def _sqlstate(error: BaseException) -> str:
    cause = error.__cause__
    return (cause.sqlstate if isinstance(cause, psycopg.Error) else None) or "connection lost"


def _is_transient(error: BaseException) -> bool:
    """Serialization failure, deadlock (counted, and asserted to be none), shutdown, lost."""
    return _sqlstate(error) in {"40001", "40P01", "connection lost"} or _sqlstate(error).startswith(
        ("57P", "08")
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
