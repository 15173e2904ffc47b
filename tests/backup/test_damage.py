"""Whatever is changed or cut in an archive or its manifest: it is refused by name, before anything is touched."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fltr_project.backup import backup, manifest
from fltr_project.errors import CannotRun
from fltr_project.postgres.target import connect, identify
from tests.conftest import Databases, Outcome
from tests.samples import fill

# Places of an archive and of a manifest at which a byte is changed, or it is cut: 200 of each.
PLACES = 200


@pytest.fixture
def path(databases: Databases, tmp_path: Path) -> Path:
    fill(databases)
    return backup.write(identify(connect("auth")), tmp_path)[0]


def refused(path: Path) -> str | None:
    try:
        with backup.opened(path):
            return None
    except CannotRun as error:
        return str(error)


def harms(content: bytes) -> Iterator[bytes]:
    """Each byte of the first and last hundred and others in between, changed; cuts, and what is added."""
    chance = random.Random(14)  # noqa: S311
    spots = {*range(100), *range(len(content) - 100, len(content))}
    for spot in sorted({*spots, *chance.sample(range(len(content)), PLACES)}):
        yield (
            content[:spot]
            + bytes([content[spot] ^ (1 << chance.randrange(8))])
            + content[spot + 1 :]
        )
    for spot in (0, 1, *chance.sample(range(len(content)), PLACES // 4), len(content) - 1):
        yield content[:spot]
    yield content + b"\0"
    yield content + content


def test_every_harm_is_found(path: Path) -> None:
    assert refused(path) is None
    for file in (path, path.with_suffix(".json")):
        whole = file.read_bytes()
        for harmed in harms(whole):
            file.write_bytes(harmed)
            said = refused(path)
            assert said is not None, (file.suffix, len(harmed))
            assert str(file) in said or str(path) in said
        file.write_bytes(whole)
    assert refused(path) is None


EMPTIED: dict[str, Callable[[dict[str, Any]], object]] = {
    "without its seal": lambda told: told.pop("manifest_sha256"),
    "with an empty seal": lambda told: told.update(manifest_sha256=""),
    "without the digests": lambda told: told.pop("tables"),
    "with no tables": lambda told: told.update(tables=[]),
    "with no entries": lambda told: told.update(entries=[]),
    "with no facts": lambda told: told.update(fingerprint={}),
    "with another table's rows": lambda told: told["tables"][0].__setitem__(2, 77),
    "with a proof that was not made": lambda told: told.update(
        proof={
            "at": "2026-01-01T00:00:00+00:00",
            "place": "x",
            "server": "18",
            "pg_restore": "18",
            "seconds": 1.0,
            "apart_from": [],
        }
    ),
    "of another format": lambda told: told.update(format=1),
    "of a list": lambda told: told.clear(),
}


@pytest.mark.parametrize("harm", EMPTIED)
def test_error_a_manifest_that_lacks_what_it_proves(path: Path, harm: str) -> None:
    told = path.with_suffix(".json")
    document = json.loads(told.read_text())
    EMPTIED[harm](document)
    told.write_text(json.dumps(document, indent=1, sort_keys=True))
    said = refused(path)
    assert said is not None
    assert str(told) in said


@pytest.mark.parametrize("name", ["tables", "entries", "fingerprint"])
def test_error_a_manifest_that_is_sealed_anew_and_says_less_than_the_archive(
    databases: Databases, run: Callable[..., Outcome], path: Path, name: str
) -> None:
    told = path.with_suffix(".json")
    document = json.loads(told.read_text())
    document.pop("manifest_sha256")
    document[name] = type(document[name])()
    told.write_text(manifest.sealed(document))
    databases.mark("auth", "test")
    before = databases.execute("auth", "SELECT count(*) FROM users")
    outcome = run(
        *("restore_database", "--database", "auth", "--from", str(path)),
        *("--no-input", "--no-backup"),
    )
    assert outcome.code in {2, 7}, outcome
    assert databases.execute("auth", "SELECT count(*) FROM users") == before
