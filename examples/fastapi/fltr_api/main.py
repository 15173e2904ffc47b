"""The API beside the Next.js application: ``uvicorn fltr_api.main:app``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Response
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from . import credit_routes, dataset_routes, datasets, problems, settings
from .databases import Databases
from .identity import InDatabases

# Seconds that a database has to answer, and between two looks for what a crash has left.
PATIENCE = 2
EVERY = 60

log = logging.getLogger("fltr_api")


class Health(BaseModel):
    status: str
    databases: dict[str, str]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.databases = Databases(app.state.settings)
    finishing = asyncio.create_task(finish_again_and_again(app.state.databases))
    yield
    finishing.cancel()
    with suppress(asyncio.CancelledError):
        await finishing
    await app.state.databases.close()


async def finish_again_and_again(databases: Databases) -> None:
    while True:
        try:
            if left := await datasets.finish(databases):
                log.info("%s datasets were left by crashes", left)
        except (SQLAlchemyError, TimeoutError):
            log.exception("datasets that a crash may have left: looked for again in %s s", EVERY)
        await asyncio.sleep(EVERY)


app = FastAPI(title="FLTR", version="1.0.0", lifespan=lifespan)
# Here, and not at the start, so that what is missing is one sentence.
app.state.settings = settings.load()
problems.install(app)
app.include_router(credit_routes.router)
app.include_router(dataset_routes.router)


@app.get("/health", responses={503: {"model": Health}})
async def health(response: Response, databases: InDatabases) -> Health:
    """Whether both databases answer."""
    auth, fltr = await asyncio.gather(_state(databases.auth), _state(databases.fltr))
    if (auth, fltr) != ("ok", "ok"):
        response.status_code = 503
    status = "ok" if response.status_code != 503 else "unavailable"
    return Health(status=status, databases={"auth": auth, "fltr": fltr})


async def _state(engine: AsyncEngine) -> str:
    try:
        async with asyncio.timeout(PATIENCE), engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except TimeoutError:
        return "slow"
    except SQLAlchemyError:
        return "down"
    return "ok"
