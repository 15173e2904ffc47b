"""examples/fastapi with the fault that the variable FAULT names, for smoke_apps to find."""

from __future__ import annotations

import json
import os
from typing import Any

import psycopg
from fastapi import Request, Response
from fltr_api.main import app as app

from tests.examples.servers import signed

FAULT = os.environ["FAULT"]
BALANCE, DATASETS = "/api/v1/credits/balance", "/api/v1/datasets"
remembered: list[dict[str, Any]] = []


@app.middleware("http")
async def plant(request: Request, call_next: Any) -> Response:
    path = request.url.path
    if FAULT == "unhealthy" and path == "/health":
        return json_of(500, {"status": "no"})
    if FAULT == "free" and path == DATASETS:
        return json_of(201, {"id": "none"})
    if FAULT == "forged" and "cookie" in request.headers:
        name, _, value = request.headers["cookie"].partition("=")
        cookie = f"{name}={signed(value.partition('.')[0])}".encode()
        request.scope["headers"] = [
            (key, cookie if key == b"cookie" else old) for key, old in request.scope["headers"]
        ]
        return await passed_on(request, call_next)
    response = await passed_on(request, call_next)
    if path == BALANCE and response.status_code == 200:
        body = json.loads(bytes(response.body))
        remembered.append(body)
        if FAULT == "wrong-balance":
            return json_of(200, {**body, "balance": body["balance"] + 1})
        if FAULT == "nothing-said":
            return json_of(200, {"credits_left": body["balance"]})
    if FAULT == "stale" and response.status_code == 401 and "better-auth" in str(request.cookies):
        known = [cookie for cookie in seen if cookie in request.headers["cookie"]]
        return json_of(200, remembered[-1]) if known else response
    seen.append(request.headers.get("cookie", "none")) if response.status_code == 200 else None
    if FAULT == "open" and path == BALANCE and response.status_code == 401:
        return json_of(200, {"balance": 0})
    if FAULT == "on-the-house" and response.status_code == 402:
        return json_of(201, {"id": "none"})
    if FAULT == "by-hand" and path == DATASETS and response.status_code == 201:
        with psycopg.connect(os.environ["AUTH_DATABASE_URL"]) as connection:
            connection.execute("UPDATE user_credits SET credits = credits - 1")
    return response


seen: list[str] = []


async def passed_on(request: Request, call_next: Any) -> Response:
    response = await call_next(request)
    body = b"".join([part async for part in response.body_iterator])
    return Response(body, response.status_code, media_type="application/json")


def json_of(status: int, body: object) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")
