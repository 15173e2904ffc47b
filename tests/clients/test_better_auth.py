"""The real Better Auth signs people up over Drizzle, in any time zone, with either kind of ids."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable

import pytest

from tests.conftest import Databases

Node = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize("ids", ["client", "database"])
def test_it_signs_up_in_and_out(databases: Databases, node: Node, ids: str, zone: str) -> None:
    result = node("better_auth.mjs", ids, TZ=zone, PGTZ=zone)
    assert result.returncode == 0, result.stderr
    saw = json.loads(result.stdout)
    assert saw["email"] == "ada@example.org"
    pattern = "[A-Za-z0-9]{32}" if ids == "client" else "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    assert re.fullmatch(pattern, saw["id"])
    # Better Auth's sessions last seven days; in the wrong time zone they would be hours off.
    assert 167.9 < saw["hoursLeft"] <= 168
    assert -1 < saw["secondsOld"] < 60
    assert saw["wrong"] == "INVALID_EMAIL_OR_PASSWORD"
    assert saw["raceWinners"] == 1
    assert saw["afterwards"] is None

    accounts = databases.execute(
        "auth",
        "SELECT u.email, c.credits, t.type, t.amount FROM users u"
        " LEFT JOIN user_credits c ON c.user_id = u.id"
        " LEFT JOIN credit_transactions t ON t.user_id = u.id ORDER BY u.email",
    )
    assert accounts == [
        ("ada@example.org", 100, "bonus", 100),
        ("race@example.org", 100, "bonus", 100),
    ]
