"""Variables: what is unset, misspelt or only half there never ends in a database that nobody meant."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory
from django.views.debug import technical_500_response

from fltr_project import environment
from fltr_project.postgres import addresses
from fltr_project.settings import VARIABLES

VAR = Path("/srv/product/var")
URL = "postgresql://ada@db/x"
SECRET_URL = "postgresql://ada:s3%2Fcr%3Fet@127.0.0.1:1/x?sslpassword=t%27op"
SECRETS = ("s3/cr?et", "s3%2Fcr%3Fet", "t%27op", "t'op", "t&#x27;op")


def problem(alias: str, **variables: str) -> str:
    return "; ".join(addresses.problems(addresses.databases(variables, VAR)[alias]))


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without the variables of whoever runs the tests."""
    for name in [each for each in os.environ if each in VARIABLES or each.endswith("_URL")]:
        monkeypatch.delenv(name)
    return monkeypatch


def taken_back(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have what a file sets be unset after the test."""
    for name in (*names, "FLTR_ENV_FILE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_one_database_here_and_one_elsewhere_must_be_asked_for() -> None:
    assert problem("auth") == problem("fltr") == ""
    assert problem("fltr", AUTH_DATABASE_URL=URL).startswith(
        "FLTR_DATABASE_URL is unset, and AUTH_DATABASE_URL is"
    )
    assert problem("auth", FLTR_DATABASE_URL=URL).startswith(
        "AUTH_DATABASE_URL is unset, and FLTR_DATABASE_URL is"
    )
    assert problem("auth", AUTH_DATABASE_URL=URL) == ""
    asked = {"AUTH_DATABASE_URL": URL, "FLTR_DATABASE_URL": "embedded"}
    found = addresses.databases(asked, VAR)
    assert not addresses.is_embedded(found["auth"])
    assert addresses.is_embedded(found["fltr"])
    assert problem("fltr", **asked) == ""


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///control.sqlite3", "/srv/product/control.sqlite3"),
        ("sqlite:///var/a%20b.db", "/srv/product/var/a b.db"),
        ("sqlite:////opt/control.db", "/opt/control.db"),
    ],
)
def test_djangos_own_database_may_be_any_sqlite_file(url: str, file: str) -> None:
    default = addresses.databases({"CONTROL_DATABASE_URL": url}, VAR)["default"]
    assert default == {"ENGINE": addresses.CONTROL_FILE, "NAME": Path(file)}


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite://:memory:", "sqlite:///:memory:", "sqlite://x/y", "sqlite:x", "sqlite:///a?b=c", "sqlite:///a/"]
)  # fmt: skip
def test_error_a_url_that_names_no_file(url: str) -> None:
    assert problem("default", CONTROL_DATABASE_URL=url).startswith(
        "CONTROL_DATABASE_URL names no SQLite file. It should look like sqlite:///"
    )
    assert "is not a PostgreSQL URL" in problem("auth", AUTH_DATABASE_URL=url)


def test_error_a_direct_url_without_a_server() -> None:
    assert "AUTH_DATABASE_URL names no server" in problem("auth", AUTH_DIRECT_URL=URL)
    both = {"AUTH_DATABASE_URL": URL, "FLTR_DATABASE_URL": URL}
    assert problem("auth", AUTH_DIRECT_URL=URL, **both) == ""
    assert problem("auth", AUTH_DIRECT_URL="", **both).startswith("AUTH_DIRECT_URL is empty")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("AUTH_DATABASE_URl", "AUTH_DATABASE_URL"),
        ("AUHT_DATABASE_URL", "AUTH_DATABASE_URL"),
        ("auth_database_url", "AUTH_DATABASE_URL"),
        ("AUTHDATABASE_URL", "AUTH_DATABASE_URL"),
        ("FLTR_DATABASE_URLS", "FLTR_DATABASE_URL"),
        ("CONTROL_DATABSE_URL", "CONTROL_DATABASE_URL"),
        ("FLTR_DIRCET_URL", "FLTR_DIRECT_URL"),
    ],
)
def test_error_a_misspelt_url(alone: pytest.MonkeyPatch, given: str, meant: str) -> None:
    alone.setenv(given, "postgresql://ada:s3cret@db/x")
    with pytest.raises(ImproperlyConfigured, match=f"^{given} is set.*Write {meant}") as caught:
        environment.read_env_file(Path("/nowhere"), VARIABLES)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("given", ["DATABASE_URL", "TEST_DATABASE_URL", "SECRET_KEYS", "REDIS_URL"])
def test_what_other_programs_have_in_the_environment_is_theirs(
    alone: pytest.MonkeyPatch, given: str
) -> None:
    alone.setenv(given, "x")
    alone.setenv("AUTH_DATABASE_URL", URL)
    # Beside the one that was meant it harms nobody.
    alone.setenv("AUHT_DATABASE_URL", URL)
    environment.read_env_file(Path("/nowhere"), VARIABLES)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("SIGNUP_BONUS_CREDIT=5", "Write SIGNUP_BONUS_CREDITS"),
        ("ALLOWED_HOST=a", "Write ALLOWED_HOSTS"),
        ("USERS_DATABASE_URL=postgresql://h/x", "The env file sets USERS_DATABASE_URL"),
    ],
)
def test_error_a_misspelt_name_in_our_own_file(
    alone: pytest.MonkeyPatch, tmp_path: Path, line: str, words: str
) -> None:
    file = tmp_path / ".env"
    file.write_text(f"{line}\n")
    taken_back(alone, line.partition("=")[0])
    with pytest.raises(ImproperlyConfigured, match=words):
        environment.read_env_file(file, VARIABLES)


def test_a_file_of_windows_is_read(alone: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"\xef\xbb\xbfAUTH_DATABASE_URL=postgresql://h/x\r\nSECRET_KEY=abc\r\n")
    taken_back(alone, "AUTH_DATABASE_URL", "SECRET_KEY")
    environment.read_env_file(file, VARIABLES)
    assert os.environ["AUTH_DATABASE_URL"] == "postgresql://h/x"
    assert os.environ["SECRET_KEY"] == "abc"


def refused(address: dict[str, object], url: str) -> None:
    psycopg.connect(url)


def test_no_page_of_an_error_shows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        settings.DATABASES, "fltr", addresses.parse("FLTR_DATABASE_URL", SECRET_URL)
    )
    variables = {"FLTR_DATABASE_URL": SECRET_URL, "CONTROL_DSN": SECRET_URL}
    request = RequestFactory().get("/")
    request.META.update(variables)
    with pytest.raises(psycopg.Error) as caught:
        refused(settings.DATABASES["fltr"], SECRET_URL)
    page = technical_500_response(request, caught.type, caught.value, caught.tb).content.decode()
    assert "FLTR_DATABASE_URL" in page
    assert [secret for secret in SECRETS if secret in page] == []
