"""One order of locks: users, user_credits, teams, API keys, the ledger's rows. Each test makes one meeting happen."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connections
from psycopg.types.json import Jsonb

from auth_app.ledger import reconcile
from tests.conftest import Databases

DELETE_USER = "DELETE FROM public.users WHERE id = %s"
DELETE_TEAM = "DELETE FROM public.teams WHERE id = %s"


class Meeting:
    """Clients that begin one after the other, each once the one before waits for a lock."""

    def __init__(self, databases: Databases, pool: ThreadPoolExecutor) -> None:
        self.databases = databases
        self.pool = pool
        self.begun: list[Future[Any]] = []

    def begin(self, statement: str, *parameters: Any) -> Future[Any]:
        """Run it as another client, and return once it waits."""
        return self.begin_call(self.databases.execute, "auth", statement, *parameters)

    def begin_call(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future = self.pool.submit(call, *arguments)
        self.begun.append(future)
        self.until_all_wait()
        return future

    def until_all_wait(self) -> None:
        """Until whoever has begun has ended or waits for somebody who has not just let go."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            running = sum(not future.done() for future in self.begun)
            if self.waiting() >= running:
                return
            time.sleep(0.01)

    def waiting(self) -> int:
        [(count,)] = self.databases.execute(
            "auth",
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE cardinality(pg_blocking_pids(pid)) > 0 AND datname = current_database()",
        )
        return int(count)


@contextmanager
def held(databases: Databases, statement: str, *parameters: Any) -> Iterator[Meeting]:
    """Clients that meet while one holds what the statement locks; it lets go at the end of the block."""
    with (
        ThreadPoolExecutor(4) as pool,
        databases.connect("auth") as holder,
        holder.transaction(),
    ):
        holder.execute(statement.encode(), parameters)
        yield Meeting(databases, pool)


@pytest.fixture(autouse=True)
def people(databases: Databases) -> None:
    """An owner of a team with a key in it, a member, and somebody who only left rows there."""
    with databases.connect("auth") as connection:
        for name in ("owner", "member", "guest"):
            connection.execute(
                "INSERT INTO public.users (id, name, email) VALUES (%s, %s, %s)",
                [name, name, f"{name}@example.invalid"],
            )
        connection.execute(
            "INSERT INTO public.teams (id, name, owner_id) VALUES ('t', 'T', 'owner')"
        )
        connection.execute(
            "INSERT INTO public.api_key_credits (api_key, user_id, team_id) VALUES ('k', 'guest', 't')"
        )
        connection.execute("UPDATE public.user_credits SET team_id = 't' WHERE user_id = 'member'")
        connection.execute(
            "SELECT public.grant_credits('owner', 10, 'purchase', 'g', p_team_id => 't')"
        )
        connection.execute(
            "SELECT public.grant_credits('guest', 10, 'purchase', 'g', p_api_key => 'k')"
        )


def refusal(future: Future[Any]) -> str | None:
    error = future.exception(20)
    assert error is None or isinstance(error, psycopg.Error)
    return error.sqlstate if error else None


@pytest.mark.parametrize("account", ["p_team_id => 't'", "p_api_key => 'k'"])
def test_a_spender_who_needs_what_has_expired_and_is_deleted(
    databases: Databases, account: str
) -> None:
    """The account has too little at first, so the spender looks for expired holds in it."""
    databases.execute(
        "auth", "UPDATE public.user_credits SET team_id = 't' WHERE user_id = 'guest'"
    )
    databases.execute("auth", f"SELECT public.consume_credits('guest', 1, 'x', {account})")
    holder = "member" if "team" in account else "guest"
    databases.execute(
        "auth", f"SELECT public.hold_credits('{holder}', 9, 'x', '1 millisecond', {account})"
    )
    time.sleep(0.01)
    with held(databases, "SELECT FROM public.teams WHERE id = 't' FOR UPDATE") as meeting:
        spending = meeting.begin(f"SELECT public.consume_credits('guest', 5, 'x', {account})")
        deleting = meeting.begin(DELETE_USER, "guest")
    assert (refusal(spending), refusal(deleting)) == (None, None)
    assert list(reconcile.drifts("auth")) == []


def test_a_grant_that_collects_what_somebody_owes_who_is_deleted(databases: Databases) -> None:
    """The team owes what a member bought for it; the owner's grant settles it in a row of the member."""
    databases.execute(
        "auth", "SELECT public.grant_credits('member', 20, 'purchase', 'g', p_team_id => 't')"
    )
    databases.execute("auth", "SELECT public.consume_credits('owner', 25, 'x', p_team_id => 't')")
    databases.execute(
        "auth",
        "SELECT public.reverse_credits((SELECT id FROM public.credit_transactions"
        " WHERE user_id = 'member' AND type = 'purchase'))",
    )
    with held(databases, "SELECT FROM public.teams WHERE id = 't' FOR UPDATE") as meeting:
        granting = meeting.begin(
            "SELECT public.try_grant_credits("
            "'owner', 30, 'bonus', 'g', p_team_id => 't', p_collect => true)"
        )
        deleting = meeting.begin(DELETE_USER, "member")
    assert (refusal(granting), refusal(deleting)) == (None, None)
    assert list(reconcile.drifts("auth")) == []


