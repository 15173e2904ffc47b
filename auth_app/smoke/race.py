"""N clients drain one account at once, which has to be committed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from django.db import Error as DatabaseError
from django.db import connections, transaction

from auth_app import ledger
from fltr_project.catalog.facts import Catalog
from fltr_project.errors import CannotRun
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.postgres.target import Target, connect

from . import marked
from .checks import percentiles
from .context import LABEL, Live, Wrong, expect
from .run import CheckResult

# Credits in the account for each client, and how often each client tries: a quarter is refused.
CREDITS_EACH, TRIES = 15, 20


def require_room(target: Target, clients: int) -> None:
    """Raise CannotRun where the server has no room for so many connections more. Read-only.

    Found out by trying, that would leave none to anybody else meanwhile. The slots that a server
    reserves stay free, also where a superuser might take them.
    """
    with pinned(connect(target.alias)) as cursor:
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


def drain(clients: int, using: str = "auth") -> CheckResult:
    """Let ``clients`` threads, each with a connection, spend one account to exactly zero.

    Commits, and removes its user again. Raises django.db.Error when it cannot connect that often
    or cannot clean up.
    """
    start = time.perf_counter()
    ok = False
    with marked.room(marked.RACE, using) as user:
        user_id = _user(user.address, clients * CREDITS_EACH, using)
        try:
            detail = _drain(user_id, clients, using)
            ok = True
        except Wrong as wrong:
            detail = str(wrong)
    detail += user.sentence
    name = "1 client alone" if clients == 1 else f"{clients} clients at once"
    return CheckResult(name, ok, detail, round((time.perf_counter() - start) * 1000))


def _user(address: str, credits_: int, using: str) -> str:
    """A committed user with so many credits."""
    with transaction.atomic(using=using), pinned(connections[using]) as cursor:
        locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        return Live(using, Catalog(()), 0).user(credits_, address)


def _drain(user_id: str, clients: int, using: str) -> str:
    before = ledger.balance(user_id, using=using)
    ready = threading.Barrier(clients)
    with ThreadPoolExecutor(clients) as pool:
        try:
            results = list(pool.map(lambda _: _spend(user_id, ready, using), range(clients)))
        except BaseException:
            # Ctrl-C: those who wait for the others would wait for ever, and those who spend stop.
            ready.abort()
            raise
    done = sum(done for done, _, _ in results)
    refused = sum(refused for _, refused, _ in results)
    times = [each for _, _, times in results for each in times]
    expect("the number of consumes that went through", done, before)
    expect("the number of refusals", refused, clients * TRIES - before)
    expect("the balance", ledger.balance(user_id, using=using), 0)
    with pinned(connections[using]) as cursor:
        cursor.execute(
            "SELECT coalesce(sum(amount), 0), count(*) FILTER (WHERE operation = %s AND amount = -1),"
            " count(DISTINCT balance_after) FILTER (WHERE operation = %s AND amount = -1)"
            " FROM public.credit_transactions WHERE user_id = %s",
            [f"{LABEL} race", f"{LABEL} race", user_id],
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
            if ready.broken:
                break
            start = time.perf_counter()
            try:
                ledger.consume(user_id, 1, operation=f"{LABEL} race", using=using)
                done += 1
            except ledger.InsufficientCredits:
                refused += 1
            times.append((time.perf_counter() - start) * 1000)
        return done, refused, times
    finally:
        connections[using].close()
