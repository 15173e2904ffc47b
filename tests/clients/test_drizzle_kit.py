"""A Next.js build's own `drizzle-kit migrate` fails on Django's tables, until it is told of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Databases, Outcome

from . import drizzle_folder

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


def test_a_folder_is_adopted_as_far_as_the_database_has_what_it_makes(
    databases: Databases, node: Node, clients: Path, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    """Real snapshots of all tables of the contract; then the app adds a column of its own."""
    out, url = tmp_path / "drizzle", databases.environment()["AUTH_DATABASE_URL"]
    settings = drizzle_folder.variables("auth", clients, out, url)

    def kit(*arguments: str) -> None:
        done = node(KIT, *arguments, **settings)
        assert done.returncode == 0, done.stdout + done.stderr

    drizzle_folder.generate("auth", clients, out, kit)
    assert run("adopt_drizzle", str(out)).code == 0
    kit("migrate", drizzle_folder.CONFIG)
    assert run("verify_schema", "--database", "auth", "--strict").code == 0

    schema = clients / "contract_auth.mjs"
    declared = schema.read_text().replace(
        '  email: text("email")', '  nick: text("nick"),\n  email: text("email")'
    )
    schema.write_text(declared)
    kit("generate", drizzle_folder.CONFIG, "--name=nick")
    refused = run("adopt_drizzle", str(out), "--format", "json")
    assert json.loads(refused.out)["missing"] == ["column users.nick"]
    assert refused.code == 3
    kit("migrate", drizzle_folder.CONFIG)
    assert databases.execute("auth", "SELECT nick FROM public.users") == []
    assert run("adopt_drizzle", str(out), "--check").code == 0
