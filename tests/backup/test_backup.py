from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections

from fltr_project.backup import archive, backup, reading, restore, taking
from fltr_project.backup.digests import Digest
from fltr_project.backup.fill import Filled
from fltr_project.backup.fill import fill as fill_from
from fltr_project.catalog.aside import OperationRecord
from fltr_project.errors import BackupFailed, RolledBack
from fltr_project.postgres import programs
from fltr_project.postgres.target import Target, connect, identify
from tests.catalog import contract_words
from tests.conftest import Databases, Outcome
from tests.samples import fill, full_fingerprint, read_plan


def made(directory: Path) -> Path:
    (path,) = directory.glob("*.dump")
    return path


def backed_up(directory: Path) -> Path:
    return backup.write(auth(), directory)[0]


def auth() -> Target:
    return identify(connect("auth"))


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


def test_a_restore_waits_as_long_as_it_was_told(
    databases: Databases,
    run: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Also where it fills the new schema, after it has cleared the way."""
    databases.mark("auth", "test")
    run("backup_database", "--database", "auth", "--backup-dir", str(tmp_path))
    timeouts: list[str] = []

    def seen(raw: psycopg.Connection[Any], *arguments: Any) -> Filled:
        filled = fill_from(raw, *arguments)
        timeouts.extend(each for (each,) in raw.execute("SHOW lock_timeout"))
        return filled

    monkeypatch.setattr(restore, "fill", seen)
    options = ("--from", str(made(tmp_path)), "--no-input", "--no-backup", "--lock-timeout", "0.7")
    assert run("restore_database", "--database", "auth", *options).code == 0
    assert timeouts == ["700ms"]


def test_it_loads_as_one_who_brings_what_triggers_would_make(
    databases: Databases, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    databases.mark("auth", "test")
    with databases.connect("auth") as connection:
        connection.execute("SET fltr.loading = 'on'")
        connection.execute(
            "CREATE TABLE loaded (id int CHECK (current_setting('fltr.loading', true) = 'on'))"
        )
        connection.execute("INSERT INTO loaded VALUES (1)")
    run("backup_database", "--database", "auth", "--backup-dir", str(tmp_path))
    options = ("--from", str(made(tmp_path)), "--no-input", "--no-backup")
    assert run("restore_database", "--database", "auth", *options).code == 0
    assert databases.execute("auth", "SELECT id FROM loaded") == [(1,)]
    with connections["auth"].cursor() as cursor:
        cursor.execute("SELECT current_setting('fltr.loading', true)")
        assert cursor.fetchone()[0] in {None, ""}


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
    assert document["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert document["bytes"] == path.stat().st_size
    counts = {table: count for _, table, count, _ in document["tables"]}
    assert counts["users"] == 2
    assert counts["kinds"] == 20
    assert counts['Odd "Name" FROM stdin;'] == 3
    assert ["public", "tickets", "105 true"] in document["sequences"]
    assert document["proof"]["server"] in {"15", "16", "17", "18"}
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
    said = f"{contract_words.sizes('auth')[0]} with {total} rows, {product} of them the product's"
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
        assert f"{path} was beyond what is kept: removed" in third.out
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


def test_a_pg_restore_that_says_much_does_not_stop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its pipes are full long before it ends: both must be read."""
    noisy = tmp_path / "pg_restore"
    megabyte = "head -c 1000000 /dev/zero | tr '\\0' x"
    noisy.write_text(
        f"#!/bin/sh\necho 'pg_restore: error: it is torn.' >&2; {megabyte} >&2; {megabyte}; exit 1\n"
    )
    noisy.chmod(0o755)
    monkeypatch.setattr(programs, "find", lambda name, at_least: programs.Program(noisy, 18))
    found: list[BaseException] = []

    def read() -> None:
        try:
            archive.listing(archive.Archive(tmp_path / "some.dump", 0))
        except BackupFailed as error:
            found.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(30)
    assert not reader.is_alive()
    assert str(found[0]) == "The archive some.dump is damaged: it is torn. Nothing was touched."


@pytest.mark.parametrize("proven", [False, True])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95, 0.999])
def test_error_a_truncated_archive_is_found(
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    share: float,
    proven: bool,
) -> None:
    fill(databases)
    whole = archive.written

    @contextmanager
    def written(connection: object, file: int, **options: object) -> Iterator[str]:
        with whole(connection, file, **options) as version:  # type: ignore[arg-type]
            yield version
        os.truncate(file, int(os.fstat(file).st_size * share))

    monkeypatch.setattr(archive, "written", written)
    with pytest.raises(BackupFailed, match="damaged"):
        taking.take(auth(), taking.Wanted(tmp_path, proven=proven))
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
    path = backed_up(tmp_path)
    before = full_fingerprint()
    record = OperationRecord.begin("test", "test", ("auth",))
    with backup.opened(path) as (source, manifest):
        tables = {**manifest.data.tables, ("public", "kinds"): Digest(21, "0")}
        other = replace(manifest, data=replace(manifest.data, tables=tables))
        with pytest.raises(RolledBack, match="table 'kinds' of schema public has 20 rows, not 21"):
            restore.restore(read_plan(), source, other, record)
    assert full_fingerprint() == before


def test_a_busy_database_is_backed_up(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Rows and tables that come while it is made are of no concern to it."""
    fill(databases)
    whole, listing = archive.written, archive.listing

    @contextmanager
    def written(connection: object, file: int, **options: object) -> Iterator[str]:
        databases.execute("auth", "INSERT INTO users (name, email) VALUES ('C', 'c@example.com')")
        databases.execute("auth", "SELECT nextval('tickets')")
        with whole(connection, file, **options) as version:  # type: ignore[arg-type]
            yield version
        databases.execute("auth", "DELETE FROM kinds")

    def listed(source: archive.Archive) -> list[str]:
        databases.execute("auth", "CREATE TABLE IF NOT EXISTS later AS SELECT 1 AS id")
        return listing(source)

    monkeypatch.setattr(archive, "written", written)
    monkeypatch.setattr(archive, "listing", listed)
    wanted = taking.Wanted(tmp_path, proven=True)
    made, _ = taking.take(auth(), wanted)
    assert made.proof
    with backup.opened(made.path) as (_, manifest):
        counts = {table: digest.count for (_, table), digest in manifest.data.tables.items()}
    assert (counts["users"], counts["kinds"]) == (2, 20)
    assert "later" not in counts


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("row", r"it has 19 rows of table 'kinds' of schema public, not 20\."),
        ("table", r"it lacks the rows of table 'kinds' of schema public\."),
    ],
)
def test_error_an_archive_that_lacks_what_the_snapshot_had(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lost: str, said: str
) -> None:
    fill(databases)
    whole = reading.read

    def read(*arguments: Any) -> reading.Seen:
        found = whole(*arguments)
        if lost == "row":
            found.rows["public", "kinds"] -= 1
        if lost == "table":
            del found.rows["public", "kinds"]
        return found

    monkeypatch.setattr(reading, "read", read)
    with pytest.raises(BackupFailed, match=said):
        taking.take(auth(), taking.Wanted(tmp_path, proven=False))
    assert list(tmp_path.iterdir()) == []


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
