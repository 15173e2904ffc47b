"""The example applications as processes of their own, on the databases of a test."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from tests.conftest import ROOT, Databases

FASTAPI = ROOT / "examples" / "fastapi"
SECRET = "0123456789abcdef0123456789abcdef"
WORKER = "a worker's token"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def serving(
    arguments: Sequence[str], folder: Path, url: str, environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Run a server until the block ends; the block begins when ``url`` answers."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    # Not a pipe, which nobody reads while the test runs.
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            arguments,
            cwd=folder,
            env={**inherited, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            # With its children, such as those of npm.
            start_new_session=True,
        )
        try:
            _wait_for(url, process, log)
            yield process
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)


def _wait_for(url: str, process: subprocess.Popen[str], log: TextIO) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310
                return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                raise AssertionError(log.read()) from None
            time.sleep(0.05)


@contextmanager
def fastapi(
    databases: Databases, app: str = "fltr_api.main:app", **environment: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of examples/fastapi, or of an ``app`` around it, and its process."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level=warning"]
    settings = {
        "BETTER_AUTH_SECRET": SECRET,
        "WORKER_TOKEN": WORKER,
        "PYTHONPATH": f"{FASTAPI}{os.pathsep}{ROOT}",
        # The project's, for pytest.
        "PYTHONWARNINGS": "default",
    }
    everything = {**settings, **databases.environment(), **environment}
    with serving(arguments, FASTAPI, f"{url}/openapi.json", everything) as process:
        yield url, process


def signed(token: str, secret: str = SECRET) -> str:
    """The token of a session as Better Auth signs it."""
    digest = hmac.new(secret.encode(), token.encode(), hashlib.sha256).digest()
    return f"{token}.{base64.b64encode(digest).decode()}"


def log_in(databases: Databases, name: str, lasts: str = "7 days") -> str:
    """A user with a session, as Better Auth writes them; the signed token."""
    token = hashlib.sha256(f"{name} {lasts}".encode()).hexdigest()[:32]
    databases.execute(
        "auth",
        "INSERT INTO public.users (id, name, email) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        *(name, name, f"{name}@example.org"),
    )
    databases.execute(
        "auth",
        "INSERT INTO public.sessions (id, token, user_id, expires_at, updated_at)"
        " VALUES (%s, %s, %s, timezone('utc', now()) + %s::interval, timezone('utc', now()))",
        *(token, token, name, lasts),
    )
    return signed(token)
