"""The JavaScript clients, installed once into var/ from the lock file beside this one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Databases

HERE = Path(__file__).parent
INSTALLED = ROOT / "var" / "clients"


@pytest.fixture(scope="session")
def clients() -> Path:
    """The folder to run `node` in; fails, and does not skip, where there is no Node.js."""
    if shutil.which("npm") is None:
        pytest.fail("these tests run the real clients: install nodejs (20 or newer) and npm")
    return install()


def install() -> Path:
    """Put the clients of the lock file into var/ where they are not there yet."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    lock, installed_lock = HERE / "package-lock.json", INSTALLED / "package-lock.json"
    fresh = installed_lock.exists() and installed_lock.read_bytes() == lock.read_bytes()
    for file in [*HERE.glob("*.mjs"), HERE / "package.json", HERE / ".npmrc"]:
        shutil.copy(file, INSTALLED)
    if not fresh:
        shutil.copy(lock, INSTALLED / "package-lock.json")
        install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        try:
            subprocess.run(install, cwd=INSTALLED, check=True, timeout=300)
        except BaseException:
            installed_lock.unlink()
            raise
    return INSTALLED


@pytest.fixture
def node(clients: Path, databases: Databases) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program of Node.js against the test's databases, as `node(*arguments, **variables)`."""

    def run_node(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        # A variable of the caller's machine must not reach another server than the test's.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        return subprocess.run(
            ["node", *arguments],
            cwd=clients,
            env={**inherited, **databases.environment(), "CI": "1", **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run_node
