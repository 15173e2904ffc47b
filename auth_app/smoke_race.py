"""N clients drain one account at once: the one proof that has to commit.

Its users are marked and removed at the end, whatever happens; those of a run that was killed are
removed by the next one.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from django.db import Error as DatabaseError
from django.db import connections, transaction

from fltr_project.errors import CannotRun
from fltr_project.postgres import locks
from fltr_project.postgres.target import Target, connect
from fltr_project.schema.facts import Catalog
from fltr_project.words import counted

from . import credits as ledger
from .smoke import Check
from .smoke_checks import percentiles
from .smoke_live import EMAIL, MARK, Live, Wrong, expect

# Credits in the account for each client, and how often each client tries: a quarter is refused.
CREDITS_EACH, TRIES = 15, 20
# Users of a run that was killed are removed once no run can still be using them.
LEFT_OVER = "1 hour"


def require_room(target: Target, clients: int) -> None:
    """Raise CannotRun where the server has no room for so many connections more. Read-only.

    Found out by trying, that would leave none to anybody else meanwhile. The slots that a server
    reserves stay free, also where a superuser might take them.
    """
    with connect(target.alias).cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int"
            # Since PostgreSQL 16.
            " - coalesce(current_setting('reserved_connections', true)::int, 0)"
            " - (SELECT sum(numbackends) FROM pg_stat_database)::int"
        )
        (room,) = cursor.fetchone()
    if clients > room:
        raise CannotRun(
            f"--concurrency is {clients}, but {target} has room for {room} more connections. "
            "Use fewer clients, or raise max_connections."
        )


def drain(clients: int, using: str = "auth") -> Check:
    """Let ``clients`` threads, each with a connection, spend one account to exactly zero.

    Commits, and removes its users again. Raises django.db.Error when it cannot connect that often
    or cannot clean up.
    """
    start = time.perf_counter()
    with connections[using].cursor() as cursor:
        cursor.execute(
            "DELETE FROM public.users WHERE email LIKE %s"
            " AND created_at < timezone('utc', now()) - %s::interval",
            [EMAIL.replace("_", r"\_"), LEFT_OVER],
        )
        left_over = cursor.rowcount
    live = Live(using, Catalog(()), 0)
    with transaction.atomic(using=using):
        user_id = live.user(clients * CREDITS_EACH)
    ok = False
    try:
        detail = _drain(user_id, clients, using)
        ok = True
    except Wrong as wrong:
        detail = str(wrong)
    finally:
        _remove(user_id, using)
    if left_over:
        detail += f"; removed {counted(left_over, 'users')} of a run that was killed"
    name = "1 client alone" if clients == 1 else f"{clients} clients at once"
    return Check(name, ok, detail, round((time.perf_counter() - start) * 1000))


def _drain(user_id: str, clients: int, using: str) -> str:
    before = ledger.balance(user_id, using=using)
    ready = threading.Barrier(clients)
    with ThreadPoolExecutor(clients) as pool:
        try:
            results = list(pool.map(lambda _: _spend(user_id, ready, using), range(clients)))
        except BaseException:
            # Ctrl-C while they are being started: those who wait for the others would wait for ever.
            ready.abort()
            raise
    done = sum(done for done, _, _ in results)
    refused = sum(refused for _, refused, _ in results)
    times = [each for _, _, times in results for each in times]
    expect("the number of consumes that went through", done, before)
    expect("the number of refusals", refused, clients * TRIES - before)
    expect("the balance", ledger.balance(user_id, using=using), 0)
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(amount), 0), count(*) FILTER (WHERE operation = %s AND amount = -1),"
            " count(DISTINCT balance_after) FILTER (WHERE operation = %s AND amount = -1)"
            " FROM public.credit_transactions WHERE user_id = %s",
            [f"{MARK} race", f"{MARK} race", user_id],
        )
        expect("the ledger's sum, rows and balances", cursor.fetchone(), (0, before, before))
    return (
        f"{before} credits, {clients * TRIES} tries: {done} went through, {refused} refused, "
        f"balance 0; with commit {percentiles(times)}"
    )


def _spend(user_id: str, ready: threading.Barrier, using: str) -> tuple[int, int, list[float]]:
    """One client: how many consumes went through and were refused, and what each took in ms."""
    done, refused, times = 0, 0, []
    try:
        try:
            connections[using].ensure_connection()
        except DatabaseError:
            ready.abort()
            raise
        try:
            ready.wait()
        except threading.BrokenBarrierError:
            # Another client could not connect, and says so.
            return 0, 0, []
        for _ in range(TRIES):
            start = time.perf_counter()
            try:
                ledger.consume(user_id, 1, operation=f"{MARK} race", using=using)
                done += 1
            except ledger.InsufficientCredits:
                refused += 1
            times.append((time.perf_counter() - start) * 1000)
        return done, refused, times
    finally:
        connections[using].close()


def _remove(user_id: str, using: str) -> None:
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        cursor.execute("DELETE FROM public.users WHERE id = %s", [user_id])
