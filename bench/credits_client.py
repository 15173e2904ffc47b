"""A client of bench/credits.py: runs the ways that it is told on standard input, and counts.

Each line is ``WAY USERS SECONDS``; the answer is the number of credits spent and the seconds it took.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any

import django


def main() -> None:
    django.setup()
    from django.db import connections

    connections["auth"].ensure_connection()
    for line in sys.stdin:
        way, users, seconds = line.split()
        spend = WAYS[way]
        spent, start = 0, time.perf_counter()
        end = start + float(seconds)
        while time.perf_counter() < end:
            spent += spend(int(users))
        print(spent, time.perf_counter() - start, flush=True)


def _user(users: int) -> str:
    return f"u{random.randint(1, users)}"  # noqa: S311


def consume(users: int) -> int:
    from auth_app import credits as ledger

    ledger.consume(_user(users), 1, operation="bench")
    return 1


def consume_unprepared(users: int) -> int:
    """As with PREPARED_STATEMENTS=off."""
    from django.db import connections

    raw = connections["auth"].connection
    threshold, raw.prepare_threshold = raw.prepare_threshold, None
    try:
        return consume(users)
    finally:
        raw.prepare_threshold = threshold


def consume_with_key(users: int) -> int:
    from auth_app import credits as ledger

    ledger.consume(
        _user(users),
        1,
        operation="bench",
        idempotency_key=f"{random.getrandbits(128):x}",
    )
    return 1


def consume_many(users: int) -> int:
    from auth_app import credits as ledger

    ledger.consume_many(ledger.Spend(_user(users), 1, "bench") for _ in range(1000))
    return 1000


def for_update(users: int) -> int:
    """What applications usually do: lock, check, write back, insert, through the ORM."""
    from django.db import transaction

    from auth_app.models import CreditTransaction, UserCredits

    user_id = _user(users)
    with transaction.atomic(using="auth"):
        account: Any = UserCredits.objects.select_for_update().get(user_id=user_id)
        if account.credits < 1:
            raise RuntimeError("the benchmark ran out of credits")
        account.credits -= 1
        account.save(update_fields=["credits", "updated_at"])
        CreditTransaction.objects.create(
            user_id=user_id, amount=-1, type="usage", operation="bench"
        )
    return 1


WAYS: dict[str, Callable[[int], int]] = {
    "consume": consume,
    "consume_unprepared": consume_unprepared,
    "consume_with_key": consume_with_key,
    "consume_many": consume_many,
    "for_update": for_update,
}

if __name__ == "__main__":
    main()
