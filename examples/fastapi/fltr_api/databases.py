"""The two databases: an engine for each, and transactions in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from .settings import Settings

# Seconds that a transaction may take before its request is answered with 503.
LONGEST = 10


class Databases:
    def __init__(self, settings: Settings) -> None:
        self.auth = _engine(settings.auth_database_url)
        self.fltr = _engine(settings.fltr_database_url)

    @asynccontextmanager
    async def in_auth(self) -> AsyncIterator[AsyncSession]:
        """A transaction in fltr_auth: users, sessions and credits. Commits at its end."""
        async with asyncio.timeout(LONGEST), _transaction(self.auth) as session:
            yield session

    @asynccontextmanager
    async def in_fltr(self) -> AsyncIterator[AsyncSession]:
        """A transaction in fltr: datasets and documents. Commits at its end."""
        async with asyncio.timeout(LONGEST), _transaction(self.fltr) as session:
            yield session

    async def close(self) -> None:
        await self.auth.dispose()
        await self.fltr.dispose()


@asynccontextmanager
async def _transaction(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        yield session


def _engine(url: str) -> AsyncEngine:
    return create_async_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        # A server that was restarted is noticed before a request fails.
        pool_pre_ping=True,
        # Poolers in transaction mode do not know what another client has prepared.
        connect_args={"connect_timeout": 5, "prepare_threshold": None},
    )
