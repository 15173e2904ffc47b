"""Where backups are: what is refused, what is kept, what goes, and what is sent on."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
from pytest_django import Settings

from fltr_project.backup import backup, directory, manifest
from fltr_project.backup.manifest import Manifest, Proof
from fltr_project.postgres.target import connect, identify
from tests.conftest import ROOT, Databases, Outcome

Run = Callable[..., Outcome]
SCHEMA = json.loads((ROOT / "docs/json/operations.schema.json").read_text())
PROOF = Proof("2026-01-01T00:00:00+00:00", "a scratch database", "18", "18", 1.0)


@pytest.fixture
def kept(databases: Databases, tmp_path: Path) -> Callable[..., Path]:
    """Put down a backup of some days ago, as proven or of another database."""
    path, made = backup.write(identify(connect("auth")), tmp_path)

    def put(days: float, *, proven: bool = False, **target: str) -> Path:
        moment = datetime.now(UTC) - timedelta(days=days)
        there = path.with_name(f"{target.get('database', 'x')}-{moment:%Y%m%dT%H%M%S%fZ}.dump")
        there.write_bytes(path.read_bytes())
        told = replace(
            made,
            created_at=moment.isoformat(),
            target={**made.target, **target},
            proof=PROOF if proven else None,
        )
        manifest.write(told, there.with_suffix(".json"))
        return there

    return put


def rotated(into: Path, keep: int, keep_days: int | None = None) -> set[Path]:
    made = made_now(into)
    return set(directory.rotate(into, made[1], made[0], keep, keep_days, datetime.now(UTC)))


def made_now(into: Path) -> tuple[Path, Manifest]:
    newest = directory.newest(into, "auth")
    assert newest is not None
    assert newest.manifest is not None
    return newest.path, newest.manifest


def test_the_oldest_go_by_what_their_manifests_say(
    kept: Callable[..., Path], tmp_path: Path
) -> None:
    old, older = kept(2), kept(3)
    # Whatever its file is called, and whoever else has a database of that name.
    renamed = older.rename(tmp_path / "zz-keep-me-99991231T000000000000Z.dump")
    older.with_suffix(".json").rename(renamed.with_suffix(".json"))
    others = kept(4, database="fltr_auth_2"), kept(5, system_identifier="1"), kept(6, alias="fltr")
    assert rotated(tmp_path, 2) == {renamed}
    assert old.exists()
    assert all(each.exists() for each in others)
    assert not renamed.with_suffix(".json").exists()


def test_the_newest_that_is_proven_stays(kept: Callable[..., Path], tmp_path: Path) -> None:
    read, proven, older = kept(1), kept(20, proven=True), kept(30, proven=True)
    assert rotated(tmp_path, 1, 10) == {read, older}
    assert proven.exists()


def test_days_are_counted_beside_the_number(kept: Callable[..., Path], tmp_path: Path) -> None:
    young, old = kept(6.9), kept(7.1)
    assert rotated(tmp_path, 50, 7) == {old}
    assert young.exists()


def test_what_is_no_backup_of_ours_is_left_alone(
    kept: Callable[..., Path], tmp_path: Path, run: Run
) -> None:
    kept(3)
    others = {
        "notes.txt": b"x",
        "foreign.dump": b"PGDMP",
        "odd-20260101T000000000000Z.dump": b"PGDMP",
        "odd-20260101T000000000000Z.json": b"{}",
    }
    for name, content in others.items():
        (tmp_path / name).write_bytes(content)
    outcome = run(
        "backup_database", "--database", "auth", "--rotate", "1", "--backup-dir", str(tmp_path)
    )
    assert outcome.code == 0
    assert {name: (tmp_path / name).read_bytes() for name in others} == others
    listed = run("backup_database", "--list", "--backup-dir", str(tmp_path))
    assert "foreign.dump  There is no backup" in listed.out
    document = json.loads(
        run("backup_database", "--list", "--format", "json", "--backup-dir", str(tmp_path)).out
    )
    jsonschema.validate(document, SCHEMA)
    assert [bool(each.get("problem")) for each in document["stored"]] == [False, True, True]


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_error_a_directory_that_others_may_write_to(
    databases: Databases, run: Run, tmp_path: Path, mode: int
) -> None:
    into = tmp_path / "open" / "in" / "it"
    into.mkdir(parents=True)
    for open_one in (into, tmp_path / "open"):
        open_one.chmod(mode)
        outcome = run("backup_database", "--database", "auth", "--backup-dir", str(into))
        open_one.chmod(0o700)
        assert outcome.code == 6
        assert f"(mode {mode:04o})" in outcome.err
        assert "othing was touched" in outcome.err
        assert list(into.iterdir()) == []


def test_files_are_their_owners_and_links_are_not_followed(
    databases: Databases, run: Run, tmp_path: Path
) -> None:
    into, elsewhere = tmp_path / "backups", tmp_path / "elsewhere"
    here = ("--database", "auth", "--backup-dir", str(into))
    assert run("backup_database", *here).code == 0
    assert {stat.S_IMODE(path.stat().st_mode) for path in into.iterdir()} == {0o600}
    path, _ = made_now(into)
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    for command in (
        ("backup_database", "--prove", str(path)),
        ("restore_database", "--from", str(path), "--no-input", "--no-backup"),
    ):
        outcome = run(*command, *here)
        assert outcome.code == 2, outcome
        assert "symbolic link" in outcome.err
    elsewhere.rename(path.with_suffix(".real"))
    path.unlink()
    path.with_suffix(".real").rename(path)
    told = path.with_suffix(".json")
    told.rename(elsewhere)
    told.symlink_to(elsewhere)
    assert run("backup_database", "--prove", str(path), *here).code == 2


def test_a_link_in_the_way_of_an_archive_is_not_written_through(
    databases: Databases, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    into = tmp_path / "backups"
    into.mkdir(mode=0o700)

    class Fixed(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Fixed:
            return cls(2026, 1, 1, tzinfo=UTC)

    monkeypatch.setattr(backup, "datetime", Fixed)
    name = f"{databases.names['auth']}-20260101T000000000000Z"
    for ending in (".partial", ".dump", ".json"):
        (into / f"{name}{ending}").symlink_to(precious)
        outcome = run("backup_database", "--database", "auth", "--backup-dir", str(into))
        assert precious.read_text() == "mine"
        for path in into.iterdir():
            path.unlink()
        assert outcome.code in {0, 2, 6}


def test_nothing_to_list_is_said(run: Run, tmp_path: Path, databases: Databases) -> None:
    for into in (tmp_path, tmp_path / "none"):
        outcome = run("backup_database", "--list", "--backup-dir", str(into))
        assert (outcome.out, outcome.code) == (f"There are no backups in {into}.\n", 0)
    assert not (tmp_path / "none").exists()
    outcome = run("backup_database", "--prove", "latest", "--backup-dir", str(tmp_path))
    assert outcome.code == 2
    assert "There is no backup of auth and fltr" in outcome.err


def test_a_proven_archive_is_sent_on(
    databases: Databases, run: Run, tmp_path: Path, settings: Settings
) -> None:
    far = tmp_path / "far away"
    far.mkdir()
    script = tmp_path / "send.sh"
    script.write_text('#!/bin/sh\ncp "$2" "$3" "$1"; echo "$ARCHIVE" > "$1/named"\n')
    script.chmod(0o700)
    settings.BACKUP_UPLOAD = f"{script} '{far}'"
    into = tmp_path / "backups"
    here = ("backup_database", "--database", "auth", "--backup-dir", str(into))
    assert run(*here, "--no-proof").code == 0
    assert list(far.iterdir()) == []
    outcome = run(*here, "--proof", "--format", "json")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    jsonschema.validate(document, SCHEMA)
    assert document["uploads"] == [{"ok": True, "problem": None}]
    path = Path(document["backups"][0]["path"])
    assert (far / path.name).read_bytes() == path.read_bytes()
    assert (far / "named").read_text() == f"{path}\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/bin/sh -c 'echo no room; exit 3'", "it ended with status 3: no room"),
        ("/bin/sh -c 'sleep 60'", "it took longer than 1 seconds"),
        ("/no/such/program", "No such file"),
        ("'unfinished", "No closing quotation"),
    ],
)
def test_error_an_upload_that_fails_is_told(
    databases: Databases, run: Run, tmp_path: Path, settings: Settings, command: str, said: str
) -> None:
    settings.BACKUP_UPLOAD, settings.BACKUP_UPLOAD_TIMEOUT = command, 1
    outcome = run("backup_database", "--database", "auth", "--proof", "--backup-dir", str(tmp_path))
    assert outcome.code == 6
    assert "The backup was made and proven, but BACKUP_UPLOAD failed" in outcome.err
    assert said in outcome.err
    assert len(list(tmp_path.glob("*.dump"))) == 1


@pytest.mark.parametrize("option", [("--rotate", "0"), ("--keep-days", "0"), ("--keep-days", "-1")])
def test_error_keeping_nothing(
    databases: Databases, run: Run, tmp_path: Path, option: tuple[str, str]
) -> None:
    outcome = run("backup_database", *option, "--backup-dir", str(tmp_path))
    assert outcome.code == 2
    assert "At least 1 backup is kept" in outcome.err


def test_a_readonly_directory_can_be_listed(
    databases: Databases, run: Run, kept: Callable[..., Path], tmp_path: Path
) -> None:
    kept(1)
    os.chmod(tmp_path, 0o500)
    try:
        assert (
            "neither read nor proven"
            in run("backup_database", "--list", "--backup-dir", str(tmp_path)).out
        )
    finally:
        os.chmod(tmp_path, 0o700)
