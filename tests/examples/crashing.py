"""examples/fastapi that dies as by kill -9 before the commit of CRASH_BEFORE in the first dataset's request."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from fastapi import Request
from fltr_api import datasets
from fltr_api.databases import Databases
from fltr_api.main import app as app
from sqlalchemy import Engine, event

datasets.HOLD_LASTS = timedelta(seconds=float(os.environ["HOLD_LASTS"]))
left = int(os.environ["CRASH_BEFORE"])
counting = False


async def nothing(databases: Databases) -> int:
    return 0


if left:
    # What another process has left is for the one that does not die.
    datasets.finish = nothing


@app.middleware("http")
async def begin(request: Request, call_next: Any) -> Any:
    global counting
    counting = counting or request.method == "POST"
    return await call_next(request)


@event.listens_for(Engine, "commit")
def die(_: object) -> None:
    global left
    if counting:
        left -= 1
        if left == 0:
            os._exit(9)
