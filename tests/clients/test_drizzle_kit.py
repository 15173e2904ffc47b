"""A Next.js build's own `drizzle-kit migrate` fails on Django's tables, until it is told of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Databases, Outcome

Node = Callable[..., "subprocess.CompletedProcess[str]"]
KIT = "node_modules/drizzle-kit/bin.cjs"


def test_it_does_nothing_once_adopted(
    databases: Databases, node: Node, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    out = str(tmp_path / "drizzle")
    config = "--config=drizzle.config.mjs"
    generated = node(KIT, "generate", config, DRIZZLE_OUT=out)
    assert generated.returncode == 0, generated.stderr
    assert node(KIT, "migrate", config, DRIZZLE_OUT=out).returncode == 1

    assert run("adopt_drizzle", out).code == 0
    migrated = node(KIT, "migrate", config, DRIZZLE_OUT=out)
    assert migrated.returncode == 0, migrated.stderr
    assert run("verify_schema").code == 0
    assert databases.execute("auth", "SELECT count(*) FROM __drizzle_migrations") == [(1,)]
