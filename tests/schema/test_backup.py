from __future__ import annotations

import json
import os
import resource
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fltr_project.errors import BackupFailed, CannotRun, RolledBack
from fltr_project.postgres import dump, programs
from fltr_project.schema import aside, backup, restore
from tests.conftest import Databases, Outcome
from tests.schema.samples import fill, full_fingerprint, read_plan


def made(directory: Path) -> Path:
    (path,) = directory.glob("*.dump")
    return path


def test_what_was_nuked_comes_back_equal(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    fill(databases)
    databases.mark("auth", "test")
    before = full_fingerprint()
    outcome = run("nuke_schema", "--database", "auth", "--no-input", "--backup-dir", str(tmp_path))
    assert (outcome.err, outcome.code) == ("", 0)
    assert read_plan().tables == ()
    databases.execute("auth", "CREATE TABLE stray (id int)")
    databases.execute("auth", "SELECT lo_from_bytea(77, 'newer')")
    options = ("--from", str(made(tmp_path)), "--no-input", "--no-backup")
    outcome = run("restore_database", "--database", "auth", *options)
    assert (outcome.err, outcome.code) == ("", 0)
    assert full_fingerprint() == before
    assert read_plan().waiting == ()
    # The connection is as Django left it, and the restored schema works.
    assert run("smoke_credits").code == 0


def test_a_restore_can_be_undone(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    databases.mark("auth", "test")
    run("backup_database", "--database", "auth", "--backup-dir", str(tmp_path))
    databases.execute("auth", "CREATE TABLE stray AS SELECT 1 AS id")
    before = full_fingerprint()
    options = ("--from", str(made(tmp_path)), "--no-input", "--keep", "--no-backup")
    assert run("restore_database", "--database", "auth", *options).code == 0
    assert "stray" not in read_plan().tables
    assert run("nuke_schema", "--database", "auth", "--undo", "--no-input").code == 0
    assert full_fingerprint() == before


def test_it_restores_into_a_database_that_has_nothing(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    databases.mark("auth", "test")
    databases.execute(
        "auth", "CREATE SCHEMA drizzle; CREATE TABLE drizzle.journal AS SELECT 7 AS entry"
    )
    before = full_fingerprint()
    run("backup_database", "--database", "auth", "--backup-dir", str(tmp_path))
    databases.execute("auth", "DROP SCHEMA public CASCADE")
    databases.execute("auth", "DROP SCHEMA drizzle CASCADE")
    options = ("--from", str(made(tmp_path)), "--no-input", "--no-backup")
    outcome = run("restore_database", "--database", "auth", *options)
    assert (outcome.err, outcome.code) == ("", 0)
    assert full_fingerprint() == before
    assert databases.execute("auth", "SELECT entry FROM drizzle.journal") == [(7,)]


def test_the_manifest_says_what_the_archive_holds(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    fill(databases)
    outcome = run("backup_database", "--database", "auth", "--backup-dir", str(tmp_path))
    assert outcome.code == 0
    path = made(tmp_path)
    document = json.loads(path.with_suffix(".json").read_text())
    assert document["sha256"] == dump.checksum(path)
    assert document["bytes"] == path.stat().st_size
    counts = {table: digest.split()[0] for _, table, digest in document["rows"]}
    assert counts["users"] == "2"
    assert counts["kinds"] == "20"
    assert counts['Odd "Name" FROM stdin;'] == "3"
    assert document["sequences"]["public.tickets"] == "105 true"
    # Nobody else may read what is in a production database.
    assert [stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()] == [0o600, 0o600]


def test_plan_and_backup_and_restore_count_the_same_rows(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    """All rows, and those among them that are not the records of what migrations ran."""
    databases.mark("auth", "test")
    databases.execute("auth", "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com')")
    ((migrations,),) = databases.execute("auth", "SELECT count(*) FROM django_migrations")
    # The user, the account and its bonus.
    product, total = 3, migrations + 3
    said = f"11 tables with {total} rows, {product} of them the product's"
    auth = ("--database", "auth")
    here = ("--backup-dir", str(tmp_path))
    assert said in run("nuke_schema", *auth, "--plan").out
    assert said in run("backup_database", *auth, *here).out
    options = (*auth, *here, "--from", str(made(tmp_path)), "--no-input")
    assert said in run("restore_database", *options).out
    as_json = ("--format", "json")
    (backup_,) = json.loads(run("backup_database", *auth, *here, *as_json).out)["backups"]
    plan = json.loads(run("nuke_schema", *auth, "--plan", *as_json).out)["plan"]
    restored = json.loads(run("restore_database", *options, *as_json).out)
    for document in (plan, backup_, restored):
        assert (document["rows"], document["product_rows"]) == (total, product)


def test_it_keeps_the_newest_backups_of_each_database(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    options = ("backup_database", "--backup-dir", str(tmp_path), "--rotate", "2")
    first, _, third = (run(*options) for _ in range(3))
    gone = [line.strip() for line in first.out.splitlines() if line.endswith(".dump")]
    assert len(gone) == 2
    for path in gone:
        assert f"{path} was beyond the 2 backups kept: removed" in third.out
    documents = json.loads(run(*options, "--format", "json").out)["backups"]
    assert [len(each["removed"]) for each in documents] == [1, 1]
    names = sorted(path.name for path in tmp_path.glob("*.dump"))
    assert [
        sum(name.startswith(databases.names[a]) for name in names) for a in ("auth", "fltr")
    ] == [2, 2]
    assert len(list(tmp_path.iterdir())) == 8


def test_error_without_pg_dump_nothing_is_touched(
    databases: Databases, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = full_fingerprint()
    monkeypatch.setattr(programs, "find", lambda name, at_least: None)
    for command in (("nuke_schema", "--database", "auth"), ("clean_slate",)):
        outcome = run(*command, "--no-input")
        assert outcome.code == 6
        assert "There is no pg_dump and pg_restore of version" in outcome.err
    assert full_fingerprint() == before


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'pg_dump: error: out of shared memory' >&2; exit 1", "out of shared memory"),
        ("kill -9 $$", "it ended with status -9"),
        ('head -c 100 /dev/zero > "${2#--file=}"', "is damaged"),
        (": ", "is damaged"),
    ],
)
def test_error_a_failing_pg_dump_touches_nothing(
    databases: Databases,
    run: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    script: str,
    reason: str,
) -> None:
    broken = tmp_path / "pg_dump"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    found = programs.find

    def find(name: str, at_least: int) -> programs.Program | None:
        return programs.Program(broken, 18) if name == "pg_dump" else found(name, at_least)

    monkeypatch.setattr(programs, "find", find)
    before = full_fingerprint()
    target = tmp_path / "backups"
    options = ("--no-input", "--backup-dir", str(target))
    outcome = run("nuke_schema", "--database", "auth", *options)
    assert outcome.code == 6
    assert reason in outcome.err
    assert full_fingerprint() == before
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95, 0.999])
def test_error_a_truncated_archive_is_found(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, share: float
) -> None:
    fill(databases)
    whole = dump.write

    def write(connection: object, path: Path, **options: object) -> str:
        version = whole(connection, path, **options)  # type: ignore[arg-type]
        os.truncate(path, int(path.stat().st_size * share))
        return version

    monkeypatch.setattr(dump, "write", write)
    with pytest.raises(BackupFailed, match="damaged"):
        backup.backup(read_plan(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def full_at(size: int, directory: Path, *, mount: bool) -> Iterator[None]:
    """A file system of ``size`` bytes at the directory, or a limit on the size of every file."""
    if mount:
        options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
        subprocess.run(
            [shutil.which("mount") or "mount", *options], check=True, capture_output=True
        )
        try:
            yield
        finally:
            subprocess.run([shutil.which("umount") or "umount", str(directory)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def may_mount() -> bool:
    with tempfile.TemporaryDirectory() as directory:
        try:
            with full_at(4096, Path(directory), mount=True):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


# A file system of its own where the user may mount one, and on every system a limit.
@pytest.mark.parametrize("mount", [False, True] if may_mount() else [False])
@pytest.mark.parametrize("size", [0, 8192, 32768])
def test_error_a_full_disk_touches_nothing(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path, size: int, mount: bool
) -> None:
    fill(databases)
    databases.mark("auth", "test")
    before = full_fingerprint()
    with full_at(max(size, 4096) if mount else size, tmp_path, mount=mount):
        options = ("--no-input", "--backup-dir", str(tmp_path))
        outcome = run("nuke_schema", "--database", "auth", *options)
        left = list(tmp_path.iterdir())
    assert outcome.code == 6
    assert "othing was touched" in outcome.err
    assert left == []
    assert full_fingerprint() == before


def test_error_a_damaged_backup_is_not_restored(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    run("backup_database", "--database", "auth", "--backup-dir", str(tmp_path))
    path = made(tmp_path)
    before = full_fingerprint()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\0\0\0\0")
    outcome = run("restore_database", "--database", "auth", "--from", str(path), "--no-input")
    assert outcome.code == 2
    assert "is damaged: its SHA-256 is" in outcome.err
    missing = run("restore_database", "--database", "auth", "--from", "nowhere.dump", "--no-input")
    assert missing.code == 2
    assert "There is no backup 'nowhere.dump'" in missing.err
    assert full_fingerprint() == before


def test_error_a_restore_that_is_not_equal_rolls_back(databases: Databases, tmp_path: Path) -> None:
    fill(databases)
    databases.mark("auth", "test")
    path = backup.backup(read_plan(), tmp_path).path
    before = full_fingerprint()
    _, manifest = backup.read(path)
    for table in manifest.rows:
        if table[1] == "kinds":
            table[2] = "21 rows 00"
    why = aside.journal("test", "test", ("auth",))
    with pytest.raises(RolledBack, match="table kinds of schema public has 20 rows"):
        restore.restore(read_plan(), path, manifest, why)
    assert full_fingerprint() == before


def test_error_a_backup_without_its_manifest_is_refused(
    databases: Databases, tmp_path: Path
) -> None:
    path = backup.backup(read_plan(), tmp_path).path
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(CannotRun, match="is not the manifest of a backup"):
        backup.read(path)


def test_error_a_protected_database_is_not_restored_over_without_consent(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    databases.mark("auth", "production")
    run("backup_database", "--database", "auth", "--backup-dir", str(tmp_path))
    before = full_fingerprint()
    options = ("--from", str(made(tmp_path)), "--no-input")
    refused = run("restore_database", "--database", "auth", *options)
    assert refused.code == 3
    assert "the token that `manage.py nuke_schema --database auth --plan` prints" in refused.err
    assert full_fingerprint() == before
    printed = run("nuke_schema", "--database", "auth", "--plan", "--format", "json").out
    consent = ("--confirm", databases.names["auth"], "--token", json.loads(printed)["token"])
    more = ("--backup-dir", str(tmp_path / "before"))
    outcome = run("restore_database", "--database", "auth", *options, *consent, *more)
    assert (outcome.err, outcome.code) == ("", 0)
    # What was there was backed up first, as a protected database always is.
    assert made(tmp_path / "before").stat().st_size > 0
    assert full_fingerprint() == before


def test_error_a_backup_of_the_other_database(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    assert run("backup_database", "--database", "auth", "--backup-dir", str(tmp_path)).code == 0
    (archive,) = tmp_path.glob("*.dump")
    before = databases.execute("fltr", "SELECT oid FROM pg_class ORDER BY oid")
    outcome = run("restore_database", "--database", "fltr", "--from", str(archive), "--no-input")
    assert outcome.code == 3
    assert "Guard 'backup'" in outcome.err
    assert databases.execute("fltr", "SELECT oid FROM pg_class ORDER BY oid") == before