@pytest.mark.parametrize("first", [DELETE_TEAM, DELETE_USER])
def test_a_team_and_somebody_with_a_key_in_it_are_deleted_at_once(
    databases: Databases, first: str
) -> None:
    databases.execute("auth", "UPDATE public.user_credits SET team_id = NULL")
    databases.execute("auth", "SELECT public.consume_credits('guest', 1, 'x', p_api_key => 'k')")
    what = {DELETE_TEAM: "t", DELETE_USER: "guest"}
    second = next(statement for statement in what if statement != first)
    with held(
        databases, "SELECT FROM public.api_key_credits WHERE api_key = 'k' FOR UPDATE"
    ) as meeting:
        futures = [
            meeting.begin(first, what[first]),
            meeting.begin(second, what[second]),
        ]
    assert [refusal(future) for future in futures] == [None, None]
    assert list(reconcile.drifts("auth")) == []


def test_a_team_that_still_has_a_member_who_is_deleted(databases: Databases) -> None:
    """The team's deletion is refused because of the member, whose own goes on."""
    databases.execute("auth", "SELECT public.consume_credits('member', 1, 'x', p_team_id => 't')")
    with held(databases, "SELECT FROM public.teams WHERE id = 't' FOR UPDATE") as meeting:
        team = meeting.begin(DELETE_TEAM, "t")
        member = meeting.begin(DELETE_USER, "member")
    assert refusal(member) is None
    assert refusal(team) in (None, "23503")
    assert list(reconcile.drifts("auth")) == []


def test_a_repair_of_a_team_whose_owner_is_deleted(databases: Databases) -> None:
    """A correcting row is the owner's."""
    databases.execute("auth", "UPDATE public.user_credits SET team_id = NULL")
    databases.execute("auth", "UPDATE public.teams SET credits = credits + 1")

    def repair() -> list[reconcile.Drift]:
        try:
            return list(reconcile.repair("auth"))
        finally:
            connections["auth"].close()

    with held(databases, "SELECT FROM public.teams WHERE id = 't' FOR UPDATE") as meeting:
        repairing = meeting.begin_call(repair)
        deleting = meeting.begin(DELETE_USER, "owner")
    assert [drift.account for drift in repairing.result(20)] == ["t"]
    assert refusal(deleting) is None


def test_a_batch_for_somebody_who_signs_up_meanwhile_and_is_deleted(databases: Databases) -> None:
    """The batch has looked for users by then, and not yet for accounts."""
    items = [
        {"user_id": "owner", "amount": 1, "operation": "x"},
        {"user_id": "late", "amount": 1, "operation": "x"},
        {"user_id": "owner", "amount": 1, "operation": "x", "team_id": "t"},
    ]
    with held(databases, "SELECT FROM public.teams WHERE id = 't' FOR UPDATE") as outer:
        with held(databases, "SELECT FROM public.users WHERE id = 'owner' FOR UPDATE"):
            batch = outer.begin(
                "SELECT verdict FROM public.consume_credits_many(%s) ORDER BY place", Jsonb(items)
            )
            databases.execute(
                "auth", "INSERT INTO public.users (id, name, email) VALUES ('late', 'L', 'l@x')"
            )
        outer.until_all_wait()
        deleting = outer.begin(DELETE_USER, "late")
    assert refusal(deleting) is None
    assert batch.result(20) == [("done",), ("unknown_account",), ("done",)]


@pytest.mark.slow
def test_ids_that_come_back_while_they_spend(databases: Databases) -> None:
    """Nobody who signs up anew under an id is met half-way by a call that began before."""
    names = [f"u{number}" for number in range(4)]
    sign_up = (
        "INSERT INTO public.users (id, name, email) VALUES (%(user)s, 'x', %(user)s)"
        " ON CONFLICT DO NOTHING"
    )
    calls = {
        "SELECT count(*) FROM public.consume_credits_many(%(items)s)": 6,
        "SELECT public.consume_credits(%(user)s, 1, 'x', p_idempotency_key => %(key)s)": 4,
        "SELECT public.grant_credits(%(user)s, 5, 'bonus', 'x', p_idempotency_key => %(key)s)": 2,
        "DELETE FROM public.users WHERE id = %(user)s": 3,
        sign_up: 3,
    }
    refused: Counter[str | None] = Counter()
    end = time.monotonic() + 3

    def client(call: str, number: int) -> None:
        source = random.Random(number)  # noqa: S311 - a schedule, no secret

        def item() -> dict[str, Any]:
            key = str(source.randrange(10**12))
            return {
                "user_id": source.choice(names),
                "amount": 1,
                "operation": "x",
                "idempotency_key": key,
            }

        with databases.connect("auth") as connection:
            while time.monotonic() < end:
                one = item()
                parameters = {
                    "user": one["user_id"],
                    "key": one["idempotency_key"],
                    "items": Jsonb([item() for _ in range(6)]),
                }
                try:
                    connection.execute(call.encode(), parameters)
                except psycopg.Error as error:
                    refused[error.sqlstate] += 1

    clients = [call for call, count in calls.items() for _ in range(count)]
    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(client, clients, range(len(clients))))
    # No credits, and nobody of this id.
    assert set(refused) <= {"LC001", "LC002"}
    assert list(reconcile.drifts("auth")) == []
