"""Drizzle, SQLModel and a release start at once on empty databases: after one more release all is right."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ALIASES, ROOT, Databases, Outcome
from tests.drift.conftest import emptied

from .drizzle_folder import KIT
from .test_drizzle_build import Node

ROUNDS = int(os.environ.get("ROUNDS", "2"))
# What a FastAPI application does when it starts.
STARTS = """
import os, sqlmodel, uuid
from datetime import datetime
class Dataset(sqlmodel.SQLModel, table=True):
    __tablename__ = "datasets"
    id: uuid.UUID = sqlmodel.Field(default_factory=uuid.uuid4, primary_key=True)
    owner_id: str = sqlmodel.Field(index=True)
    slug: str = sqlmodel.Field(unique=True)
    created_at: datetime
url = os.environ["FLTR_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
sqlmodel.SQLModel.metadata.create_all(sqlmodel.create_engine(url))
"""


def test_they_converge(
    databases: Databases, node: Node, clients: Path, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    out = str(tmp_path / "drizzle")
    config = "--config=drizzle.config.mjs"
    assert node(KIT, "generate", config, DRIZZLE_OUT=out).returncode == 0
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PG")},
        **databases.environment(),
        "DRIZZLE_OUT": out,
        "DRIZZLE_FOLDER": out,
        "CI": "1",
        "DJANGO_SETTINGS_MODULE": "fltr_project.settings",
    }
    programs = {
        "drizzle": (["node", KIT, "migrate", config], clients),
        "fastapi": ([sys.executable, "-c", STARTS], ROOT),
        "release": ([sys.executable, "manage.py", "release"], ROOT),
    }

    def start(name: str) -> subprocess.Popen[str]:
        command, folder = programs[name]
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    for number in range(ROUNDS):
        for alias in ALIASES:
            emptied(databases, alias)
        order = random.Random(number).sample(sorted(programs), 3)  # noqa: S311
        first = [start(name) for name in order]
        said = {
            name: each.communicate(timeout=120)[0] for name, each in zip(order, first, strict=True)
        }
        again = start("release")
        told = again.communicate(timeout=120)[0]
        assert again.returncode == 0, (number, order, said, told)
        assert run("verify_schema", "--strict").code == 0
        build = start("drizzle")
        assert (build.communicate(timeout=120)[0], build.returncode)[1] == 0
        assert run("verify_schema", "--strict").code == 0
        codes = {name: each.returncode for name, each in zip(order, first, strict=True)}
        print(number, codes)  # noqa: T201 - with -s
