from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from fltr_project.postgres import locks
from tests.conftest import ROOT, Databases, Outcome

pytestmark = pytest.mark.slow

# More than the server guarantees locks for to DROP SCHEMA ... CASCADE (426); 20,000 were run by
# hand, and take minutes to make.
TABLES = int(os.environ.get("MANY_TABLES", "450"))


def test_many_tables_on_default_settings() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bench.many_tables", str(TABLES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=1200,
    )
    found = json.loads(result.stdout)
    assert found["planned_tables"] == TABLES
    assert found["locks_predicted_for_drop_schema"] > found["locks_guaranteed"]
    assert 0 < found["most_locks_held"] <= 2000
    assert found["seconds"]["undo"] < 1
    assert found["neighbour_transactions"] > 0
    assert found["neighbour_errors"] == []
    assert found["left"] == []


def test_error_too_many_tables_for_one_dump_is_said_before_anything(
    databases: Databases, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.execute(
        "auth",
        "CREATE TABLE p (n int) PARTITION BY RANGE (n); DO $$ BEGIN FOR n IN 1..50 LOOP EXECUTE"
        " format('CREATE TABLE p%s PARTITION OF p FOR VALUES FROM (%s) TO (%s)', n, n, n + 1);"
        " END LOOP; END $$",
    )
    with monkeypatch.context() as patch:
        # Of a server with less room; making more tables than any has room for would take minutes.
        patch.setattr(locks, "capacity", lambda cursor: locks.Capacity(guaranteed=40, taken=0))
        outcome = run("nuke_schema", "--database", "auth", "--no-input")
    assert outcome.code == 6
    assert "has 62 tables but room for 40 locks. Raise max_locks_per_transaction" in outcome.err
    assert run("nuke_schema", "--database", "auth", "--no-input", "--no-backup").code == 0
