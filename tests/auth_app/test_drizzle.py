from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Databases, Outcome, assert_not_there


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "meta").mkdir()
    entries = []
    for number, tag in enumerate(["0000_first", "0001_second"]):
        (tmp_path / f"{tag}.sql").write_text(f"-- {tag}")
        entries.append({"idx": number, "when": 1_700_000_000_000 + number, "tag": tag})
    journal = {"version": "7", "dialect": "postgresql", "entries": entries}
    (tmp_path / "meta" / "_journal.json").write_text(json.dumps(journal))
    return tmp_path


def test_it_records_each_migration_once(
    databases: Databases, run: Callable[..., Outcome], folder: Path
) -> None:
    first = run("adopt_drizzle", str(folder))
    assert (first.code, first.err) == (0, "")
    assert "0000_first, 0001_second" in first.out
    assert "recorded" in run("adopt_drizzle", str(folder)).out
    rows = databases.execute(
        "auth", "SELECT hash, created_at FROM __drizzle_migrations ORDER BY id"
    )
    digests = [
        hashlib.sha256(f"-- {tag}".encode()).hexdigest() for tag in ("0000_first", "0001_second")
    ]
    assert rows == [(digests[0], 1_700_000_000_000), (digests[1], 1_700_000_000_001)]


@pytest.mark.parametrize("journal", ["", "{}", '{"entries": [{"tag": 1}]}', "[]"])
def test_error_a_journal_that_cannot_be_read(
    databases: Databases, run: Callable[..., Outcome], folder: Path, journal: str
) -> None:
    (folder / "meta" / "_journal.json").write_text(journal)
    outcome = run("adopt_drizzle", str(folder))
    assert outcome.code == 2
    assert "drizzle-kit generate" in outcome.err
    assert databases.execute("auth", "SELECT count(*) FROM __drizzle_migrations") == [(0,)]


def test_error_the_journal_instead_of_the_folder(
    databases: Databases, run: Callable[..., Outcome], folder: Path
) -> None:
    outcome = run("adopt_drizzle", str(folder / "meta" / "_journal.json"))
    assert outcome.code == 2
    assert "is not a Drizzle migrations folder" in outcome.err


def test_error_an_empty_schema(
    databases: Databases, run: Callable[..., Outcome], folder: Path
) -> None:
    databases.execute("auth", "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert_not_there(run("adopt_drizzle", str(folder)), databases, "migrate")
