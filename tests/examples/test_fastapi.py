"""examples/fastapi on real databases, as a process and over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from auth_app.smoke.sites import Answer, Site
from fltr_project.export.exports import export
from tests.conftest import Databases

from .servers import FASTAPI, WORKER, fastapi, log_in, signed


@pytest.fixture
def api(databases: Databases) -> Iterator[Site]:
    with fastapi(databases) as (url, _):
        yield Site(url)


def get(api: Site, token: str, path: str) -> Answer:
    return api.ask("GET", path, headers={"Authorization": f"Bearer {token}"})


def make(api: Site, token: str, name: str = "Birds", key: str | None = None) -> Answer:
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key or str(uuid.uuid4())}
    return api.ask("POST", "/api/v1/datasets", {"name": name}, headers)


@pytest.mark.parametrize(
    ("file", "alias", "form"),
    [
        ("fltr.py", "fltr", "sqlmodel"),
        ("auth.py", "auth", "sqlmodel"),
        ("credits.py", "auth", "credits-python"),
    ],
)
def test_its_models_are_what_export_schema_writes(file: str, alias: str, form: str) -> None:
    written = (FASTAPI / "fltr_api" / "generated" / file).read_text(encoding="utf-8")
    assert written == export(alias, form)


def test_what_a_dataset_costs_is_in_the_ledger(api: Site, databases: Databases) -> None:
    token = log_in(databases, "ada")
    assert api.ask("GET", "/health").body == {
        "status": "ok",
        "databases": {"auth": "ok", "fltr": "ok"},
    }
    assert get(api, token, "/api/v1/credits/balance").body == {"user_id": "ada", "balance": 100}
    made = make(api, token, "Birds")
    assert (made.status, made.body["name"], made.body["status"]) == (201, "Birds", "ready")
    assert get(api, token, "/api/v1/credits/balance").body["balance"] == 90
    assert [each["id"] for each in get(api, token, "/api/v1/datasets").body] == [made.body["id"]]
    assert get(api, token, f"/api/v1/datasets/{made.body['id']}").body == made.body
    summary = get(api, token, "/api/v1/credits/usage-summary").body
    assert summary == [{"operation": "dataset", "credits": 10, "changes": 3}]
    pages, after = [], ""
    while True:
        page = get(api, token, f"/api/v1/credits/transactions?limit=1{after}").body
        pages += page["items"]
        if page["next"] is None:
            break
        after = f"&before={page['next']}"
    assert [(each["type"], each["amount"]) for each in pages] == [
        ("usage", -10),
        ("refund", 10),
        ("usage", -10),
        ("bonus", 100),
    ]
    gone = api.ask(
        "DELETE",
        f"/api/v1/datasets/{made.body['id']}",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert gone.status == 204
    assert get(api, token, f"/api/v1/datasets/{made.body['id']}").status == 404
    assert get(api, token, "/api/v1/credits/balance").body["balance"] == 90


def test_a_key_is_one_dataset(api: Site, databases: Databases) -> None:
    token = log_in(databases, "ada")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: make(api, token, "Birds", "once"), range(8)))
    assert {answer.status for answer in answers} <= {200, 201}
    assert len({answer.body["id"] for answer in answers}) == 1
    again = make(api, token, "Birds", "once")
    assert (again.status, again.body) == (200, answers[0].body)
    assert make(api, token, "Fish", "once").body["error"] == "key_reused"
    assert get(api, token, "/api/v1/credits/balance").body["balance"] == 90
    # Another user's key is another.
    assert make(api, log_in(databases, "bob"), "Fish", "once").status == 201
    path = f"/api/v1/datasets/{again.body['id']}"
    api.ask("DELETE", path, headers={"Authorization": f"Bearer {token}"})
    assert make(api, token, "Birds", "once").body["error"] == "deleted"
    assert get(api, token, "/api/v1/credits/balance").body["balance"] == 90


def test_without_credits_nothing_is_made(api: Site, databases: Databases) -> None:
    token = log_in(databases, "ada")
    for _ in range(10):
        assert make(api, token).status == 201
    refused = make(api, token)
    assert (refused.status, refused.body) == (
        402,
        {"error": "insufficient", "message": "the balance is too small", "balance": 0},
    )
    assert databases.execute("fltr", "SELECT count(*) FROM public.datasets") == [(10,)]


def test_users_never_see_each_other(api: Site, databases: Databases) -> None:
    ada, bob = log_in(databases, "ada"), log_in(databases, "bob")
    made = make(api, ada).body["id"]
    assert get(api, bob, "/api/v1/datasets").body == []
    assert get(api, bob, f"/api/v1/datasets/{made}").status == 404
    assert [e["type"] for e in get(api, bob, "/api/v1/credits/transactions").body["items"]] == [
        "bonus"
    ]
    path = f"/api/v1/datasets/{made}"
    assert api.ask("DELETE", path, headers={"Authorization": f"Bearer {bob}"}).status == 404
    assert get(api, ada, path).status == 200


def test_only_a_live_session_with_its_signature_is_let_in(api: Site, databases: Databases) -> None:
    token = log_in(databases, "ada")
    raw = token.partition(".")[0]
    cookies = [
        {"better-auth.session_token": token},
        {"__Secure-better-auth.session_token": token.replace("+", "%2B").replace("=", "%3D")},
    ]
    for cookie in cookies:
        assert api.ask("GET", "/api/v1/credits/balance", cookies=cookie).status == 200
    refused = [
        "",
        raw,
        f"{raw}.",
        f".{token}",
        signed(raw, "another secret"),
        signed("x" * 32),
        log_in(databases, "ada", "-1 second"),
        token + "x",
        token * 300,
        "' OR 1=1 --",
        signed("a' OR '1'='1"),
        "%00",
        signed("a%00b"),
        "é.ü".encode().decode("latin-1"),
    ]
    for each in refused:
        answer = get(api, each, "/api/v1/credits/balance")
        assert (answer.status, answer.body) == (
            401,
            {"error": "unauthorized", "message": "sign in, or send an API key"},
        ), each
        assert answer.headers["www-authenticate"] == "Bearer"


def test_an_api_key_pays_for_itself_up_to_its_limit(api: Site, databases: Databases) -> None:
    log_in(databases, "ada")
    stored = databases.execute("auth", "SELECT encode(sha256('key of ada'), 'hex')")[0][0]
    databases.execute(
        "auth",
        "INSERT INTO public.api_key_credits (api_key, user_id, daily_limit) VALUES (%s, 'ada', 15)",
        f"sha256:{stored}",
    )
    databases.execute(
        "auth",
        "SELECT public.grant_credits('ada', 50, 'purchase', 'top-up', p_api_key => %s)",
        f"sha256:{stored}",
    )
    headers = {"X-API-Key": "key of ada"}
    assert api.ask("GET", "/api/v1/credits/balance", headers=headers).body["balance"] == 50
    bodies = []
    for key in ("one", "two"):
        answer = api.ask(
            "POST", "/api/v1/datasets", {"name": "Birds"}, {**headers, "Idempotency-Key": key}
        )
        bodies.append((answer.status, answer.body.get("error")))
    assert bodies == [(201, None), (429, "daily_limit")]
    assert api.ask("GET", "/api/v1/credits/balance", headers=headers).body["balance"] == 40
    items = api.ask("GET", "/api/v1/credits/transactions", headers=headers).body["items"]
    assert [each["amount"] for each in items] == [-10, 10, -10, 50]
    wrong = api.ask("GET", "/api/v1/credits/balance", headers={"X-API-Key": f"sha256:{stored}"})
    assert wrong.status == 401


def test_a_worker_gives_back_once(api: Site, databases: Databases) -> None:
    token = log_in(databases, "ada")
    make(api, token)
    usage = get(api, token, "/api/v1/credits/transactions").body["items"][0]["id"]

    def refund(worker: str | None, **body: Any) -> Answer:
        headers = {"Idempotency-Key": "job 1".replace(" ", "-")}
        if worker is not None:
            headers["X-Worker-Token"] = worker
        return api.ask("POST", "/api/v1/credits/refund", body, headers)

    wanted = {"transaction_id": usage, "amount": 4, "reason": "the job failed"}
    assert refund(None, **wanted).status == 401
    assert refund(token, **wanted).status == 403
    for _ in range(2):
        assert refund(WORKER, **wanted).body["balance"] == 94
    assert refund(WORKER, **{**wanted, "amount": 5}).body["error"] == "key_reused"
    assert refund(WORKER, **{**wanted, "transaction_id": "none"}).status in {404, 409}


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/api/v1/datasets", {"name": "a\x00b"}, {"Idempotency-Key": "k"}),
        ("/api/v1/datasets", {"name": ""}, {"Idempotency-Key": "k"}),
        ("/api/v1/datasets", {"name": "a" * 201}, {"Idempotency-Key": "k"}),
        ("/api/v1/datasets", {"name": "\ud800"}, {"Idempotency-Key": "k"}),
        ("/api/v1/datasets", {"name": "a", "description": "\x00"}, {"Idempotency-Key": "k"}),
        ("/api/v1/datasets", {"name": "a"}, {}),
        ("/api/v1/datasets", {"name": "a"}, {"Idempotency-Key": "k" * 201}),
        ("/api/v1/datasets", ["name"], {"Idempotency-Key": "k"}),
        (
            "/api/v1/credits/refund",
            {"transaction_id": "'", "reason": "r"},
            {"Idempotency-Key": "k"},
        ),
    ],
)
def test_what_no_database_takes_is_refused_by_name(
    api: Site, databases: Databases, path: str, body: object, headers: dict[str, str]
) -> None:
    token = log_in(databases, "ada")
    answer = api.ask("POST", path, body, {"Authorization": f"Bearer {token}", **headers})
    assert (answer.status, answer.body["error"]) == (422, "invalid")
    assert databases.execute("fltr", "SELECT count(*) FROM public.datasets") == [(0,)]


def test_every_error_has_one_shape(api: Site, databases: Databases) -> None:
    token = log_in(databases, "ada")
    statuses = {
        "/nothing": 404,
        "/api/v1/datasets/no-uuid": 422,
        f"/api/v1/datasets/{uuid.uuid4()}": 404,
        "/api/v1/credits/transactions?before=%00": 422,
        "/api/v1/credits/transactions?limit=0": 422,
        "/api/v1/credits/usage-summary?days=100000000000": 422,
        "/api/v1/credits/refund": 405,
    }
    for path, status in statuses.items():
        answer = get(api, token, path)
        assert (answer.status, set(answer.body)) == (status, {"error", "message"}), path


def test_a_database_that_is_gone_is_said(databases: Databases) -> None:
    environment = databases.environment()
    gone = environment["FLTR_DATABASE_URL"].replace(databases.names["fltr"], "no_such_database")
    with fastapi(databases, FLTR_DATABASE_URL=gone) as (url, _):
        api = Site(url)
        health = api.ask("GET", "/health")
        assert (health.status, health.body["databases"]) == (503, {"auth": "ok", "fltr": "down"})
        token = log_in(databases, "ada")
        assert make(api, token).body["error"] == "unavailable"
        # Nothing is held for what could not be written.
        assert get(api, token, "/api/v1/credits/balance").body["balance"] == 100


def test_openapi_names_the_answers(api: Site) -> None:
    paths = api.ask("GET", "/openapi.json").body["paths"]
    responses = paths["/api/v1/datasets"]["post"]["responses"]
    assert set(responses) == {"200", "201", "400", "401", "402", "404", "409", "422", "429", "503"}
    assert "HTTPValidationError" not in json.dumps(paths)


@pytest.mark.slow
def test_no_request_is_answered_as_nobody_says(
    api: Site, databases: Databases, tmp_path: Path
) -> None:
    """schemathesis sends what the description allows and what it does not: no 500, no undocumented answer."""
    token = log_in(databases, "ada")
    databases.execute("auth", "SELECT public.grant_credits('ada', 1000000, 'bonus', 'gift')")
    for headers in ([f"Authorization: Bearer {token}", f"X-Worker-Token: {WORKER}"], []):
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                *("run", f"{api.url}/openapi.json", "--max-examples=40", "--no-color"),
                *("--phases=coverage,fuzzing,stateful", "--seed=1"),
                # Starlette's 405 names the methods of the first route of a path alone.
                "--exclude-checks=allow_header_conformance",
                *(part for header in headers for part in ("-H", header)),
            ],
            # Where it keeps what it has found.
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout
