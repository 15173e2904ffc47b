"""What a race of `smoke_credits --concurrency` leaves behind when it is ended half-way: nothing for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from auth_app.smoke import marked, race
from tests.conftest import ROOT, Databases, Outcome

pytestmark = pytest.mark.slow

# The lock that stops the first race, which the tests hold.
STOP = 42
STOPPING = f"""
    CREATE FUNCTION public.stop() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.user_id = (SELECT id FROM public.users ORDER BY created_at LIMIT 1) THEN
            PERFORM pg_advisory_xact_lock_shared({STOP});
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER stop BEFORE INSERT ON public.credit_transactions
    FOR EACH ROW WHEN (NEW.operation = 'smoke_credits race') EXECUTE FUNCTION public.stop();
"""
LOCKS = """
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND objid = %s AND granted = %s
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@contextmanager
def stopped_race(
    databases: Databases,
) -> Iterator[tuple[subprocess.Popen[str], psycopg.Connection]]:
    """A race of a process of its own, half-way, that goes on when the connection is closed."""
    databases.execute("auth", STOPPING)
    inherited = {k: v for k, v in os.environ.items() if not k.endswith("_DATABASE_URL")}
    settings = {"DJANGO_SETTINGS_MODULE": "fltr_project.settings"}
    with databases.connect("auth") as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [STOP])
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "smoke_credits", "--concurrency", "2"],
            env={**inherited, **settings, **databases.environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_until(databases, STOP, granted=False, count=1)
            yield process, holder
        finally:
            process.kill()
            process.communicate()


def wait_until(databases: Databases, key: int, *, granted: bool, count: int) -> None:
    deadline = time.monotonic() + 30
    while databases.execute("auth", LOCKS, key, granted) != [(count,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def users(databases: Databases) -> list[str]:
    return [id_ for (id_,) in databases.execute("auth", "SELECT id FROM public.users ORDER BY id")]


@pytest.mark.parametrize(
    ("number", "times", "word", "code"),
    [(signal.SIGTERM, 2, "Ended.", 143), (signal.SIGINT, 1, "Interrupted.", 130)],
)
def test_a_race_that_is_ended_removes_its_user(
    databases: Databases, number: int, times: int, word: str, code: int
) -> None:
    with stopped_race(databases) as (process, holder):
        assert len(users(databases)) == 1
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.3)
        holder.close()
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("", f"{word}\n", code)
    assert users(databases) == []


def test_the_user_of_a_killed_race_is_removed_by_the_next(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    with stopped_race(databases) as (process, holder):
        (racing,) = users(databases)
        # Another race meanwhile lets it live.
        assert "removed" not in race.drain(1).detail
        assert users(databases) == [racing]
        process.kill()
        holder.close()
        process.wait()
    wait_until(databases, marked.KEY, granted=True, count=0)
    databases.execute("auth", "DROP FUNCTION public.stop() CASCADE")
    # Without a race nothing is removed.
    assert run("smoke_credits").code == 0
    assert users(databases) == [racing]
    outcome = run("smoke_credits", "--concurrency", "2")
    assert outcome.code == 0
    assert "; removed 1 user left by killed runs\n" in outcome.out
    assert users(databases) == []


def test_only_users_of_the_mark_are_left_over(databases: Databases) -> None:
    databases.execute(
        "auth",
        "INSERT INTO public.users (id, name, email) VALUES"
        " ('one', 'smoke_credits', 'smoke_credits-1@example.invalid'),"
        " ('two', 'smoke_credits', 'smoke_credits-2@example.invalid'),"
        " ('real', 'smoke_credits', 'smokeXcredits-3@example.invalid')",
    )
    assert race.drain(2).detail.endswith("; removed 2 users left by killed runs")
    assert users(databases) == ["real"]
