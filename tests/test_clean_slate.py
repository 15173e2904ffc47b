from __future__ import annotations

from collections.abc import Callable

from tests.conftest import Databases, Outcome


def test_it_rebuilds_both_databases(databases: Databases, run: Callable[..., Outcome]) -> None:
    outcome = run("clean_slate", "--no-input")
    assert outcome.err == ""
    assert outcome.code == 0
