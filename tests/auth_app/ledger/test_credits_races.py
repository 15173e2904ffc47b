"""Many clients at once, through every way to change credits: nothing lost, nothing spent twice.

CREDIT_RACE_ATTEMPTS sets how often each of the 32 clients tries (default 100; bench/credits_race.py
runs 10,000 and kills a backend with SIGKILL as well).
"""

from __future__ import annotations

import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connections

from auth_app import ledger
from tests.conftest import Databases

from . import racing

pytestmark = pytest.mark.slow

CLIENTS = 32
ATTEMPTS = int(os.environ.get("CREDIT_RACE_ATTEMPTS", "100"))


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_racing_clients_neither_overspend_nor_lose_anything(
    databases: Databases, tmp_path: Path, isolation: str
) -> None:
    def disturb(processes: list[subprocess.Popen[bytes]]) -> None:
        racing.kill_a_client(processes)
        # A server that loses its clients one by one; they come back and send their keys again.
        databases.execute(
            "auth",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name = 'clean_slate' LIMIT 8",
        )

    with databases.connect("auth") as connection:
        racing.set_up(connection)
    race = racing.race(
        lambda: databases.connect("auth"),
        databases.environment(),
        tmp_path,
        clients=CLIENTS,
        attempts=ATTEMPTS,
        isolation=isolation,
        disturb=disturb,
    )
    assert race.wrong == {}
    assert race.acknowledged > CLIENTS


def test_a_hundred_retries_of_one_key_are_one_charge(databases: Databases) -> None:
    user_id = _user(databases, 100)
    found: list[str] = _at_once(
        20, lambda: [ledger.consume(user_id, 7, operation="q", idempotency_key="k").id], 5
    )
    assert len(set(found)) == 1
    assert len(found) == 100
    assert ledger.balance(user_id) == 93


def test_refunds_at_once_give_back_once(databases: Databases) -> None:
    user_id = _user(databases, 100)
    used = ledger.consume(user_id, 10, operation="q")

    def refund() -> list[str]:
        try:
            return [ledger.refund(used.id, 10).id]
        except ledger.NothingToRefund:
            return []

    assert len(_at_once(25, refund, 2)) == 1
    assert ledger.balance(user_id) == 100


def test_clients_at_once_never_pass_a_limit(databases: Databases) -> None:
    user_id = _user(databases, 0)
    databases.execute(
        "auth",
        "INSERT INTO public.api_key_credits (api_key, user_id, daily_limit) VALUES ('k', %s, 30)",
        user_id,
    )
    ledger.grant(user_id, 1000, operation="g", api_key="k")

    def consume() -> list[int]:
        try:
            ledger.consume(user_id, 1, operation="q", api_key="k")
        except ledger.LimitReached:
            return []
        return [1]

    assert sum(_at_once(16, consume, 5)) == 30


def test_batches_in_opposite_order_do_not_deadlock(databases: Databases) -> None:
    users = [_user(databases, 1000) for _ in range(20)]

    def batch() -> list[int]:
        order = users if threading.get_ident() % 2 else users[::-1]
        decisions = ledger.consume_many(ledger.Spend(user, 1, "b") for user in order)
        return [sum(decision.ok for decision in decisions)]

    assert _at_once(8, batch, 10) == [20] * 80
    assert {ledger.balance(user) for user in users} == {920}


def test_refunds_that_did_not_see_each_other_collide(databases: Databases) -> None:
    """At REPEATABLE READ a raw insert reads its old snapshot even after the lock."""
    user_id = _user(databases, 100)
    used = ledger.consume(user_id, 10, operation="q")
    insert = (
        "INSERT INTO public.credit_transactions (user_id, amount, type, refund_of)"
        " VALUES (%s, 6, 'refund', %s)"
    )
    with databases.connect("auth") as late, databases.connect("auth") as early:
        late.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        late.execute("SELECT count(*) FROM public.credit_transactions")
        early.execute(insert, [user_id, used.id])
        with pytest.raises(Exception, match="refunded_before_unique") as refused:
            late.execute(insert, [user_id, used.id])
        assert getattr(refused.value, "sqlstate", None) == "23505"


def _user(databases: Databases, credits_: int) -> str:
    ((user_id,),) = databases.execute(
        "auth",
        "INSERT INTO public.users (name, email) VALUES ('R', gen_random_uuid()) RETURNING id",
    )
    ledger.consume(user_id, 100, operation="empty")
    if credits_:
        ledger.grant(user_id, credits_, operation="fill")
    return str(user_id)


def _at_once[T](clients: int, work: object, times: int) -> list[T]:
    """What ``work`` returned, called by so many clients so many times, starting together."""
    ready = threading.Barrier(clients)

    def client(_: int) -> list[T]:
        try:
            ready.wait()
            return [found for _ in range(times) for found in work()]  # type: ignore[operator]
        finally:
            connections["auth"].close()

    with ThreadPoolExecutor(clients) as pool:
        return [found for each in pool.map(client, range(clients)) for found in each]
