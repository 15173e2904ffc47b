"""docs/existing.md typed as it is written by a plain owner, on databases that Drizzle and SQLModel have built and people have filled."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT, Databases, Outcome
from tests.examples.servers import fastapi
from tests.plain_owner import PlainOwner, plain_owner

from .drizzle_folder import KIT
from .test_drizzle_build import Node
from .test_smoke_apps import web

USER = (
    "INSERT INTO users (id, name, email, email_verified, created_at, updated_at)"
    " VALUES ('ada', 'Ada', 'ada@example.org', true, now(), now())"
)
DATASET = (
    "INSERT INTO datasets (owner_id, name, slug, visibility, status, document_count, download_count,"
    " view_count, embedding_dimension, embedding_model, pricing_model, rating_average, featured, verified)"
    " VALUES ('ada', 'Birds', 'birds', 'private', 'ready', 0, 0, 0, 1536, 'm', 'free', 0, false, false)"
)


def commands(document: str) -> list[list[str]]:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return [
        shlex.split(line)
        for line in re.findall(r"^ *\$ python manage.py (.+)$", text, re.MULTILINE)
    ]


def test_it_is_brought_to_the_contract_with_every_row(
    databases: Databases, node: Node, clients: Path, manage: Callable[..., Outcome], tmp_path: Path
) -> None:
    with plain_owner(databases) as owner:
        environment = owner.environment()
        out = str(tmp_path / "drizzle")
        for step in ("generate", "migrate"):
            done = node(KIT, step, "--config=drizzle.config.mjs", DRIZZLE_OUT=out, **environment)
            assert done.returncode == 0, done.stdout + done.stderr
        url = owner.url("fltr").replace("://", "+psycopg://", 1)
        # A FastAPI application's create_all.
        subprocess.run([sys.executable, "-m", "bench.fltr_app", url], cwd=ROOT, check=True)
        owner.execute("auth", USER)
        owner.execute("fltr", DATASET)
        _walk(owner, clients, manage, tmp_path)


def _walk(owner: PlainOwner, clients: Path, manage: Callable[..., Outcome], folder: Path) -> None:
    environment = owner.environment()
    seen: dict[str, Outcome] = {}
    # Django's own tables, for the records of what was done.
    assert manage("migrate", "--verbosity", "0", **environment).code == 0
    for command in commands("existing.md"):
        name = command[0]
        if name == "smoke_apps":
            # Their addresses here.
            with web(clients, owner) as web_url, fastapi(owner) as (api_url, _):
                addresses = ("--web", web_url, "--api", api_url)
                seen[name] = manage(name, *addresses, **environment)
                (spend,) = (each for each in commands("fastapi.md") if "--spend" in each)
                more = spend[spend.index("--spend") :]
                seen["--spend"] = manage(name, *addresses, *more, **environment)
            continue
        more = ["--no-input"] if name == "adopt" and "--plan" not in command else []
        more += ["--confirm", owner.names[command[2]]] if more else []
        more += ["--backup-dir", str(folder / "backups")] if name == "backup_database" else []
        outcome = manage(*command, *more, **environment)
        seen.setdefault(" ".join(command), outcome)

    assert {name: outcome.code for name, outcome in seen.items()} == {
        "verify_schema": 1,
        "adopt --database auth --plan": 1,
        "backup_database --proof": 0,
        "adopt --database auth": 0,
        "adopt --database fltr --allow rewrite-tables --allow block-writers": 1,
        "verify_schema --data": 1,
        "reconcile_credits --repair": 0,
        "smoke_credits": 0,
        "smoke_apps": 0,
        "--spend": 0,
    }, seen
    # The two columns that are the application's own are told, and stay.
    adopted = seen["adopt --database fltr --allow rewrite-tables --allow block-writers"].out
    assert "Adopted: " in adopted
    assert "error processing_jobs.finished_at" in adopted
    assert owner.execute("auth", "SELECT id, email FROM public.users") == [
        ("ada", "ada@example.org")
    ]
    assert owner.execute("fltr", "SELECT owner_id, slug FROM public.datasets") == [("ada", "birds")]
