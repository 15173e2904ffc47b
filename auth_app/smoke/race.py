"""N clients drain one account at once: the one proof that has to commit.

Its user is marked and removed at the end, after an interrupt too. That of a run that was killed is
removed by the next one, unless others are running.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from django.db import Error as DatabaseError
from django.db import connections, transaction

from auth_app import ledger
from fltr_project.catalog.facts import Catalog
from fltr_project.errors import CannotRun
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.postgres.target import Target, connect
from fltr_project.words import counted

from .checks import percentiles
from .context import EMAIL, LABEL, Live, Wrong, email, expect
from .run import CheckResult

# Credits in the account for each client, and how often each client tries: a quarter is refused.
CREDITS_EACH, TRIES = 15, 20
# An arbitrary key of the advisory lock that every race holds; it is per database.
RACE_KEY = 0x72616365


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
    with _user(clients * CREDITS_EACH, using) as (user_id, left_over):
        try:
            detail = _drain(user_id, clients, using)
            ok = True
        except Wrong as wrong:
            detail = str(wrong)
    if left_over:
        detail += f"; removed {counted(left_over, 'users')} left by killed runs"
    name = "1 client alone" if clients == 1 else f"{clients} clients at once"
    return CheckResult(name, ok, detail, round((time.perf_counter() - start) * 1000))


@contextmanager
def _user(credits_: int, using: str) -> Iterator[tuple[str, int]]:
    """A committed user for the block, and how many users of killed runs were removed before it.

    A race shares the lock of RACE_KEY from before its user is committed until it removes it, and
    users are removed only by a transaction that has that lock alone: no running race loses its own.
    """
    # Known beforehand: an interrupt of the commit does not tell whether there is a user.
    address = email()
    left_over = _remove_left_over(using)
    with locks.held(using) as holder:
        locks.limit_waiting(holder, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        holder.execute("SELECT pg_advisory_xact_lock_shared(%s)", [RACE_KEY])
        try:
            with transaction.atomic(using=using), pinned(connections[using]) as cursor:
                locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
                user_id = Live(using, Catalog(()), 0).user(credits_, address)
            yield user_id, left_over
        finally:
            with transaction.atomic(using=using), pinned(connections[using]) as cursor:
                locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
                cursor.execute("DELETE FROM public.users WHERE email = %s", [address])


def _remove_left_over(using: str) -> int:
    """Remove the users of killed runs, unless a race runs; how many."""
    with transaction.atomic(using=using), pinned(connections[using]) as cursor:
        locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [RACE_KEY])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute("DELETE FROM public.users WHERE email LIKE %s", [EMAIL.replace("_", r"\_")])
        return int(cursor.rowcount)


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
