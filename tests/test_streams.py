"""Standard streams that are closed or full: a sentence, a code, no traceback, and nothing done by half."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Databases, Outcome

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/dev/full").exists(), reason="only Linux has a device that is full"
    ),
]

FULL = "Standard output could not be written: No space left on device."
CLOSED = "Standard output could not be written: Bad file descriptor."
LOST = " What the command did stands, only its report is lost.\n"
VERIFY = "verify_schema --database auth"


def shell(databases: Databases, words: str, **environment: str) -> Outcome:
    """Run `manage.py` in a shell that redirects as the words say."""
    inherited = {k: v for k, v in os.environ.items() if not k.endswith("_DATABASE_URL")}
    result = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" "$1" {words}', sys.executable, str(ROOT / "manage.py")],
        env={
            **inherited,
            "DJANGO_SETTINGS_MODULE": "fltr_project.settings",
            **databases.environment(),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Outcome(result.stdout, result.stderr, result.returncode)


@pytest.mark.parametrize(
    ("words", "told", "unbuffered"),
    [
        (f"{VERIFY} >/dev/full", FULL + LOST, ""),
        (f"{VERIFY} --format json >&- <&-", CLOSED + LOST, "1"),
        ("verify_schema --help >/dev/full", FULL + LOST, "1"),
        # Who cannot be told anything hears the code.
        (f"{VERIFY} --sql >&- 2>/dev/full", "", ""),
    ],
)
def test_error_output_that_is_lost(
    databases: Databases, words: str, told: str, unbuffered: str
) -> None:
    assert shell(databases, words, PYTHONUNBUFFERED=unbuffered) == Outcome("", told, 2)


def test_a_difference_is_a_difference_whether_it_can_be_told_or_not(databases: Databases) -> None:
    databases.execute("auth", "DROP INDEX sessions_user_id_idx; DROP TABLE verifications")
    assert shell(databases, f"{VERIFY} >/dev/full") == Outcome("", FULL + LOST, 1)


def test_error_nothing_is_rebuilt_that_nobody_can_read_of(databases: Databases) -> None:
    outcome = shell(databases, "clean_slate --no-input --no-backup >/dev/full")
    assert outcome == Outcome("", f"CommandError: {FULL} Nothing was changed.\n", 2)
    assert databases.execute("auth", "SELECT to_regclass('users') IS NOT NULL") == [(True,)]


def test_error_a_closed_standard_input_is_no_terminal(databases: Databases) -> None:
    outcome = shell(databases, "nuke_schema --database auth <&-")
    assert outcome.code == 3
    assert "there is no terminal to ask on" in outcome.err


def test_a_reader_that_has_seen_enough_is_no_error(databases: Databases) -> None:
    outcome = shell(databases, f"{VERIFY} | true", PYTHONUNBUFFERED="1")
    assert outcome.err == ""
