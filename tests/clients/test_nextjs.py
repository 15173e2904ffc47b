"""examples/nextjs, built with its `drizzle-kit migrate` hook and driven by a browser beside examples/fastapi."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from fltr_project.export.exports import export
from tests.browser.conftest import browser as browser
from tests.conftest import ROOT, Databases, Outcome
from tests.examples.servers import SECRET, fastapi, free_port, serving

from .test_smoke_apps import rows

SOURCE = ROOT / "examples" / "nextjs"
SECRETS = {"BETTER_AUTH_SECRET": SECRET, "NEXT_TELEMETRY_DISABLED": "1"}


@pytest.fixture(scope="module")
def nextjs(clients: Path) -> Path:
    """The application, installed where it is: `make demo` uses the same."""
    installed = SOURCE / "node_modules" / ".package-lock.json"
    lock = SOURCE / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        arguments = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        subprocess.run(arguments, cwd=SOURCE, check=True, timeout=300)
    return SOURCE


def build(nextjs: Path, databases: Databases) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["npm", "run", "build"],
        cwd=nextjs,
        env={**os.environ, **databases.environment(), **SECRETS},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@contextmanager
def web(nextjs: Path, databases: Databases, **environment: str) -> Iterator[str]:
    port = free_port()
    url = f"http://localhost:{port}"
    arguments = ["npx", "next", "start", "--port", str(port), "--hostname", "localhost"]
    variables = {**databases.environment(), **SECRETS, "BETTER_AUTH_URL": url, **environment}
    with serving(arguments, nextjs, f"{url}/log-in", variables):
        yield url


@pytest.mark.parametrize(
    ("file", "form"), [("schema.ts", "drizzle"), ("credits.ts", "credits-typescript")]
)
def test_its_schema_is_what_export_schema_writes(file: str, form: str) -> None:
    written = (SOURCE / "src" / "db" / file).read_text(encoding="utf-8")
    assert written == export("auth", form)


def test_people_sign_up_spend_and_log_out(
    nextjs: Path,
    databases: Databases,
    run: Callable[..., Outcome],
    browser: Browser,
    settings: Any,
) -> None:
    settings.DRIZZLE_FOLDER = SOURCE / "drizzle"
    assert run("release").code == 0
    built = build(nextjs, databases)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "migrations applied successfully" in built.stdout
    # The hook had nothing to do.
    assert run("verify_schema", "--strict").code == 0
    for number, zone in enumerate(["UTC", "Asia/Tokyo", "America/Los_Angeles"]):
        with (
            web(nextjs, databases, TZ=zone, PGTZ=zone) as url,
            fastapi(databases, TZ=zone, PGTZ=zone) as (api_url, _),
        ):
            _walk(browser, url, f"ada-{number}@example.org", zone)
            if number == 0:
                # Once: it has to wait, as the same address has just logged in.
                outcome = run("smoke_apps", "--web", url, "--api", api_url)
                assert outcome.code == 0, outcome
    credits_of = databases.execute(
        "auth",
        "SELECT email, credits, (SELECT sum(amount) FROM public.credit_transactions t"
        " WHERE t.user_id = u.id) FROM public.users u JOIN public.user_credits c ON c.user_id = u.id"
        " ORDER BY email",
    )
    assert credits_of == [(f"ada-{number}@example.org", 90, 90) for number in range(3)]
    # Those who logged out have no session.
    assert rows(databases)[:2] == [3, 0]


def _walk(browser: Browser, url: str, email: str, zone: str) -> None:
    page = browser.new_page(timezone_id=zone)
    messages: list[str] = []
    page.on("console", lambda message: messages.append(f"{message.text} {message.location['url']}"))
    page.goto(url)
    page.get_by_role("link", name="I am new here").click()
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Sign up").click()
    balance = page.locator("#balance")
    expect(balance).to_have_text("100")
    ask = page.get_by_role("button", name="Ask for 5 credits")
    # A double click is one question.
    ask.dblclick()
    expect(balance).to_have_text("95")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{url}/log-in")
    page.goto(url)
    page.wait_for_url(f"{url}/log-in")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill("wrong horse")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert").first).to_have_text("Invalid email or password")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    expect(balance).to_have_text("95")
    ask.click()
    expect(balance).to_have_text("90")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{url}/log-in")
    icon = page.request.get(f"{url}/favicon.ico")
    assert icon.headers["content-type"] == "image/svg+xml", icon.text()
    page.close()
    # The wrong password is the only thing that the console has to say.
    assert [message for message in messages if "401" not in message] == []


def test_the_demo_runs_and_ends(nextjs: Path, databases: Databases, tmp_path: Path) -> None:
    ports = [free_port() for _ in range(3)]
    options = [
        f"--{name}-port={port}" for name, port in zip(("web", "api", "admin"), ports, strict=True)
    ]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "demo.py"), *options],
        env={**os.environ, "CONTROL_DATABASE_URL": f"sqlite:///{tmp_path}/control.sqlite3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C ends all of it" in line:
                break
        told = "".join(lines)
        assert f"http://localhost:{ports[0]}/sign-up" in told, told
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=30)[0]
    finally:
        process.kill()
        process.wait()
        for name in ("fltr_auth", "fltr"):
            databases.execute("auth", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    assert process.returncode == 0, told + rest
    assert rest.endswith("\nEnded.\n")
