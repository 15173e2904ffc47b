"""Users who are deleted while they spend, while others spend their credits, while others are deleted."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from auth_app.ledger import reconcile
from tests.conftest import Databases

USERS, TEAMS, KEYS = 24, 6, 6
SPENDERS, DELETERS = 8, 4
# The key that each of the first users has now.
API_KEYS = [""] * KEYS
# Seconds that spenders spend.
SPELL = 4.0
# No credits; a hold that has ended; a user or team that was deleted meanwhile; a team that still has members.
GONE = {"LC001", "LC002", "LC005", "LC009", "23503"}

CALLS: list[tuple[str, Callable[[random.Random], tuple[Any, ...]]]] = [
    (
        "SELECT public.consume_credits(%s, 1, 'race')",
        lambda r: (user(r),),
    ),
    (
        "SELECT public.consume_credits(%s, 1, 'race', p_idempotency_key => %s)",
        lambda r: (user(r), key(r)),
    ),
    (
        "SELECT public.consume_credits(%s, 1, 'race', p_team_id => %s)",
        lambda r: (user(r), team(r)),
    ),
    (
        "SELECT public.consume_credits(%s, 1, 'race', p_team_id => %s, p_idempotency_key => %s)",
        lambda r: (user(r), team(r), key(r)),
    ),
    (
        "SELECT public.consume_credits(user_id, 1, 'race', p_api_key => api_key)"
        " FROM public.api_key_credits WHERE api_key = %s",
        lambda r: (api_key(r),),
    ),
    # Some are never ended, and given back by whoever needs them or by the deletion.
    (
        "SELECT public.hold_credits(%s, 1, 'race', '50 milliseconds', p_team_id => %s)",
        lambda r: (user(r), team(r)),
    ),
    (
        "SELECT public.settle_credits((SELECT id FROM public.credit_transactions h"
        " WHERE type = 'usage' AND held_until > timezone('utc', now()) AND user_id = %s LIMIT 1), 1)"
        " WHERE EXISTS (SELECT FROM public.credit_transactions"
        " WHERE type = 'usage' AND held_until > timezone('utc', now()) AND user_id = %s)",
        lambda r: (user(r),) * 2,
    ),
    (
        "SELECT public.grant_credits(%s, 2, 'bonus', 'race', p_idempotency_key => %s)",
        lambda r: (user(r), key(r)),
    ),
    (
        "SELECT public.grant_credits(%s, 2, 'bonus', 'race', p_team_id => %s)",
        lambda r: (user(r), team(r)),
    ),
    (
        "SELECT public.refund_credits((SELECT id FROM public.credit_transactions"
        " WHERE type = 'usage' AND operation = 'race' AND user_id = %s LIMIT 1))"
        " WHERE EXISTS (SELECT FROM public.credit_transactions"
        " WHERE type = 'usage' AND operation = 'race' AND user_id = %s)",
        lambda r: (user(r),) * 2,
    ),
    (
        "SELECT count(*) FROM public.consume_credits_many(%s)",
        lambda r: (Jsonb([item(r) for _ in range(12)]),),
    ),
    (
        "SELECT count(*) FROM public.consume_credits_many(%s)",
        lambda r: (Jsonb([{**item(r), "idempotency_key": key(r)} for _ in range(12)]),),
    ),
]


def user(source: random.Random) -> str:
    return f"u{source.randrange(USERS):02}"


def team(source: random.Random) -> str:
    return f"t{source.randrange(TEAMS)}"


def api_key(source: random.Random) -> str:
    return API_KEYS[source.randrange(KEYS)]


def key(source: random.Random) -> str:
    return str(source.randrange(10**9))


def item(source: random.Random) -> dict[str, Any]:
    spend: dict[str, Any] = {"user_id": user(source), "amount": 1, "operation": "race"}
    if source.random() < 0.4:
        spend["team_id"] = team(source)
    elif source.random() < 0.3:
        number = source.randrange(KEYS)
        spend |= {"user_id": f"u{number:02}", "api_key": API_KEYS[number]}
    return spend


def set_up(connection: psycopg.Connection[Any]) -> None:
    """Users who own teams, each other's members, with keys that hang on others' teams."""
    for number in range(USERS):
        connection.execute(
            "INSERT INTO public.users (id, name, email) VALUES (%s, 'R', %s) ON CONFLICT DO NOTHING",
            [f"u{number:02}", f"u{number}@example.invalid"],
        )
    for number in range(TEAMS):
        connection.execute(
            "INSERT INTO public.teams (id, name, owner_id) VALUES (%s, 'T', %s)"
            " ON CONFLICT DO NOTHING",
            [f"t{number}", f"u{number:02}"],
        )
    # Owners of even teams belong to odd ones and the other way round.
    for number in range(USERS):
        connection.execute(
            "UPDATE public.user_credits SET team_id = %s WHERE user_id = %s",
            [f"t{(number + 1) % TEAMS}", f"u{number:02}"],
        )
    for number in range(KEYS):
        # A key that is gone comes back by another name: what the ledger says of the old one stays.
        row = connection.execute(
            "INSERT INTO public.api_key_credits (api_key, user_id, team_id)"
            " SELECT gen_random_uuid(), %s, %s WHERE NOT EXISTS ("
            " SELECT FROM public.api_key_credits WHERE user_id = %s) RETURNING api_key",
            [f"u{number:02}", f"t{(number + 2) % TEAMS}", f"u{number:02}"],
        ).fetchone()
        if row is not None:
            API_KEYS[number] = row[0]
        for pool, name in (("p_api_key", API_KEYS[number]), ("p_team_id", f"t{number}")):
            connection.execute(
                f"SELECT public.grant_credits(%s, 1000, 'purchase', 'g', {pool} => %s)".encode(),
                [f"u{number:02}", name],
            )


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_deleting_users_who_spend_never_deadlocks(databases: Databases, isolation: str) -> None:
    with databases.connect("auth") as connection:
        set_up(connection)
    errors: Counter[str] = Counter()
    deleted: Counter[str] = Counter()
    # Between those who take members out of teams and those who put them in; spenders do not wait.
    housekeeping = threading.Lock()
    end = time.monotonic() + SPELL

    def attempt(connection: psycopg.Connection[Any], statement: str, parameters: Any) -> int:
        try:
            return connection.execute(statement.encode(), parameters).rowcount
        except psycopg.Error as error:
            errors[error.sqlstate or str(error)] += 1
            return 0

    def spender(seed: int) -> None:
        source = random.Random(seed)  # noqa: S311 - a schedule, no secret
        with connect() as connection:
            while time.monotonic() < end:
                statement, parameters = source.choice(CALLS)
                attempt(connection, statement, parameters(source))

    def deleter(seed: int) -> None:
        source = random.Random(-seed)  # noqa: S311
        with connect() as connection:
            while time.monotonic() < end:
                name = user(source)
                if int(name[1:]) >= TEAMS:
                    deleted["users"] += attempt(
                        connection, "DELETE FROM public.users WHERE id = %s", [name]
                    )
                    continue
                other = team(source)
                with housekeeping:
                    # Members first, or the owner cannot go.
                    for number in range(USERS):
                        attempt(
                            connection,
                            "UPDATE public.user_credits SET team_id = NULL WHERE user_id = %s AND"
                            " team_id IN (SELECT id FROM public.teams WHERE owner_id = %s OR id = %s)",
                            [f"u{number:02}", name, other],
                        )
                    deleted["owners"] += attempt(
                        connection, "DELETE FROM public.users WHERE id = %s", [name]
                    )
                    deleted["teams"] += attempt(
                        connection, "DELETE FROM public.teams WHERE id = %s", [other]
                    )
                    attempt_to_set_up(connection)

    def attempt_to_set_up(connection: psycopg.Connection[Any]) -> None:
        try:
            set_up(connection)
        except psycopg.Error as error:
            errors[error.sqlstate or str(error)] += 1

    def connect() -> psycopg.Connection[Any]:
        return databases.connect(
            "auth",
            options=f"-c default_transaction_isolation={isolation.replace(' ', chr(92) + ' ')}",
        )

    with ThreadPoolExecutor(SPENDERS + DELETERS) as pool:
        futures = [pool.submit(spender, seed) for seed in range(SPENDERS)]
        futures += [pool.submit(deleter, seed + 1) for seed in range(DELETERS)]
        for future in futures:
            future.result()
    allowed = GONE | ({"40001"} if isolation == "repeatable read" else set())
    assert set(errors) <= allowed, errors
    assert min(deleted["users"], deleted["owners"]) > 3, deleted
    assert deleted["teams"] > 0
    assert list(reconcile.drifts("auth")) == []


@pytest.mark.slow
def test_users_who_own_each_others_teams_are_deleted_at_once(databases: Databases) -> None:
    """Each has spent the other's credits: each deletion writes a row for the other."""
    for _ in range(15):
        with databases.connect("auth") as connection:
            set_up(connection)
            connection.execute("UPDATE public.user_credits SET team_id = NULL")
            for number in range(TEAMS):
                for member in range(TEAMS):
                    connection.execute(
                        "INSERT INTO public.credit_transactions"
                        " (user_id, team_id, payer, amount, type, operation)"
                        " VALUES (%s, %s, 'team', -1, 'usage', 'race')",
                        [f"u{member:02}", f"t{number}"],
                    )
            connection.execute("UPDATE public.teams SET credits = credits - %s", [TEAMS])
        ready = threading.Barrier(TEAMS)

        def delete(number: int, ready: threading.Barrier = ready) -> int:
            with databases.connect("auth") as connection:
                ready.wait()
                return connection.execute(
                    "DELETE FROM public.users WHERE id = %s", [f"u{number:02}"]
                ).rowcount

        with ThreadPoolExecutor(TEAMS) as pool:
            assert list(pool.map(delete, range(TEAMS))) == [1] * TEAMS
        assert list(reconcile.drifts("auth")) == []
