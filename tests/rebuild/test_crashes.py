"""Whatever happens in the middle: the schema is the old one or the new one, or can be made either."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest
from django.db import connections

from fltr_project.postgres.embedded.postmaster import SUPERUSER
from fltr_project.postgres.embedded.server import EmbeddedServer
from tests.conftest import ALIASES, ROOT, Databases, Outcome
from tests.samples import full_fingerprint, read_plan

from .crash import struck, terminate

pytestmark = pytest.mark.slow

NUKE = ("nuke_schema", "--database", "auth", "--no-input", "--no-backup")
CLEAN = ("clean_slate", "--no-input", "--no-backup")
USER = "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com')"
# Each with whether the old schema has gone by then.
NUKE_POINTS = {
    "statement ALTER SCHEMA .* RENAME": False,
    # The end of making the new schema like the old one, and the record of the operation.
    'statement COMMENT ON SCHEMA "public"': False,
    'statement COMMENT ON SCHEMA "public_aside': False,
    "call rebuild.set_aside.nuke": True,
    "statement DROP TABLE": True,
}
CLEAN_POINTS = {
    "step set_aside auth": (False, False),
    "step migrate auth": (False, False),
    "step prove auth": (False, False),
    "step verify fltr": (False, False),
    "step commit auth": (True, False),
    "step commit fltr": (True, True),
    "step purge auth": (True, True),
}


def crash(
    databases: Databases, how: str, point: str, *command: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **databases.environment()}
    environment["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    return subprocess.run(
        [sys.executable, "-m", "tests.rebuild.crash", how, point, *command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def prepare(databases: Databases) -> dict[str, dict[str, object]]:
    for alias in ALIASES:
        databases.mark(alias, "test")
    databases.execute("auth", USER)
    return {alias: full_fingerprint(alias) for alias in ALIASES}


def require_mendable(databases: Databases, run: Callable[..., Outcome], before: object) -> None:
    """``auth`` is whole as it was, or whole and new, and what is left over can be finished."""
    connections["auth"].close()
    assert databases.execute("auth", "SELECT 1 FROM pg_namespace WHERE nspname = 'public'")
    now, waiting = full_fingerprint(), read_plan().waiting
    if now != before:
        assert now["rows"].get(("public", "users"), "0 0") == "0 0"
        if waiting and waiting[0].is_whole:
            assert run("nuke_schema", "--database", "auth", "--undo", "--no-input").code == 0
            assert full_fingerprint() == before
    if read_plan().waiting:
        assert run("nuke_schema", "--database", "auth", "--purge", "--no-input").code == 0
    assert read_plan().waiting == ()
    assert run("migrate", "--database", "auth", "--verbosity", "0").code == 0
    assert run("verify_schema").code == 0


@pytest.mark.parametrize("point", NUKE_POINTS)
def test_a_killed_nuke(databases: Databases, run: Callable[..., Outcome], point: str) -> None:
    before = prepare(databases)
    assert crash(databases, "kill", point, *NUKE).returncode == -9
    assert (full_fingerprint() != before["auth"]) == NUKE_POINTS[point]
    require_mendable(databases, run, before["auth"])


@pytest.mark.parametrize("point", NUKE_POINTS)
def test_a_nuke_whose_session_is_terminated(
    databases: Databases, run: Callable[..., Outcome], point: str
) -> None:
    """Before its commit it could not run; after it, it is done, and says that the purge is not."""
    before, committed = prepare(databases), NUKE_POINTS[point]
    with struck(point, lambda: terminate("auth")):
        outcome = run(*NUKE)
    assert outcome.code == (0 if committed else 2)
    assert "Traceback" not in outcome.err
    if committed:
        (name,) = [each.name for each in read_plan().waiting]
        *_, last = outcome.out.strip().splitlines()
        assert last.startswith("Emptied schema public of ")
        assert f"{name} is still to be dropped: `manage.py nuke_schema" in last
        assert "--purge" in last
    require_mendable(databases, run, before["auth"])


@pytest.mark.parametrize("point", CLEAN_POINTS)
def test_a_killed_clean_slate(
    databases: Databases, run: Callable[..., Outcome], point: str
) -> None:
    before = prepare(databases)
    databases.execute("fltr", "INSERT INTO datasets (owner_id, name, slug) VALUES ('x', 'y', 'z')")
    before["fltr"] = full_fingerprint("fltr")
    assert crash(databases, "kill", point, *CLEAN).returncode == -9
    rebuilt = tuple(full_fingerprint(alias) != before[alias] for alias in ALIASES)
    assert rebuilt == CLEAN_POINTS[point]
    half = rebuilt == (True, False)
    planned = run("clean_slate", "--plan")
    assert ("was killed between its commits: auth was rebuilt, fltr was not" in planned.out) is half
    if half:
        again = run(*CLEAN, "--keep")
        assert again.code == 0
        assert "was killed between its commits" in again.out
        # The first old schema is still there, behind the one of this run.
        assert len(read_plan("auth").waiting) == 2
        assert run("nuke_schema", "--database", "auth", "--undo", "--no-input").code == 0
        outcome = run("nuke_schema", "--database", "auth", "--undo", "--no-input")
        assert "was killed between its commits" in outcome.out
        assert full_fingerprint("auth") == before["auth"]
    require_mendable(databases, run, before["auth"])


@pytest.mark.parametrize(
    ("point", "aliases", "code"),
    [
        ("step migrate auth", ("auth",), 7),
        ("step migrate fltr", ("auth",), 7),
        # Proven, and about to commit: the second has lost its session, so the first is undone.
        ("step verify fltr", ("fltr",), 7),
        ("step commit auth", ("fltr",), 7),
        ("step verify fltr", ("auth",), 7),
    ],
)
def test_a_clean_slate_whose_session_is_terminated(
    databases: Databases,
    run: Callable[..., Outcome],
    point: str,
    aliases: tuple[str, ...],
    code: int,
) -> None:
    before = prepare(databases)
    with struck(point, lambda: terminate(*aliases)):
        outcome = run(*CLEAN)
    assert outcome.code == code
    assert "Traceback" not in outcome.err
    for alias in ALIASES:
        connections[alias].close()
        assert full_fingerprint(alias) == before[alias]
        assert read_plan(alias).waiting == ()


@pytest.mark.parametrize(
    ("command", "point"),
    [
        (NUKE, 'statement COMMENT ON SCHEMA "public_aside'),
        (NUKE, "statement DROP TABLE"),
        (CLEAN, "step commit auth"),
    ],
)
def test_a_server_that_is_stopped_at_once(
    command: tuple[str, ...], point: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of its own, thrown away: the others' server must not be stopped."""
    root = tmp_path_factory.mktemp("s")
    server = EmbeddedServer(root)
    address = f"postgresql://{SUPERUSER}@/{{}}?host={server.socket_directory}"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "AUTH_DATABASE_URL": address.format("fltr_auth"),
        "FLTR_DATABASE_URL": address.format("fltr"),
        "CONTROL_DATABASE_URL": address.format("postgres"),
    }

    def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    server.join()
    try:
        for name in ("fltr_auth", "fltr"):
            server.create_database(name)
        assert manage("manage.py", "clean_slate", "--no-input", "--no-backup").returncode == 0
        with psycopg.connect(address.format("fltr_auth"), autocommit=True) as session:
            session.execute(USER)
        struck_down = manage("-m", "tests.rebuild.crash", f"stop {root}", point, *command)
        # A nuke that has committed is done, though its purge is not.
        assert struck_down.returncode == (0 if point == "statement DROP TABLE" else 2)
        assert "Traceback" not in struck_down.stderr
        server.join()
        with psycopg.connect(address.format("fltr_auth"), autocommit=True) as session:
            (there,) = session.execute(
                "SELECT to_regclass('public.users') IS NOT NULL FROM pg_namespace"
                " WHERE nspname = 'public'"
            ).fetchall()
        if point == "step commit auth":
            undone = manage(
                "manage.py", "nuke_schema", "--database", "auth", "--undo", "--no-input"
            )
            assert "was killed between its commits" in undone.stdout
            assert undone.returncode == 0
        if point == "statement DROP TABLE":
            purged = manage(
                "manage.py", "nuke_schema", "--database", "auth", "--purge", "--no-input"
            )
            assert purged.returncode == 0
        else:
            assert there == (True,)
            with psycopg.connect(address.format("fltr_auth")) as session:
                assert session.execute("SELECT count(*) FROM users").fetchall() == [(1,)]
        assert manage("manage.py", "migrate", "--database", "auth").returncode == 0
        assert manage("manage.py", "verify_schema").returncode == 0
    finally:
        server.leave()
        server.remove()
