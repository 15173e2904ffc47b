"""The URL that `postgres url` prints is one that the JavaScript clients accept."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests import memory
from tests.conftest import Outcome

from .drizzle_folder import KIT
from .test_drizzle_build import Node


def test_every_client_accepts_it(
    node: Node, manage: Callable[..., Outcome], tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(prefix="cs", dir=memory.directory()) as root:
        Path(root).chmod(0o755)
        ours = {"DJANGO_SETTINGS_MODULE": "tests.listening", "TESTS_EMBEDDED_ROOT": root}
        manage("postgres", "start", **ours)
        try:
            url = manage("postgres", "url", "--database", "auth", **ours).out.strip()
            result = node("url.mjs", url)
            assert result.returncode == 0, result.stderr
            saw = json.loads(result.stdout)
            assert saw == dict.fromkeys(("URL", "node-postgres", "postgres.js"), "fltr_auth")
            pulled = node(
                *(KIT, "pull", "--config=contract.config.mjs"),
                DRIZZLE_URL=url,
                DRIZZLE_SCHEMA="./schema.mjs",
                DRIZZLE_OUT=str(tmp_path / "pulled"),
            )
            assert pulled.returncode == 0, pulled.stdout + pulled.stderr
        finally:
            manage("postgres", "stop", **ours)
