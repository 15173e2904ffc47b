"""Both example applications and the admin, on the embedded server: `make demo`. Ctrl-C ends all of it."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEXTJS, FASTAPI = ROOT / "examples" / "nextjs", ROOT / "examples" / "fastapi"
MANAGE = [sys.executable, str(ROOT / "manage.py")]
# Seconds until each application must have answered; the first page is compiled when it is asked for.
PATIENCE = 120


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, port in (("web", 3000), ("api", 8000), ("admin", 8001)):
        parser.add_argument(f"--{name}-port", type=int, default=port, metavar="PORT")
    options = parser.parse_args()
    ports = (options.web_port, options.api_port, options.admin_port)
    if shutil.which("npm") is None:
        return complain(
            "The Next.js application needs Node.js 20.9 or newer: install nodejs and npm."
        )
    if taken := [port for port in ports if not is_free(port)]:
        return complain(
            f"Port {taken[0]} is in use. End what uses it, or name another port: "
            "python examples/demo.py --web-port 3001 --api-port 8002 --admin-port 8003."
        )
    web, api, admin = (f"http://localhost:{port}" for port in ports)
    environment = {
        **os.environ,
        # Never a server of an .env file: the demo signs people up.
        "AUTH_DATABASE_URL": "embedded",
        "FLTR_DATABASE_URL": "embedded",
        "DEBUG": "on",
        "DRIZZLE_FOLDER": str(NEXTJS / "drizzle"),
    }
    step("Building Django's own tables", [*MANAGE, "migrate", "--verbosity", "0"], environment)
    step("Building both databases", [*MANAGE, "release", "--verbosity", "0"], environment)
    installed, lock = NEXTJS / "node_modules" / ".package-lock.json", NEXTJS / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        step("Installing the Next.js application (once)", install, environment, NEXTJS)
    step("Looking for somebody who may log in to the admin", [*MANAGE, "first_staff"], environment)
    urls = subprocess.run(
        [*MANAGE, "postgres", "url", "--format", "env"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    clients = {
        **environment,
        **dict(line.split("=", 1) for line in urls.splitlines()),
        "BETTER_AUTH_SECRET": kept_secret(),
        "BETTER_AUTH_URL": web,
        "NEXT_TELEMETRY_DISABLED": "1",
    }
    next_dev = ["npx", "next", "dev", "--port", str(ports[0]), "--hostname", "localhost"]
    uvicorn = [sys.executable, "-m", "uvicorn", "fltr_api.main:app", "--log-level=warning"]
    runserver = [*MANAGE, "runserver", str(ports[2]), "--noreload"]
    processes = [
        start(next_dev, clients, NEXTJS),
        start([*uvicorn, "--port", str(ports[1])], clients, FASTAPI),
        start(runserver, environment, ROOT),
    ]
    try:
        for address in (f"{web}/log-in", f"{api}/health", f"{admin}/health"):
            wait_for(address, processes)
        print(
            f"\n  {web}/sign-up   the Next.js application: sign up, spend credits\n"
            f"  {api}/docs      the FastAPI application\n"
            f"  {admin}/admin/    the admin, where both are seen\n\n"
            f"Walk through them with: python manage.py smoke_apps --web {web} --api {api}\n"
            "Ctrl-C ends all of it.",
            flush=True,
        )
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
        return complain("One of the three has ended; so the others do.")
    except KeyboardInterrupt:
        return 0
    except TimeoutError as error:
        return complain(str(error))
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for process in processes:
            end(process)
        print("\nEnded.")


def step(
    what: str, arguments: Sequence[str], environment: dict[str, str], folder: Path = ROOT
) -> None:
    print(f"{what} ...", flush=True)
    done = subprocess.run(arguments, env=environment, cwd=folder, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def start(
    arguments: Sequence[str], environment: dict[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    # A group of its own: Ctrl-C comes to this process, which ends the group with all its children.
    return subprocess.Popen(arguments, env=environment, cwd=folder, start_new_session=True)


def end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue


def wait_for(address: str, processes: Sequence[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE):  # noqa: S310 - its own addresses
                return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            if any(process.poll() is not None for process in processes):
                raise TimeoutError(f"{address} has ended before it answered.") from None
            time.sleep(0.2)
    raise TimeoutError(f"{address} does not answer after {PATIENCE} s.")


def is_free(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def kept_secret() -> str:
    """Better Auth's secret of this checkout: with another one everybody would be logged out."""
    path = ROOT / "var" / "better_auth_secret"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32), encoding="ascii")
    return path.read_text(encoding="ascii")


def complain(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2


if __name__ == "__main__":
    # A shell that starts it in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
