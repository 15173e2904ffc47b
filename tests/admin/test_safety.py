"""Who may see what, and that no address, password guesser or database that hangs takes the admin down."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.models import User as StaffUser
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from fltr_project.admin.roles import ROLES
from fltr_project.models import LoginAttempt
from fltr_project.web import throttle, timeouts
from tests.conftest import Databases, Outcome
from tests.factories import ApiKeyCreditsFactory, TeamFactory, UserFactory
from tests.pooler import pgbouncer

ALL = pytest.mark.django_db(databases=["default", "auth", "fltr"])


def log_in(client: Client, *roles: str) -> Client:
    person = StaffUser.objects.create_user("staff", password="secret-0123", is_staff=True)
    person.groups.set(Group.objects.filter(name__in=roles))
    client.force_login(person)
    return client


# --- roles


@ALL
def test_migrate_makes_the_roles_with_these_permissions_and_no_others() -> None:
    Group.objects.filter(name="billing").delete()
    support = Group.objects.get(name="support")
    support.permissions.add(
        Permission.objects.get(codename="add_user", content_type__app_label="auth")
    )
    call_command("migrate", verbosity=0)
    for name, permissions in ROLES.items():
        found = Group.objects.get(name=name).permissions.select_related("content_type")
        assert {f"{p.content_type.app_label}.{p.codename}" for p in found} == set(permissions)
    assert not set(ROLES["support"]) & {p for p in ROLES["billing"] if "view_" not in p}


@ALL
@pytest.mark.parametrize(
    ("role", "sees", "does_not"),
    [
        (
            "support",
            ["auth_app_user", "auth_app_credittransaction", "data_app_dataset"],
            ["fltr_project_schemaoperation"],
        ),
        ("billing", ["auth_app_user", "auth_app_team"], ["fltr_project_schemaoperation"]),
        ("operator", ["fltr_project_schemaoperation"], ["auth_app_user", "data_app_dataset"]),
    ],
)
def test_a_role_sees_its_pages_and_no_others(
    client: Client, role: str, sees: list[str], does_not: list[str]
) -> None:
    log_in(client, role)
    assert client.get(reverse("admin:index")).status_code == 200
    for names, status in ((sees, 200), (does_not, 403)):
        for name in names:
            assert client.get(reverse(f"admin:{name}_changelist")).status_code == status, name


@ALL
@pytest.mark.parametrize("may", [True, False])
def test_balances_want_their_own_permission(client: Client, may: bool) -> None:
    log_in(client)
    person = StaffUser.objects.get()
    names = [
        "user",
        "team",
        "apikeycredits",
        "credittransaction",
        *(["usercredits"] if may else []),
    ]
    person.user_permissions.set(
        Permission.objects.filter(codename__in=[f"view_{n}" for n in names])
    )
    user = UserFactory.create()
    team = TeamFactory.create(owner=user, credits=8642)
    ApiKeyCreditsFactory.create(user=user, credits=8642)
    user.credit_account.credits = 8642
    user.credit_account.save()
    for page, arguments in (
        ("user_changelist", []),
        ("team_changelist", []),
        ("apikeycredits_changelist", []),
        ("user_change", [user.pk]),
        ("team_change", [team.pk]),
    ):
        shown = client.get(reverse(f"admin:auth_app_{page}", args=arguments))
        assert shown.status_code == 200
        assert ("8642" in shown.content.decode().replace(",", "")) is may, page


# --- the login


def attempt(client: Client, name: str, password: str, address: str = "10.0.0.1") -> str:
    page = client.post(
        reverse("admin:login"), {"username": name, "password": password}, REMOTE_ADDR=address
    )
    return "in" if page.status_code == 302 else page.content.decode()


@ALL
def test_a_password_guesser_waits(client: Client) -> None:
    StaffUser.objects.create_user("staff", password="secret-0123", is_staff=True)
    for number in range(throttle.MOST):
        assert "Please enter the correct" in attempt(client, "Staff", f"guess-{number}")
    # The right password does not help any more, from there; from elsewhere it does.
    assert "Too many wrong passwords for this name. Try again in 15 minutes." in attempt(
        client, "staff", "secret-0123"
    )
    assert "Please enter the correct" in attempt(client, "other", "guess")
    assert attempt(client, "staff", "secret-0123", "10.0.0.2") == "in"
    assert not LoginAttempt.objects.filter(address="10.0.0.2").exists()


@ALL
def test_a_guesser_with_many_addresses_waits_too(client: Client) -> None:
    StaffUser.objects.create_user("staff", password="secret-0123", is_staff=True)
    for number in range(throttle.MOST_FROM_ANYWHERE):
        assert throttle.begin("staff", f"10.0.1.{number}") is None
    assert "Too many wrong passwords" in attempt(client, "staff", "secret-0123")


@ALL
def test_waiting_ends(client: Client) -> None:
    StaffUser.objects.create_user("staff", password="secret-0123", is_staff=True)
    for _ in range(throttle.MOST):
        attempt(client, "staff", "wrong")
    LoginAttempt.objects.update(at=timezone.now() - throttle.WINDOW - timedelta(seconds=1))
    assert attempt(client, "staff", "secret-0123") == "in"
    assert not LoginAttempt.objects.exists()


@ALL
def test_no_name_is_written_down(client: Client) -> None:
    attempt(client, "a password in the wrong field", "")
    attempt(client, "a password in the wrong field", "x")
    assert "password" not in LoginAttempt.objects.get().name


@ALL
def test_a_session_lasts_a_working_day(client: Client) -> None:
    log_in(client)
    assert (
        timedelta(hours=11)
        < client.session.get_expiry_date() - timezone.now()
        <= timedelta(hours=12)
    )


# --- addresses


@ALL
@pytest.mark.parametrize(
    "address",
    [
        "/admin/auth_app/user/a%00b/change/",
        "/admin/auth_app/user/?q=a%00",
        "/admin/auth_app/user/?a%00=b",
        "/admin/fltr_project/schemaoperation/?event__exact=%00",
        "/admin/login/?next=%00",
        "/admin/%00",
    ],
)
def test_error_a_nul_in_an_address(client: Client, address: str) -> None:
    client.force_login(StaffUser.objects.create_superuser("root"))
    assert client.get(address).status_code == 400


@ALL
def test_error_a_nul_in_a_cookie(client: Client) -> None:
    client.cookies["sessionid"] = "a\0b"
    assert client.get("/admin/").status_code == 400


@ALL
@pytest.mark.parametrize(
    "address",
    [
        "fltr_project/schemaoperation/99999999999999999999999/change/",
        "data_app/dataset/not-a-uuid/change/",
        "auth_app/drizzlemigration/99999999999/change/",
        "fltr_project/schemaoperation/?at__year=99999999999",
        "fltr_project/schemaoperation/?at__year=0",
        "auth_app/user/?created_at__gte=10000000-01-01",
        "auth_app/user/?created_at__gte=%F0%9F%92%A9",
        "auth_app/user/?o=99.-1.x&p=99999999999999999999",
        "auth_app/user/?p=-1",
        "auth_app/user/%ED%A0%80/change/",
        "auth_app/user/?q=%ED%A0%80%FF",
        "r/999999999999999999999/1/",
    ],
)
def test_error_other_hostile_addresses_are_no_fault_of_ours(client: Client, address: str) -> None:
    client.force_login(StaffUser.objects.create_superuser("root"))
    assert client.get(f"/admin/{address}").status_code in {200, 302, 400, 404}


@ALL
def test_every_page_has_a_strict_policy(client: Client) -> None:
    for page in (client.get("/admin/login/"), log_in(client).get("/admin/")):
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


# --- databases that are down or slow


@contextmanager
def elsewhere(alias: str, port: int, host: str = "127.0.0.1") -> Iterator[None]:
    """Let new connections of an alias go to another address."""
    connection = connections[alias]
    settings = connection.settings_dict
    before = {name: settings[name] for name in ("ENGINE", "HOST", "PORT")}
    connection.close()
    del connections[alias]
    settings.update(ENGINE="fltr_project.postgres.backend", HOST=host, PORT=port)
    try:
        yield
    finally:
        connections[alias].close()
        settings.update(before)
        connections[alias] = connection


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def root(databases: Databases, client: Client) -> Iterator[Client]:
    person = StaffUser.objects.create_superuser("root-of-safety")
    client.force_login(person)
    yield client
    person.delete()


def test_health_asks_all_at_once_and_waits_for_none(
    databases: Databases, client: Client, silent_port: int
) -> None:
    ok = {"default": "ok", "auth": "ok", "fltr": "ok"}
    response = client.get("/health", headers={"host": "no.such.name"})
    assert (response.status_code, response.json()) == (200, {"databases": ok})
    with elsewhere("auth", silent_port), elsewhere("fltr", silent_port):
        for _ in range(2):
            began = time.monotonic()
            response = client.get("/health")
            assert time.monotonic() - began < 2
            assert response.status_code == 503
            assert response.json() == {"databases": {**ok, "auth": "down", "fltr": "down"}}
        # However often somebody asks, one thread a database waits.
        waiting = [t.name for t in threading.enumerate() if t.name.startswith("health of")]
        assert sorted(waiting) == ["health of auth", "health of fltr"]


def test_health_tells_operators_when_a_backup_last_came_back(
    root: Client, run: Callable[..., Outcome], tmp_path: Path, settings: Any
) -> None:
    settings.BACKUP_DIR = tmp_path / "backups"
    assert run("backup_database", "--database", "auth", "--proof").code == 0
    response = root.get("/health/details")
    told = response.json()["databases"]
    assert response.status_code == 200
    assert told["default"] == {"status": "ok"}
    assert told["fltr"] == {"status": "ok", "last_proven_at": None}
    age = datetime.now(UTC) - datetime.fromisoformat(told["auth"]["last_proven_at"])
    assert age < timedelta(minutes=1)
    assert Client().get("/health/details").status_code == 403


def test_health_takes_no_other_method_and_no_https(client: Client, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client.post("/health").status_code == 405
    assert client.get("/admin/").status_code == 301


@pytest.mark.parametrize("alias", ["auth", "fltr"])
def test_a_database_that_is_down_is_a_page_that_names_it(
    root: Client, closed_port: int, alias: str
) -> None:
    pages = {"auth": "auth_app_user", "fltr": "data_app_dataset"}
    with elsewhere(alias, closed_port):
        for page, name in pages.items():
            shown = root.get(reverse(f"admin:{name}_changelist"))
            assert shown.status_code == (503 if page == alias else 200)
        named = root.get(reverse(f"admin:{pages[alias]}_changelist")).content.decode()
        (other,) = pages.keys() - {alias}
        other_app = {"auth": "auth_app", "fltr": "data_app"}[other]
        assert f"{'fltr_auth' if alias == 'auth' else 'fltr'}, with" in named
        assert "Cannot connect" in named
        assert reverse("admin:app_list", args=[other_app]) in named
        board = root.get(reverse("admin:index"))
        assert board.status_code == 200
        assert board.content.decode().count("does not answer") == 1


def test_djangos_own_database_down_says_no_detail(
    databases: Databases, client: Client, closed_port: int
) -> None:
    client.cookies["sessionid"] = "a" * 32
    with elsewhere("default", closed_port):
        shown = client.get("/admin/")
    assert shown.status_code == 503
    assert "Django&#x27;s own database" in shown.content.decode()
    assert "127.0.0.1" not in shown.content.decode()


def test_a_slow_statement_is_ended_and_named(
    root: Client, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "STATEMENT_TIMEOUT", 100)
    connections["auth"].close()
    # Whoever reads waits as long as it is let.
    with databases.connect("auth") as other, other.transaction():
        other.execute("LOCK TABLE users")
        shown = root.get(reverse("admin:auth_app_user_changelist"))
    assert shown.status_code == 503
    assert "fltr_auth, with people and credits" in shown.content.decode()
    assert "gave up waiting" in shown.content.decode()
    # The next page is served, in a session whose commands are not bounded for others.
    assert root.get(reverse("admin:auth_app_user_changelist")).status_code == 200


def test_behind_a_pooler_the_timeout_is_nobody_elses(
    root: Client, databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "_LOCAL", b"SET LOCAL statement_timeout = 100")
    direct = databases.connect("auth")
    # One session of the server for all clients of the pooler.
    with direct, pgbouncer(databases, tmp_path, size=1) as pooler, pooler.between("auth"):
        with direct.transaction():
            direct.execute("LOCK TABLE users")
            assert root.get(reverse("admin:auth_app_user_changelist")).status_code == 503
        assert root.get(reverse("admin:auth_app_user_changelist")).status_code == 200
        with pooler.connect("auth") as another:
            row = another.execute("SHOW statement_timeout").fetchone()
    assert row == ("0",)
