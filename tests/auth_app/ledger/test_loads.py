"""Loads end with exactly the rows that were dumped, by the commands of docs/loading.md as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fltr_project.postgres import programs
from fltr_project.postgres.embedded.postmaster import SUPERUSER
from fltr_project.postgres.embedded.server import EmbeddedServer
from tests.conftest import ROOT, Databases

TABLES = (
    "users", "sessions", "accounts", "verifications", "subscriptions", "teams", "user_credits",
    "credit_transactions", "api_key_credits",
)  # fmt: skip
SWITCH = "PGOPTIONS='-c fltr.loading=on' "
# Seconds that a subscriber is given to catch up.
PATIENCE = 60
LIFE = (
    "INSERT INTO public.users (id, name, email) VALUES ('{0}a', 'A', '{0}a'), ('{0}b', 'B', '{0}b')",
    "INSERT INTO public.sessions (user_id, token, expires_at) VALUES ('{0}a', '{0}', now())",
    "INSERT INTO public.teams (id, name, owner_id) VALUES ('{0}t', 'T', '{0}a')",
    "UPDATE public.user_credits SET team_id = '{0}t' WHERE user_id = '{0}b'",
    "INSERT INTO public.api_key_credits (api_key, user_id, team_id, daily_limit)"
    " VALUES ('{0}k', '{0}a', '{0}t', 50)",
    "SELECT public.grant_credits('{0}a', 70, 'purchase', 'g', p_team_id => '{0}t')",
    "SELECT public.grant_credits('{0}a', 60, 'purchase', 'g', p_api_key => '{0}k')",
    "SELECT public.consume_credits('{0}a', 7, 'q', p_metadata => '{{\"a\": 1}}',"
    " p_idempotency_key => 'k')",
    "SELECT public.consume_credits('{0}a', 8, 'q', p_api_key => '{0}k')",
    "SELECT public.consume_credits('{0}b', 9, 'q', p_team_id => '{0}t')",
    "SELECT public.refund_credits(id, 3) FROM public.credit_transactions"
    " WHERE user_id = '{0}a' AND amount = -7",
)


def commands(chapter: str) -> list[str]:
    """What docs/loading.md types in one of its chapters."""
    text = (ROOT / "docs" / "loading.md").read_text(encoding="utf-8")
    (body,) = re.findall(rf"^## {chapter}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    found = re.findall(r"^\$ (.*)$", body, re.MULTILINE)
    assert found
    return [str(command) for command in found]


def client_programs(address: str) -> Path | None:
    """The folder of pg_dump and pg_restore that fit a server: of its own version, or of one that sets nothing it does not know."""
    with psycopg.connect(address) as server:
        major = server.info.server_version // 10000
    own = programs.server_bin(major)
    if own is not None and (own / "pg_restore").exists():
        return own
    # What pg_restore sets, 17 was the last to add to.
    newer = programs.find("pg_restore", at_least=major) if major >= 17 else None
    return newer.path.parent if newer else None


def typed(
    command: str, source: str, target: str, directory: Path
) -> subprocess.CompletedProcess[str]:
    """The command in a shell, as an operator types it in the project's directory."""
    folder = client_programs(source)
    if folder is None:
        pytest.skip("no pg_restore that fits the server is installed here")
    path = os.pathsep.join((str(folder), str(Path(sys.executable).parent), os.environ["PATH"]))
    inherited = {k: v for k, v in os.environ.items() if not k.endswith("_DATABASE_URL")}
    return subprocess.run(
        ["bash", "-c", command.replace("people.", f"{directory}/people.")],
        cwd=ROOT,
        env={
            **inherited,
            "PATH": path,
            "SOURCE_URL": source,
            "TARGET_URL": target,
            # As in the file of whoever types it.
            "FLTR_DATABASE_URL": "embedded",
            "DJANGO_SETTINGS_MODULE": "fltr_project.settings",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def live(connection: psycopg.Connection[Any], name: str) -> None:
    for statement in LIFE:
        connection.execute(statement.format(name).encode())


def rows(connection: psycopg.Connection[Any]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: connection.execute(
            f"SELECT t::text FROM public.{table} t ORDER BY 1".encode()
        ).fetchall()
        for table in TABLES
    }


@pytest.fixture
def target(databases: Databases) -> Iterator[str]:
    """The address of an empty migrated database beside ``auth``, which has had a life."""
    name = databases.names["auth"]
    with databases.connect("fltr") as server:
        server.execute(f"CREATE DATABASE {name}_2 TEMPLATE {name}".encode())
    with databases.connect("auth") as connection:
        live(connection, "x")
    yield databases.environment()["AUTH_DATABASE_URL"].replace(name, f"{name}_2")
    with databases.connect("fltr") as server:
        server.execute(f"DROP DATABASE {name}_2 WITH (FORCE)".encode())


@pytest.mark.slow
@pytest.mark.parametrize("chapter", ["pg_dump and pg_restore", "dumpdata and loaddata"])
def test_a_load_ends_with_the_rows_that_were_dumped(
    databases: Databases, target: str, tmp_path: Path, chapter: str
) -> None:
    source = databases.environment()["AUTH_DATABASE_URL"]
    dump, load = commands(chapter)
    assert load.startswith(SWITCH)
    ended = typed(dump, source, target, tmp_path)
    assert ended.returncode == 0, ended.stderr
    with databases.connect("auth", dbname=f"{databases.names['auth']}_2") as there:
        nothing = rows(there)
        # Without the switch it would double something, and fails.
        ended = typed(load.removeprefix(SWITCH), source, target, tmp_path)
        assert ended.returncode != 0
        assert "duplicate key value" in ended.stderr
        assert rows(there) == nothing
        ended = typed(load, source, target, tmp_path)
        assert ended.returncode == 0, ended.stderr
        with databases.connect("auth") as here:
            assert rows(there) == rows(here)
        (afterwards,) = commands("Afterwards")
        ended = typed(afterwards, source, target, tmp_path)
        assert ended.returncode == 0, ended.stderr
        # From here on people sign up as before.
        there.execute("INSERT INTO public.users (id, name, email) VALUES ('new', 'N', 'n')")
        account = there.execute("SELECT credits FROM public.user_credits WHERE user_id = 'new'")
        assert account.fetchone() == (100,)


def test_a_role_without_rights_on_credits_gains_nothing_by_the_switch(databases: Databases) -> None:
    role = f"app_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role} LOGIN; GRANT INSERT ON public.users TO {role}")
    try:
        with databases.connect("auth", user=role, options="-c fltr.loading=on") as connection:
            connection.execute("INSERT INTO public.users (id, name, email) VALUES ('u', 'U', 'u')")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT public.open_credit_account('u')")
        assert databases.execute("auth", "SELECT count(*) FROM public.user_credits") == [(0,)]
        # It is opened as any missing account is: once.
        for _ in range(2):
            databases.execute("auth", "SELECT public.open_credit_account('u')")
        assert databases.execute("auth", "SELECT credits FROM public.user_credits") == [(100,)]
    finally:
        databases.execute("auth", f"DROP OWNED BY {role}; DROP ROLE {role}")


@contextmanager
def migrated_server(major: int) -> Iterator[tuple[EmbeddedServer, str]]:
    """An embedded server of its own that can publish, and the address of its migrated ``fltr_auth``."""
    with tempfile.TemporaryDirectory(prefix="cs", dir="/dev/shm") as directory:
        Path(directory).chmod(0o755)
        server = EmbeddedServer(Path(directory), major)
        server.join()
        try:
            with psycopg.connect(
                host=str(server.socket_directory),
                user=SUPERUSER,
                dbname="postgres",
                autocommit=True,
            ) as connection:
                connection.execute("ALTER SYSTEM SET wal_level = logical")
            server.leave()
            server.join()
            server.create_database("fltr_auth")
            url = f"postgresql://{SUPERUSER}@/fltr_auth?host={server.socket_directory}"
            ended = typed(
                'AUTH_DATABASE_URL="$SOURCE_URL" python manage.py migrate --database auth -v 0',
                *(url, url, Path(directory)),
            )
            assert ended.returncode == 0, ended.stderr
            yield server, url
        finally:
            server.leave()
            server.remove()


@pytest.mark.slow
@pytest.mark.parametrize("major", [each for each in (15, 16, 17, 18) if programs.server_bin(each)])
def test_a_subscriber_ends_with_the_rows_of_its_publisher(major: int, tmp_path: Path) -> None:
    with (
        migrated_server(major) as (_, source),
        migrated_server(major) as (_, target),
        psycopg.connect(source, autocommit=True) as here,
        psycopg.connect(target, autocommit=True) as there,
    ):
        # Some from before the subscription, which are copied.
        live(here, "x")
        for command in commands("Logical replication"):
            ended = typed(command, source, target, tmp_path)
            assert ended.returncode == 0, ended.stderr
        caught_up(here, there)
        # And some that are streamed, with every kind of deletion.
        live(here, "y")
        here.execute("DELETE FROM public.users WHERE id = 'xb'")
        here.execute("UPDATE public.user_credits SET team_id = NULL")
        here.execute("DELETE FROM public.teams WHERE id = 'yt'")
        here.execute("DELETE FROM public.users WHERE id = 'xa'")
        caught_up(here, there)
        (afterwards,) = commands("Afterwards")
        ended = typed(afterwards, source, target, tmp_path)
        assert ended.returncode == 0, ended.stderr
        # A subscriber that takes over.
        there.execute("DROP SUBSCRIPTION people")
        there.execute("INSERT INTO public.users (id, name, email) VALUES ('new', 'N', 'n')")
        account = there.execute("SELECT credits FROM public.user_credits WHERE user_id = 'new'")
        assert account.fetchone() == (100,)
        with pytest.raises(psycopg.Error) as refused:
            there.execute("DELETE FROM public.credit_transactions")
        assert refused.value.sqlstate == "LC006"


def caught_up(here: psycopg.Connection[Any], there: psycopg.Connection[Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while rows(there) != rows(here) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert rows(there) == rows(here)
