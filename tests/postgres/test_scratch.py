"""The throw-away database: reached by its alias while it is there, and gone however the block ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from django.db import connections

from fltr_project.errors import CannotRun
from fltr_project.postgres.scratch import PREFIX, drop_left_over, scratch
from tests.conftest import ROOT, Databases

PROGRAM = """
import django, time
django.setup()
from fltr_project.postgres.scratch import scratch
with scratch("auth") as connection:
    connection.ensure_connection()
    print(connection.settings_dict["NAME"], flush=True)
    time.sleep(60)
"""


def there(databases: Databases) -> set[str]:
    rows = databases.execute(
        "auth", "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", PREFIX
    )
    return {name for (name,) in rows}


def test_its_alias_reaches_it_and_then_what_it_reached_before(databases: Databases) -> None:
    before = connections["auth"]
    with scratch("auth") as connection:
        assert connections["auth"] is connection
        with connections["auth"].cursor() as cursor:
            cursor.execute("CREATE TABLE here (i integer)")
            cursor.execute("SELECT current_database(), to_regclass('public.users')")
            name, users = cursor.fetchone()
        assert (name in there(databases), users) == (True, None)
    assert connections["auth"] is before
    assert name not in there(databases)
    with connections["auth"].cursor() as cursor:
        cursor.execute("SELECT current_database(), to_regclass('public.here')")
        assert cursor.fetchone() == (databases.names["auth"], None)


def test_it_is_dropped_when_the_block_fails(databases: Databases) -> None:
    before = connections["auth"]
    with pytest.raises(ValueError, match=PREFIX) as failed:
        fail_inside()
    assert connections["auth"] is before
    assert str(failed.value) not in there(databases)


def fail_inside() -> None:
    with scratch("auth") as connection:
        connection.ensure_connection()
        raise ValueError(connection.settings_dict["NAME"])


def test_it_is_no_leftover_while_its_maker_is_there(databases: Databases) -> None:
    with scratch("auth") as connection:
        connection.ensure_connection()
        name = connection.settings_dict["NAME"]
        assert name in there(databases)
        # Nobody is connected to it.
        connection.close()
        assert name not in drop_left_over(connections["fltr"])
        assert name in there(databases)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_ended_leaves_nothing_for_the_next(
    databases: Databases, how: signal.Signals
) -> None:
    settings = {"DJANGO_SETTINGS_MODULE": "fltr_project.settings", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **databases.environment(), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert name in there(databases)
        process.send_signal(how)
        process.wait(20)
    if how is signal.SIGINT:
        assert name not in there(databases)
        return
    assert name in there(databases)
    # The server takes a moment to see that its client is gone.
    deadline = time.monotonic() + 20
    while name in there(databases) and time.monotonic() < deadline:
        with scratch("auth"):
            pass
    assert name not in there(databases)


def test_a_role_that_may_not_is_told_so(databases: Databases) -> None:
    role = f"plain_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}")
    options = connections["auth"].settings_dict["OPTIONS"]
    connections["auth"].close()
    options["assume_role"] = role
    before = connections["auth"]
    try:
        with pytest.raises(CannotRun, match="may not create databases"), scratch("auth"):
            pass
        assert connections["auth"] is before
    finally:
        del options["assume_role"]
        connections["auth"].close()
        databases.execute("auth", f"DROP ROLE {role}")
