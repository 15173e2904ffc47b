"""Starts racing clients against a database and judges what they left; the benchmark uses it too."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[3]
USERS, KEYS, CREDITS, DAILY_LIMIT = 20, 4, 60, 40
PROCESSES = 4
# Seconds.
TIMEOUT = 3600

# What must hold of a ledger whatever was done to it.
VIOLATIONS = {
    "balances that drift": """
        WITH accounts AS (
            SELECT 'user' AS payer, user_id AS account, credits FROM public.user_credits
            UNION ALL SELECT 'team', id, credits FROM public.teams
            UNION ALL SELECT 'api_key', api_key, credits FROM public.api_key_credits)
        SELECT count(*) FROM accounts a WHERE credits <> (
            SELECT coalesce(sum(amount), 0) FROM public.credit_transactions t
            WHERE t.payer = a.payer AND a.account = CASE t.payer
                WHEN 'user' THEN t.user_id WHEN 'team' THEN t.team_id ELSE t.api_key_id END)
    """,
    # Overspent at any moment: the running balance, in the order that the rows were written in.
    "rows that went below zero or past their balance_after": """
        SELECT count(*) FROM (
            SELECT balance_after, sum(amount) OVER (
                PARTITION BY payer, CASE payer WHEN 'user' THEN user_id WHEN 'team' THEN team_id
                                    ELSE api_key_id END ORDER BY id) AS running
            FROM public.credit_transactions) r
        WHERE running < 0 OR running <> balance_after
    """,
    "usages refunded above their amount": """
        SELECT count(*) FROM public.credit_transactions u WHERE u.type = 'usage' AND -u.amount < (
            SELECT sum(r.amount) FROM public.credit_transactions r WHERE r.refund_of = u.id)
    """,
    "purchases reversed above their amount, or reinstated above what was reversed": """
        SELECT count(*) FROM (
            SELECT sum(r.amount) FILTER (WHERE r.operation <> 'shortfall') AS net, p.amount,
                   sum(r.amount) FILTER (WHERE r.operation = 'shortfall') AS owed
            FROM public.credit_transactions r
            JOIN public.credit_transactions p ON p.id = r.reversal_of GROUP BY p.id) r
        WHERE net NOT BETWEEN -amount AND 0 OR owed < 0
    """,
    "holds that ended twice, in part, or not at all": """
        SELECT count(*) FROM public.credit_transactions h
        WHERE h.type = 'usage' AND h.held_until < timezone('utc', now()) AND 1 <> (
            SELECT count(*) FILTER (WHERE r.amount = -h.amount) + 2 * (count(*) - 1)
            FROM public.credit_transactions r WHERE r.refund_of = h.id)
    """,
    "ended holds that were charged twice, or not as it was settled": """
        SELECT count(*) FROM public.credit_transactions r
        WHERE r.held_until IS NOT NULL AND r.type = 'refund' AND NOT (
            SELECT CASE WHEN r.transaction_metadata ->> 'hold' = 'settled'
                        THEN coalesce(sum(-u.amount), 0)
                             <= (r.transaction_metadata ->> 'used')::integer
                             AND (coalesce(sum(-u.amount), 0)
                                  = (r.transaction_metadata ->> 'used')::integer
                                  OR (r.transaction_metadata ->> 'used')::integer > r.amount
                                  AND sum(-u.amount) >= r.amount)
                        ELSE count(*) = 0 END AND count(*) < 2
            FROM public.credit_transactions u
            WHERE u.user_id = r.user_id AND u.idempotency_key = 'settled by ' || r.id)
    """,
    "keys charged twice": """
        SELECT count(*) FROM (SELECT FROM public.credit_transactions
            WHERE idempotency_key <> 'signup' GROUP BY idempotency_key HAVING count(*) > 1) k
    """,
    "API keys above their limit": """
        SELECT count(*) FROM public.api_key_credits
        WHERE spent_that_day > daily_limit OR spent_that_month > monthly_limit
    """,
}


@dataclass
class Race:
    """What the clients were told and what is wrong with what they left."""

    acknowledged: int
    rows: int
    errors: Counter[str]
    wrong: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def set_up(connection: psycopg.Connection[Any]) -> None:
    """Twenty users in one team, four API keys; every pool filled through the ledger."""
    for number in range(USERS):
        connection.execute(
            "INSERT INTO public.users (id, name, email) VALUES (%s, 'Racer', %s)",
            [f"racer-{number:02}", f"racer-{number}@example.invalid"],
        )
        connection.execute(
            "SELECT public.grant_credits(%s, 30, 'purchase', 'race', 'reversible')",
            [f"racer-{number:02}"],
        )
    connection.execute(
        "INSERT INTO public.teams (id, name, owner_id) VALUES ('racers', 'Racers', 'racer-00')"
    )
    connection.execute("UPDATE public.user_credits SET team_id = 'racers'")
    connection.execute(
        "SELECT public.grant_credits('racer-00', %s, 'purchase', 'race', p_team_id => 'racers')",
        [CREDITS],
    )
    for number in range(KEYS):
        connection.execute(
            "INSERT INTO public.api_key_credits (api_key, user_id, daily_limit, monthly_limit)"
            " VALUES (%s, 'racer-00', %s, %s)",
            [f"key-{number}", DAILY_LIMIT, DAILY_LIMIT + number],
        )
        connection.execute(
            "SELECT public.grant_credits('racer-00', %s, 'purchase', 'race', p_api_key => %s)",
            [CREDITS, f"key-{number}"],
        )


def race(
    connect: Callable[[], psycopg.Connection[Any]],
    environment: dict[str, str],
    logs: Path,
    *,
    clients: int,
    attempts: int,
    isolation: str,
    disturb: Callable[[list[subprocess.Popen[bytes]]], None] = lambda processes: None,
) -> Race:
    """Let ``clients`` clients try ``attempts`` times each, then judge.

    ``connect`` gives a connection in autocommit. ``disturb`` is called while they run. A client process that was killed is no failure.
    """
    start = time.perf_counter()
    variables = {
        **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        **environment,
        "DJANGO_SETTINGS_MODULE": "fltr_project.settings",
        "PGOPTIONS": f"-c default_transaction_isolation={isolation.replace(' ', chr(92) + ' ')}",
    }
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.auth_app.ledger.client",
                str(logs / f"{number}.log"),
                f"{isolation[:4]}{number}",
                str(clients // PROCESSES),
                str(attempts),
            ],
            cwd=ROOT,
            env=variables,
        )
        for number in range(PROCESSES)
    ]
    disturb(processes)
    for process in processes:
        code = process.wait(TIMEOUT)
        assert code in {0, -signal.SIGKILL}, f"a client ended with {code}"
    seconds = time.perf_counter() - start
    with connect() as connection:
        return judge(connection, logs, seconds)


def judge(connection: psycopg.Connection[Any], logs: Path, seconds: float) -> Race:
    """Count what must never be, and compare the ledger with what the clients were told.

    What has expired is given back first, so that every hold of the past has ended.
    """
    time.sleep(0.1)
    connection.execute(
        "SELECT public.try_settle_credits(h.id, 0, p_end => 'expired')"
        " FROM public.credit_transactions h WHERE h.type = 'usage' AND h.held_until IS NOT NULL"
    )
    ends = dict(
        connection.execute(
            "SELECT r.refund_of, coalesce(-u.amount, 0) FROM public.credit_transactions r"
            " LEFT JOIN public.credit_transactions u"
            " ON u.user_id = r.user_id AND u.idempotency_key = 'settled by ' || r.id"
            " WHERE r.held_until IS NOT NULL AND r.type = 'refund'"
        ).fetchall()
    )
    wrong = {
        name: connection.execute(query.encode()).fetchone()[0]  # type: ignore[index]
        for name, query in VIOLATIONS.items()
    }
    rows = dict(
        connection.execute("SELECT id, idempotency_key FROM public.credit_transactions").fetchall()
    )
    lines = [json.loads(line) for log in logs.glob("*.log") for line in _whole_lines(log)]
    errors: Counter[str] = Counter()
    for line in lines:
        errors.update(line.get("errors", {}))
    told = [line for line in lines if "id" in line]
    wrong["acknowledged changes that are lost"] = sum(
        line["id"] not in rows or rows[line["id"]] != line["key"] for line in told
    )
    wrong["acknowledged settlements that are lost"] = sum(
        ends.get(line["hold"]) != line["charged"] for line in lines if "hold" in line
    )
    wrong["deadlocks"] = errors["40P01"]
    return Race(len(told), len(rows), errors, {k: v for k, v in wrong.items() if v}, seconds)


def kill_a_client(processes: list[subprocess.Popen[bytes]]) -> None:
    """SIGKILL to a process of clients, in the middle of their work."""
    _let_them_work()
    processes[0].kill()


def _let_them_work() -> None:
    time.sleep(2 + random.random())  # noqa: S311


def _whole_lines(log: Path) -> list[str]:
    """A client that was killed may have left half a line."""
    return [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
