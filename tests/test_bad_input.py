"""A user's mistake: one sentence, the right exit code, no traceback, no password, nothing changed."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connections

from fltr_project.postgres.embedded.postmaster import SUPERUSER
from fltr_project.postgres.embedded.server import EmbeddedServer
from tests.conftest import Databases, Outcome

pytestmark = pytest.mark.slow

PASSWORD = "hunter2-is-not-printed"
COMMANDS = {
    "verify_schema": ["verify_schema", "--database", "auth"],
    "nuke_schema": ["nuke_schema", "--database", "auth", "--no-input"],
    "clean_slate": ["clean_slate", "--no-input"],
    "smoke_credits": ["smoke_credits"],
    "migrate": ["migrate", "--database", "auth"],
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def assert_told(outcome: Outcome, code: int, *words: str) -> None:
    assert outcome.code == code, outcome
    assert "Traceback" not in outcome.err
    assert PASSWORD not in outcome.out + outcome.err
    for word in words:
        assert word in outcome.err


@pytest.mark.parametrize("command", COMMANDS)
def test_error_server_down(manage: Callable[..., Outcome], command: str) -> None:
    url = f"postgresql://ada:{PASSWORD}@127.0.0.1:{free_port()}/fltr_auth"
    outcome = manage(*COMMANDS[command], AUTH_DATABASE_URL=url, FLTR_DATABASE_URL=url + "2")
    assert_told(outcome, 2, "Connection refused", "Check that the server runs")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "AUTH_DATABASE_URL is empty"),
        (" ", "AUTH_DATABASE_URL is empty"),
        (
            f"mysql://ada:{PASSWORD}@localhost/fltr_auth",
            "AUTH_DATABASE_URL is not a PostgreSQL URL",
        ),
        (f"postgresql://ada:{PASSWORD}@localhost:port/x", "AUTH_DATABASE_URL is malformed"),
        (f"postgresql://ada:{PASSWORD}@[::1/x", "AUTH_DATABASE_URL is malformed"),
        (f"postgresql://ada:{PASSWORD}@localhost", "AUTH_DATABASE_URL names no database"),
        (f"ada:{PASSWORD}@localhost", "AUTH_DATABASE_URL is not a PostgreSQL URL"),
    ],
)
def test_error_url(manage: Callable[..., Outcome], url: str, words: str) -> None:
    assert_told(manage(*COMMANDS["nuke_schema"], AUTH_DATABASE_URL=url), 2, words)
    # Django's own commands run the system checks first and exit with 1 when one fails.
    assert_told(manage("migrate", AUTH_DATABASE_URL=url), 1, words, "fltr.E001")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nuke_schema", "--database", "prod", "--no-input"], "There is no alias 'prod'"),
        (["nuke_schema", "--database", "default", "--no-input"], "never touch"),
        (["verify_schema", "--database", "prod"], "Use one of: auth, fltr"),
        (["clean_slate", "--database", "prod", "--no-input"], "There is no alias 'prod'"),
        (["postgres", "url", "--database", "prod"], "There is no alias 'prod'"),
        (["nuke_schema", "--no-input"], "--database"),
        (["nuke_schema", "--database", "auth", "--lock-timeout", "0"], "--lock-timeout"),
        (["adopt_drizzle", "nowhere"], "'nowhere' is not a Drizzle migrations folder"),
        (["postgres", "status", "now"], "unrecognized arguments: now"),
    ],
)
def test_error_usage(
    databases: Databases, run: Callable[..., Outcome], arguments: list[str], words: str
) -> None:
    before = fingerprint(databases)
    assert_told(run(*arguments), 2, words)
    assert fingerprint(databases) == before


def test_error_a_name_instead_of_its_alias(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    name = databases.names["fltr"]
    outcome = run("nuke_schema", "--database", name, "--no-input")
    assert_told(outcome, 2, f"Database {name} is --database fltr")


@pytest.mark.parametrize("command", ["nuke_schema", "clean_slate"])
def test_error_no_terminal(databases: Databases, run: Callable[..., Outcome], command: str) -> None:
    before = fingerprint(databases)
    arguments = [argument for argument in COMMANDS[command] if argument != "--no-input"]
    outcome = run(*arguments)
    assert_told(outcome, 3, "there is no terminal to ask on", "--no-input")
    assert fingerprint(databases) == before


@pytest.mark.parametrize("command", ["nuke_schema", "clean_slate"])
@pytest.mark.parametrize("other", ["FLTR", "CONTROL"])
def test_error_one_database_under_two_aliases(
    databases: Databases, manage: Callable[..., Outcome], command: str, other: str
) -> None:
    urls = databases.environment()
    urls[f"{other}_DATABASE_URL"] = urls["AUTH_DATABASE_URL"]
    before = fingerprint(databases)
    assert "fltr.E002" in manage("check", **urls).err
    outcome = manage(*COMMANDS[command], **urls)
    assert_told(outcome, 2, "both reach database")
    assert fingerprint(databases) == before


@pytest.fixture
def role(databases: Databases) -> Iterator[str]:
    """A role that may log in and owns nothing."""
    name = f"role_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {name} LOGIN; GRANT SELECT ON users TO {name}")
    yield name
    databases.execute("auth", f"DROP OWNED BY {name}; DROP ROLE {name}")


def url_as(databases: Databases, role: str) -> dict[str, str]:
    urls = databases.environment()
    user = connections["auth"].settings_dict["USER"]
    return {name: url.replace(f"//{user}@", f"//{role}@") for name, url in urls.items()}


@pytest.mark.parametrize("command", ["nuke_schema", "clean_slate", "smoke_credits"])
def test_error_role_without_rights(
    databases: Databases, manage: Callable[..., Outcome], role: str, command: str
) -> None:
    before = fingerprint(databases)
    urls = url_as(databases, role) | {
        "CONTROL_DATABASE_URL": databases.environment()["CONTROL_DATABASE_URL"]
    }
    outcome = manage(*COMMANDS[command], **urls)
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    assert "owner" in outcome.err or "permission denied" in outcome.out
    assert fingerprint(databases) == before


@pytest.mark.parametrize("command", ["nuke_schema", "clean_slate"])
def test_error_read_only_server(
    databases: Databases, run: Callable[..., Outcome], command: str
) -> None:
    for alias in ("auth", "fltr"):
        connections[alias].ensure_connection()
        connections[alias].connection.read_only = True
    before = fingerprint(databases)
    outcome = run(*COMMANDS[command])
    assert_told(outcome, 2, "is read-only", "primary server")
    assert fingerprint(databases) == before


def test_error_wrong_password(manage: Callable[..., Outcome], tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    server.join()
    try:
        address = f"host={server.socket_directory} user={SUPERUSER} dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("CREATE ROLE ada LOGIN PASSWORD 'right'")
            (server.data / "pg_hba.conf").write_text("local all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        url = f"postgresql://ada:{PASSWORD}@/postgres?host={server.socket_directory}"
        for command in ("nuke_schema", "verify_schema", "migrate"):
            outcome = manage(
                *COMMANDS[command], AUTH_DATABASE_URL=url, FLTR_DATABASE_URL="embedded"
            )
            assert_told(outcome, 2, "password authentication failed", "password")
    finally:
        server.leave()
        server.remove()


def test_error_in_json_is_an_object_too(manage: Callable[..., Outcome]) -> None:
    outcome = manage("verify_schema", "--format", "json", AUTH_DATABASE_URL="")
    document = json.loads(outcome.out)
    assert (document["verdict"], document["exit_code"]) == ("could not run", 2)
    assert "AUTH_DATABASE_URL" in document["error"]
    assert outcome.code == 2


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"FLTR_ENV_FILE": "no/such/file"}, "FLTR_ENV_FILE names 'no/such/file'"),
        ({"FLTR_ENV_FILE": ""}, "FLTR_ENV_FILE names ''"),
        ({"SECRET_KEY": ""}, "SECRET_KEY is empty"),
        ({"ALLOWED_HOSTS": "one,,two"}, "ALLOWED_HOSTS has an empty part"),
        ({"DEBUG": "maybe"}, "DEBUG is 'maybe'"),
        ({"SIGNUP_BONUS_CREDITS": "-1"}, "SIGNUP_BONUS_CREDITS is '-1'"),
        ({"SIGNUP_BONUS_CREDITS": "1000000000"}, "SIGNUP_BONUS_CREDITS is '1000000000'"),
    ],
)
def test_error_setting(
    manage: Callable[..., Outcome], variables: dict[str, str], words: str
) -> None:
    assert_told(manage("verify_schema", **variables), 2, words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"AUTH_DATABASE_URL = postgresql://ada:{PASSWORD}@h/x".encode(), "Line 1 of the env file"),
        (f"DEBUG=on\n  SECRET_KEY={PASSWORD}".encode(), "Line 2 of the env file"),
        (PASSWORD.encode(), "Line 1 of the env file"),
        (b"SECRET_KEY=\xff\xfe", "cannot be read (UnicodeDecodeError)"),
    ],
)
def test_error_env_file(
    manage: Callable[..., Outcome], tmp_path: Path, content: bytes, words: str
) -> None:
    file = tmp_path / "production.env"
    file.write_bytes(content)
    assert_told(manage("verify_schema", FLTR_ENV_FILE=str(file)), 2, words)


def test_it_reads_an_env_file_as_it_is_written(
    manage: Callable[..., Outcome], tmp_path: Path
) -> None:
    file = tmp_path / "production.env"
    file.write_text(
        "# production\n\nexport AUTH_DATABASE_URL=postgresql://ada@db.invalid/fltr_auth\n"
        "SECRET_KEY=$with=signs#in it\nALLOWED_HOSTS=a.example.org, b.example.org\n"
    )
    code = "from django.conf import settings as s; print(s.SECRET_KEY, s.ALLOWED_HOSTS, s.DEBUG)"
    outcome = manage("shell", "-v0", "-c", code, FLTR_ENV_FILE=str(file))
    assert outcome.out == "$with=signs#in it ['a.example.org', 'b.example.org'] False\n", outcome


def fingerprint(databases: Databases) -> list[object]:
    """What a refused command must leave as it was."""
    return [
        databases.execute(
            alias,
            "SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname !~ '^pg_temp'"
            " UNION ALL SELECT oid, relname, relowner, relacl FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace ORDER BY oid",
        )
        for alias in ("auth", "fltr")
    ]
