"""Struck down at each step of a backup, a proof and a restore: nothing half-done, and nothing left after the next run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
import pytest
from pytest_django import Settings

from fltr_project.backup import places
from fltr_project.postgres.embedded.postmaster import SUPERUSER
from fltr_project.postgres.embedded.server import EmbeddedServer
from fltr_project.postgres.scratch import PREFIX
from tests.conftest import ROOT, Databases, Outcome
from tests.rebuild.crash import struck, terminate
from tests.rebuild.test_crashes import crash
from tests.samples import full_fingerprint, read_plan

Run = Callable[..., Outcome]
USER = "INSERT INTO users (id, name, email) VALUES ('u', 'Ada', 'ada@example.com')"
BACKUP_POINTS = (
    "call backup.directory.prepare",
    "call backup.digests.read",
    "call backup.reading.sequences",
    "call backup.manifest.write",
    "call backup.directory.finish",
)
PROOF_POINTS = (
    "statement CREATE DATABASE",
    "call backup.proof.fill",
    "call backup.fingerprint.difference",
    "statement DROP DATABASE IF EXISTS",
    "call backup.taking.prove",
)
RESTORE_POINTS = {
    "call rebuild.set_aside.set_aside": False,
    "call backup.restore.fill": False,
    "call backup.restore.require_equal": False,
    "call backup.restore.restore": True,
    "statement DROP TABLE": True,
}
READ_POINT = "call backup.reading.read"
STEPS = (*BACKUP_POINTS, READ_POINT, *PROOF_POINTS)


def begun(databases: Databases, into: Path) -> tuple[str, ...]:
    databases.mark("auth", "test")
    databases.execute("auth", USER)
    return ("--database", "auth", "--backup-dir", str(into))


def every_scratch_database(databases: Databases) -> set[str]:
    rows = databases.execute(
        "auth", "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", PREFIX
    )
    return {name for (name,) in rows}


def require_settled(databases: Databases, run: Run, here: Sequence[str], scratch: set[str]) -> None:
    """The next run leaves nothing but its own backup; a server or a pg_dump may take a moment to notice."""
    deadline = time.monotonic() + 20
    while True:
        assert run("backup_database", *here, "--proof", "--rotate", "1").code == 0
        left = sorted(Path(here[-1]).glob("*.partial"))
        still = scratch & every_scratch_database(databases)
        if not (left or still):
            return
        assert time.monotonic() < deadline, (left, still)


@pytest.mark.parametrize("point", STEPS)
def test_a_killed_backup(databases: Databases, run: Run, tmp_path: Path, point: str) -> None:
    here = begun(databases, tmp_path)
    before, others = full_fingerprint(), every_scratch_database(databases)
    proof = "--no-proof" if point == READ_POINT else "--proof"
    killed = crash(databases, "kill", point, "backup_database", *here, proof)
    assert killed.returncode == -9, killed
    assert full_fingerprint() == before
    mine = every_scratch_database(databases) - others
    # Whatever has its name is whole, though nobody may have read it.
    whole = sorted(tmp_path.glob("*.dump"))
    if point in {READ_POINT, "call backup.proof.fill"}:
        listed = run("backup_database", "--list", "--backup-dir", str(tmp_path)).out
        assert "neither read nor proven" in listed
    assert all(run("backup_database", *here, "--prove", str(path)).code == 0 for path in whole)
    require_settled(databases, run, here, mine)
    (path,) = tmp_path.glob("*.dump")
    assert sorted(tmp_path.iterdir()) == [path, path.with_suffix(".json")]


@pytest.mark.parametrize("point", RESTORE_POINTS)
def test_a_killed_restore(databases: Databases, run: Run, tmp_path: Path, point: str) -> None:
    here = begun(databases, tmp_path)
    old = full_fingerprint()
    assert run("backup_database", *here).code == 0
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Bob', 'bob@example.com')")
    before = full_fingerprint()
    restore = ("restore_database", *here, "--from", "latest", "--no-input", "--no-backup")
    killed = crash(databases, "kill", point, *restore)
    assert killed.returncode == -9, killed
    done = RESTORE_POINTS[point]
    assert full_fingerprint() == (old if done else before)
    if read_plan().waiting:
        assert done
        assert run("nuke_schema", "--database", "auth", "--purge", "--no-input").code == 0
    assert read_plan().waiting == ()
    assert run(*restore).code == 0
    assert full_fingerprint() == old


@pytest.mark.parametrize("point", RESTORE_POINTS)
def test_a_restore_whose_session_is_terminated(
    databases: Databases, run: Run, tmp_path: Path, point: str
) -> None:
    here = begun(databases, tmp_path)
    old = full_fingerprint()
    assert run("backup_database", *here).code == 0
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Bob', 'bob@example.com')")
    before = full_fingerprint()
    if point == "call backup.restore.restore":
        pytest.skip("it has closed its session by then")
    with struck(point, lambda: terminate("auth")):
        outcome = run("restore_database", *here, "--from", "latest", "--no-input", "--no-backup")
    assert "Traceback" not in outcome.err
    if RESTORE_POINTS[point]:
        assert outcome.code == 0, outcome
        assert full_fingerprint() == old
        assert "--purge" in outcome.out
    else:
        assert outcome.code in {2, 7}, outcome
        assert f"{databases.names['auth']} is as it was." in outcome.err
        assert full_fingerprint() == before


@pytest.mark.parametrize("point", ["call backup.digests.read", "call backup.proof.fill"])
def test_error_a_backup_whose_session_is_terminated(
    databases: Databases, run: Run, tmp_path: Path, point: str
) -> None:
    here = begun(databases, tmp_path)
    before, others = full_fingerprint(), every_scratch_database(databases)
    with struck(point, lambda: terminate("auth")):
        outcome = run("backup_database", *here, "--proof")
    mine = every_scratch_database(databases) - others
    assert "Traceback" not in outcome.err
    assert outcome.code in {0, 2, 6}, outcome
    if outcome.code == 0:
        # In the next place.
        assert "restored into a server of its own" in outcome.out
    assert full_fingerprint() == before
    require_settled(databases, run, here, mine)
    assert len(list(tmp_path.iterdir())) == 2


PROVING = """
import django, sys, time
from django.conf import settings
django.setup()
settings.PROOF_DIR = sys.argv[1]
from django.db import connections
from fltr_project.backup import places, proof
from fltr_project.postgres import scratch
scratch.may_create = lambda connection: False
(place, *_) = [each for each in places.places("auth", 18, ["a role"]) if each.name.endswith("18")]
with place.open() as connection:
    connection.ensure_connection()
    print(connection.settings_dict["HOST"], flush=True)
    time.sleep(60)
