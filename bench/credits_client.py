"""A process with clients of bench/credits.py: runs the ways it is told on standard input, and counts.

It says when it is ready. Each line is ``WAY USERS SECONDS CLIENTS``: so many threads at once, each
with its own connection. The answer is the credits that they spent in a second together.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django
from django.db import connections, transaction

django.setup()

# Not inside what is timed.
from auth_app import ledger  # noqa: E402
from auth_app.models import CreditTransaction, UserCredits  # noqa: E402

MOST_CLIENTS = 64


def main() -> None:
    print("ready", flush=True)
    # The threads stay, and with them their connections.
    with ThreadPoolExecutor(MOST_CLIENTS) as pool:
        for line in sys.stdin:
            way, users, seconds, clients = line.split()
            start = threading.Barrier(int(clients))
            task = (WAYS[way], int(users), float(seconds), start)
            if int(clients) == 1:
                print(_client(*task), flush=True)
                continue
            running = [pool.submit(_client, *task) for _ in range(int(clients))]
            print(sum(each.result() for each in running), flush=True)


def _client(
    spend: Callable[[int], int], users: int, seconds: float, start: threading.Barrier
) -> float:
    connections["auth"].ensure_connection()
    # Also keeps a thread from running two of them.
    start.wait()
    spent, begin = 0, time.perf_counter()
    end = begin + seconds
    while time.perf_counter() < end:
        spent += spend(users)
    return spent / (time.perf_counter() - begin)


def _user(users: int) -> str:
    # In C, as far as Python can: it is the benchmark's own cost.
    return f"u{int(random.random() * users) + 1}"  # noqa: S311


def consume(users: int) -> int:
    ledger.consume(_user(users), 1, operation="bench")
    return 1


def hold_and_settle(users: int) -> int:
    ledger.settle(ledger.hold(_user(users), 2, operation="bench"), 1)
    return 1


def consume_with_key(users: int) -> int:
    ledger.consume(
        _user(users),
        1,
        operation="bench",
        idempotency_key=f"{random.getrandbits(128):x}",
    )
    return 1


def consume_many(users: int) -> int:
    ledger.consume_many(ledger.Spend(_user(users), 1, "bench") for _ in range(1000))
    return 1000


def for_update(users: int) -> int:
    """What applications usually do: lock, check, write back, insert, through the ORM."""
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
    "hold_and_settle": hold_and_settle,
    "consume_with_key": consume_with_key,
    "consume_many": consume_many,
    "for_update": for_update,
}

if __name__ == "__main__":
    main()
