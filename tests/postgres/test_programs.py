from __future__ import annotations

from pathlib import Path

import pytest

from fltr_project.postgres import programs


def fake_program(folder: Path, name: str, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
    path.chmod(0o755)
    return path


def test_it_prefers_the_wheel() -> None:
    found = programs.find("pg_dump", at_least=18)
    assert found is not None
    assert found.major == 18
    package = programs.wheel_package()
    assert package is not None
    assert found.path.is_relative_to(package)


def test_it_passes_over_a_program_older_than_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path / "path", "pg_dump", "15.18 (Debian 15.18-0+deb12u1)")
    newer = fake_program(tmp_path / "versions" / "17" / "bin", "pg_dump", "17.4")
    monkeypatch.setattr(programs, "WHEEL", "no_such_package")
    monkeypatch.setattr(
        programs, "DISTRIBUTION_FOLDERS", (str(tmp_path / "versions" / "{major}" / "bin"),)
    )
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert programs.find("pg_dump", at_least=16) == programs.Program(newer, 17)
    older = programs.find("pg_dump", at_least=15)
    assert older is not None
    assert older.major == 15
    assert programs.find("pg_dump", at_least=18) is None
