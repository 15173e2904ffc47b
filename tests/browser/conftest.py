"""A real Chromium before the admin, on databases of its own."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from django.contrib.auth.models import Group
from django.contrib.auth.models import User as StaffUser
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.cache import cache
from django.core.wsgi import get_wsgi_application
from playwright.sync_api import Browser, Page, sync_playwright

from auth_app import ledger
from auth_app.models import User
from data_app.models import Dataset
from tests.conftest import Databases
from tests.factories import DatasetFactory, UserFactory

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
PASSWORD = "a password of the tests"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Visit:
    """Somebody of a role at a page of the admin; ``messages`` is what the browser's console says."""

    page: Page
    root: str
    messages: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(f"{self.root}{path}")

    def words(self) -> str:
        return " ".join(self.page.inner_text("body").split())

    def search(self, text: str) -> None:
        self.page.fill("#search-text", text)
        self.page.press("#search-text", "Enter")
        self.page.wait_for_load_state()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("There is no Chromium here: install the package chromium")
    # It keeps an event loop in this thread while it is open, in which Django would refuse to ask a database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def root(databases: Databases) -> Iterator[str]:
    """The address of the admin's server, which works on ``databases``."""
    cache.clear()
    StaffUser.objects.all().delete()
    handler = StaticFilesHandler(get_wsgi_application())
    with make_server("localhost", 0, handler, _Server, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
    StaffUser.objects.all().delete()
    cache.clear()


@pytest.fixture
def visit(browser: Browser, root: str) -> Iterator[Visit]:
    """Somebody who may see and do everything, logged in through the form."""
    StaffUser.objects.create_superuser("root", password=PASSWORD)
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        yield log_in(context.new_page(), root, "root")


def log_in(page: Page, root: str, name: str) -> Visit:
    visit = Visit(page, root)
    page.on("console", lambda message: visit.messages.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: visit.messages.append(str(error)))
    visit.go("/admin/")
    page.fill("#id_username", name)
    page.fill("#id_password", PASSWORD)
    page.press("#id_password", "Enter")
    page.wait_for_selector("#user-tools")
    return visit


def somebody(name: str, role: str) -> None:
    person = StaffUser.objects.create_user(name, password=PASSWORD, is_staff=True)
    person.groups.set(Group.objects.filter(name=role))


@pytest.fixture
def ada(databases: Databases) -> User:
    dataset: Dataset = DatasetFactory.create(name="Weather of 2025")
    ada = UserFactory.create(email="ada@example.org")
    for click in range(2):
        ledger.consume(
            ada.pk,
            5,
            operation="query.premium",
            resource_id=str(dataset.pk),
            idempotency_key=f"click-{click}",
        )
    return ada
