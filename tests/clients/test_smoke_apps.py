"""smoke_apps walks through a real Better Auth and examples/fastapi, and names the step that a fault breaks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ALIASES, Databases, Outcome
from tests.examples.servers import SECRET, fastapi, free_port, serving
from tests.test_json import checked

from .test_drizzle_build import Node as Node

STEPS = [
    "web answers",
    "API is healthy",
    "sign-up",
    "user in fltr_auth",
    "account and bonus",
    "wrong password",
    "log-in",
    "session",
    "balance",
    "no session, no answer",
    "spending",
    "sent again",
    "no credits left",
    "log-out",
    "left behind",
]
SECRETS = {"BETTER_AUTH_SECRET": SECRET}


@contextmanager
def web(clients: Path, databases: Databases, fault: str = "", **environment: str) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {**databases.environment(), **SECRETS, **environment}
    arguments = ["node", "web.mjs", str(port), fault]
    with serving(arguments, clients, f"{url}/api/auth/ok", variables):
        yield url


def rows(databases: Databases) -> list[int]:
    tables = {
        "auth": ["users", "sessions", "accounts", "user_credits", "credit_transactions"],
        "fltr": ["datasets"],
    }
    return [
        databases.execute(alias, f"SELECT count(*) FROM public.{table}")[0][0]
        for alias, names in tables.items()
        for table in names
    ]


def walk(run: Callable[..., Outcome], web_url: str, api_url: str, *options: str) -> Outcome:
    return run("smoke_apps", "--web", web_url, "--api", api_url, *options)


def failed(outcome: Outcome) -> list[str]:
    assert outcome.code == 1, outcome
    return [check["name"] for check in json.loads(outcome.out)["checks"] if not check["ok"]]


def test_every_step_passes_and_nothing_is_left(
    clients: Path, databases: Databases, run: Callable[..., Outcome]
) -> None:
    with web(clients, databases) as web_url, fastapi(databases) as (api_url, _):
        outcome = walk(run, web_url, api_url)
        assert (outcome.code, outcome.err) == (0, ""), outcome
        names = [line[5:26].rstrip() for line in outcome.out.splitlines()[1:-1]]
        assert names == STEPS
        assert "[--]" not in outcome.out
        assert "15 of 15 steps passed in " in outcome.out
        assert "10 credits for 'dataset'; the API says 90, as the database does" in outcome.out
        assert rows(databases) == [0] * 6
        document = checked("smoke_apps", walk(run, f"{web_url}/", api_url, "--format", "json"))
        assert (document["verdict"], document["unchecked"]) == ("clean", [])


def test_what_a_killed_run_left_is_removed(
    clients: Path, databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.execute(
        "auth",
        "INSERT INTO public.users (id, name, email) VALUES"
        " ('left', 'smoke_apps', 'smoke_apps-1@example.invalid'),"
        " ('real', 'smoke_apps', 'smokeXapps-2@example.invalid')",
    )
    databases.execute(
        "fltr",
        "INSERT INTO public.datasets (owner_id, name, slug) VALUES"
        " ('left', 'l', 'l'), ('real', 'r', 'r')",
    )
    nobody = f"http://127.0.0.1:{free_port()}"
    assert "; removed 1 user left by killed runs\n" in walk(run, nobody, nobody).out
    assert databases.execute("auth", "SELECT id FROM public.users") == [("real",)]
    assert databases.execute("fltr", "SELECT owner_id FROM public.datasets") == [("real",)]


def test_clean_slate_walks_through_the_applications(
    clients: Path, databases: Databases, run: Callable[..., Outcome]
) -> None:
    for alias in ALIASES:
        databases.mark(alias, "test")
    line = ["clean_slate", "--no-input", "--no-backup"]
    with web(clients, databases) as web_url, fastapi(databases) as (api_url, _):
        # Both have asked the old schema: their pools hold its connections.
        assert walk(run, web_url, api_url).code == 0
        sites = ["--web", web_url, "--api", api_url]
        outcome = run(*line, *sites)
        assert outcome.code == 0, outcome
        assert all(f"[ok] {databases.names['auth']}  {step} " in outcome.out for step in STEPS)
        document = checked("clean_slate", run(*line, *sites, "--format", "json"))
        assert set(STEPS) < {step["step"] for step in document["steps"]}
        assert rows(databases) == [0] * 6
    with web(clients, databases, "no-log-out") as web_url, fastapi(databases) as (api_url, _):
        sites = ["--web", web_url, "--api", api_url]
        outcome = run(*line, *sites)
        assert outcome.code == 1, outcome
        assert "the applications do not work on them: log-out failed." in outcome.err
        assert outcome.err.count("has its new schema, and its old one is gone.") == 2
        document = checked("clean_slate", run(*line, *sites, "--format", "json"))
        assert (document["verdict"], len(document["standing"])) == ("failed", 2)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--web", "http://localhost:3000"], "--web and --api go together"),
        (
            ["--web", "http://a", "--api", "http://b", "--database", "auth"],
            "--web and --api go with both databases",
        ),
    ],
)
def test_clean_slate_says_what_goes_together(
    databases: Databases, run: Callable[..., Outcome], options: list[str], reason: str
) -> None:
    outcome = run("clean_slate", "--no-input", *options)
    assert (outcome.out, outcome.code) == ("", 2)
    assert reason in outcome.err


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_the_clients_zone_does_not_matter(
    clients: Path, databases: Databases, run: Callable[..., Outcome], zone: str
) -> None:
    with (
        web(clients, databases, TZ=zone, PGTZ=zone) as web_url,
        fastapi(databases, TZ=zone, PGTZ=zone) as (api_url, _),
    ):
        outcome = walk(run, web_url, api_url)
    assert outcome.code == 0, outcome.out


def test_an_address_that_must_be_confirmed_is_confirmed(
    clients: Path, databases: Databases, run: Callable[..., Outcome]
) -> None:
    with web(clients, databases, "unconfirmed") as web_url, fastapi(databases) as (api_url, _):
        outcome = walk(run, web_url, api_url)
    assert outcome.code == 0, outcome.out
    assert "the address was confirmed in the database, as the link of the mail does" in outcome.out


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        ("plain-passwords", "user in fltr_auth"),
        ("any-password", "wrong password"),
        ("local-time", "user in fltr_auth"),
        ("no-log-out", "log-out"),
    ],
)
def test_a_fault_of_the_web_application_is_named(
    clients: Path, databases: Databases, run: Callable[..., Outcome], fault: str, step: str
) -> None:
    with web(clients, databases, fault) as web_url, fastapi(databases) as (api_url, _):
        outcome = walk(run, web_url, api_url, "--format", "json")
    assert step in failed(outcome), outcome.out
    assert rows(databases) == [0] * 6


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        ("unhealthy", "API is healthy"),
        ("free", "spending"),
        ("by-hand", "spending"),
        ("on-the-house", "no credits left"),
        ("wrong-balance", "balance"),
        ("nothing-said", "balance"),
        ("open", "no session, no answer"),
        ("forged", "no session, no answer"),
        ("stale", "log-out"),
    ],
)
def test_a_fault_of_the_api_is_named(
    clients: Path, databases: Databases, run: Callable[..., Outcome], fault: str, step: str
) -> None:
    faulty = fastapi(databases, "tests.examples.faulty:app", FAULT=fault)
    with web(clients, databases) as web_url, faulty as (api_url, _):
        outcome = walk(run, web_url, api_url, "--format", "json")
    assert failed(outcome)[0] == step, outcome.out
    assert rows(databases) == [0] * 6


@pytest.mark.parametrize(
    ("statement", "steps"),
    [
        ("DROP TRIGGER users_open_credit_account ON public.users", {"account and bonus"}),
        (
            "ALTER TABLE public.users DISABLE TRIGGER users_open_credit_account",
            {"account and bonus"},
        ),
        ("ALTER TABLE public.users ADD plan text NOT NULL", {"sign-up"}),
        (
            "ALTER TABLE public.credit_transactions ADD CHECK (operation IS DISTINCT FROM 'dataset')",
            {"spending"},
        ),
        ("ALTER TABLE public.sessions RENAME COLUMN token TO session_token", {"sign-up"}),
    ],
)
def test_a_fault_of_the_schema_is_named(
    clients: Path,
    databases: Databases,
    run: Callable[..., Outcome],
    statement: str,
    steps: set[str],
) -> None:
    databases.execute("auth", statement)
    with web(clients, databases) as web_url, fastapi(databases) as (api_url, _):
        outcome = walk(run, web_url, api_url, "--format", "json")
    assert steps <= set(failed(outcome)), outcome.out


def test_what_does_not_answer_is_named(databases: Databases, run: Callable[..., Outcome]) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    outcome = walk(run, nobody, nobody)
    assert outcome.code == 1
    assert f"GET {nobody}/api/auth/ok does not answer (" in outcome.out
    assert f"GET {nobody}/health does not answer (" in outcome.out
    assert "[--] not checked: log-out: needs 'balance'" in outcome.out
    assert "1 of 3 steps passed" in outcome.out


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--web", "localhost:3000"),
        ("--web", "http://user:secret@localhost:3000"),
        ("--api", "ftp://localhost"),
        ("--api", "http://localhost:port"),
        ("--spend", "datasets"),
        ("--spend", "POST /datasets {name}"),
        ("--balance", "credits"),
    ],
)
def test_options_that_cannot_be_are_refused(
    run: Callable[..., Outcome], option: str, text: str
) -> None:
    outcome = run(
        "smoke_apps", "--web", "http://localhost:1", "--api", "http://localhost:2", option, text
    )
    assert (outcome.out, outcome.code) == ("", 2)
    assert option in outcome.err
    assert "secret" not in outcome.err.splitlines()[-1]