"""


def test_a_server_of_a_proof_that_was_killed(
    databases: Databases, tmp_path: Path, settings: Settings
) -> None:
    settings.PROOF_DIR = tmp_path / "proofs"
    process = subprocess.Popen(
        [sys.executable, "-c", PROVING, str(settings.PROOF_DIR)],
        cwd=ROOT,
        env={**os.environ, **databases.environment(), "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        host = process.stdout.readline().strip()
        # One that is at work stays.
        places.remove_left_over()
        with psycopg.connect(host=host, user=SUPERUSER, dbname="postgres") as session:
            assert session.execute("SELECT 1").fetchall() == [(1,)]
        process.kill()
    assert any(settings.PROOF_DIR.iterdir())
    places.remove_left_over()
    assert list(settings.PROOF_DIR.iterdir()) == []
    assert not Path(host).exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host=host, user=SUPERUSER, dbname="postgres")


@pytest.mark.parametrize(
    ("command", "point"),
    [
        (("backup_database", "--proof"), "call backup.digests.read"),
        (("backup_database", "--proof"), "call backup.proof.fill"),
        (
            ("restore_database", "--from", "latest", "--no-input", "--no-backup"),
            "call backup.restore.fill",
        ),
    ],
)
def test_a_server_that_is_stopped_at_once(
    command: Sequence[str], point: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of its own, thrown away: the others' server must not be stopped."""
    root, into = tmp_path_factory.mktemp("s"), tmp_path_factory.mktemp("b")
    server = EmbeddedServer(root)
    address = f"postgresql://{SUPERUSER}@/{{}}?host={server.socket_directory}"
    named = {"AUTH": "fltr_auth", "FLTR": "fltr", "CONTROL": "postgres"}
    urls = {f"{name}_DATABASE_URL": address.format(database) for name, database in named.items()}

    def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **urls, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    here = ("--database", "auth", "--backup-dir", str(into))
    server.join()
    try:
        for name in ("fltr_auth", "fltr"):
            server.create_database(name)
        assert manage("manage.py", "migrate", "--database", "auth").returncode == 0
        marked = manage("manage.py", "mark_environment", "--database", "auth", "test")
        assert marked.returncode == 0, marked
        with psycopg.connect(address.format("fltr_auth"), autocommit=True) as session:
            session.execute(USER)
        assert manage("manage.py", "backup_database", *here).returncode == 0
        struck_down = manage("-m", "tests.rebuild.crash", f"stop {root}", point, *command, *here)
        # A proof whose server went goes on to a server of its own, and may well succeed there.
        proof_goes_on = point == "call backup.proof.fill"
        assert struck_down.returncode in ({0, 2, 6, 7} if proof_goes_on else {2, 6, 7}), struck_down
        assert "Traceback" not in struck_down.stderr
        server.join()
        with psycopg.connect(address.format("fltr_auth"), autocommit=True) as session:
            assert session.execute("SELECT count(*) FROM public.users").fetchall() == [(1,)]
        assert manage("manage.py", *command, *here).returncode == 0
        assert manage("manage.py", "backup_database", "--proof", *here).returncode == 0
        with psycopg.connect(address.format("postgres"), autocommit=True) as session:
            left = session.execute(
                "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [PREFIX]
            )
            assert left.fetchall() == []
        assert {path.suffix for path in into.iterdir()} == {".dump", ".json"}
    finally:
        server.leave()
        server.remove()
