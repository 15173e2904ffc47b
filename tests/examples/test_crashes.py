"""A dataset of examples/fastapi is paid and made, or neither, wherever the process dies."""

from __future__ import annotations

import time

import pytest

from auth_app.smoke.context import Wrong
from auth_app.smoke.sites import Answer, Site
from tests.conftest import Databases

from .servers import fastapi, log_in

APP = "tests.examples.crashing:app"
# The request's commits: who asks, what there is, the hold, the draft, the settlement, the last.
COMMITS = range(1, 7)


def post(url: str, token: str) -> Answer:
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "once"}
    return Site(url).ask("POST", "/api/v1/datasets", {"name": "Birds"}, headers)


def standing(databases: Databases, user: str) -> tuple[int, list[str]]:
    """The balance, and the states of the user's datasets."""
    ((held,),) = databases.execute(
        "auth", "SELECT credits FROM public.user_credits WHERE user_id = %s", user
    )
    rows = databases.execute("fltr", "SELECT status FROM public.datasets WHERE owner_id = %s", user)
    return held, [status for (status,) in rows]


def crash(databases: Databases, user: str, commit: int, hold_lasts: int) -> str:
    token = log_in(databases, user)
    environment = {"CRASH_BEFORE": str(commit), "HOLD_LASTS": str(hold_lasts)}
    with fastapi(databases, APP, **environment) as (url, process):
        with pytest.raises(Wrong, match="does not answer"):
            post(url, token)
        assert process.wait(timeout=10) == 9
    return token


@pytest.mark.slow
def test_it_is_paid_and_made_or_neither(databases: Databases) -> None:
    again = {f"again-{n}": crash(databases, f"again-{n}", n, 300) for n in COMMITS}
    left, lapsed = (
        {f"{kind}-{n}": crash(databases, f"{kind}-{n}", n, 1) for n in COMMITS}
        for kind in ("left", "lapsed")
    )
    assert [standing(databases, f"left-{n}") for n in COMMITS] == [
        (100, []),
        (100, []),
        (100, []),
        (90, []),
        (90, ["uploading"]),
        (90, ["uploading"]),
    ]
    # Longer than the holds last, and than a draft is left to its request.
    time.sleep(1.1)
    for user in lapsed:
        databases.execute("auth", "SELECT public.release_expired_credits('user', %s)", user)
    with fastapi(databases, APP, CRASH_BEFORE="0", HOLD_LASTS="1") as (url, _):
        deadline = time.monotonic() + 20
        while databases.execute(
            "fltr",
            "SELECT id FROM public.datasets WHERE status = 'uploading' AND owner_id NOT LIKE 'again-%'",
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        # Nobody came again: what was written is paid, what was given back is gone.
        assert [standing(databases, f"left-{n}")[1] for n in COMMITS] == [
            [],
            [],
            [],
            [],
            ["ready"],
            ["ready"],
        ]
        assert [standing(databases, f"lapsed-{n}") for n in COMMITS] == [
            *[(100, [])] * 5,
            (90, ["ready"]),
        ]
        # Whoever comes again has one dataset, paid once.
        for user, token in (again | left | lapsed).items():
            assert post(url, token).status in {200, 201}, user
            assert standing(databases, user) == (90, ["ready"]), user
            assert post(url, token).status == 200
