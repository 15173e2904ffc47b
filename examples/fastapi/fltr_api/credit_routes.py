"""Credits over HTTP: what there is, what happened, what things cost, and a worker's refund."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, func
from sqlmodel import col, select

from .generated.auth import ApiKeyCredits, CreditTransaction, UserCredits
from .generated.credits import refund_credits
from .identity import Identity, InDatabases, InSettings, Known
from .inputs import Id, IdempotencyKey, Line, Utc
from .problems import Refused, documented

# What each operation costs, in credits.
PRICING = {"dataset": 10}

router = APIRouter(prefix="/api/v1/credits", tags=["credits"])


class Balance(BaseModel):
    user_id: str
    balance: int


class Transaction(BaseModel):
    id: str
    amount: int
    type: str
    operation: str | None
    resource_id: str | None
    balance_after: int | None
    created_at: Utc


class Transactions(BaseModel):
    items: list[Transaction]
    # For ``before`` of the next page; none on the last.
    next: str | None


class Usage(BaseModel):
    operation: str | None
    # What was taken, less what was given back. What is held for work under way is in it.
    credits: int
    changes: int


class Refund(BaseModel):
    transaction_id: Id
    amount: int | None = Field(default=None, ge=1, le=2_147_483_647)
    reason: Line


class Refunded(BaseModel):
    id: str
    amount: int
    balance: int


@router.get("/balance", responses=documented(401, 404))
async def balance(known: Known, databases: InDatabases) -> Balance:
    """What the user has, or the API key that asks."""
    async with databases.in_auth() as session:
        if known.api_key is None:
            mine = select(UserCredits.credits).where(UserCredits.user_id == known.user_id)
        else:
            mine = select(ApiKeyCredits.credits).where(ApiKeyCredits.api_key == known.api_key)
        held = (await session.exec(mine)).one_or_none()
    if held is None:
        raise Refused(404, "unknown_account", "this user has no credit account")
    return Balance(user_id=known.user_id, balance=held)


@router.get("/transactions", responses=documented(401))
async def transactions(
    known: Known,
    databases: InDatabases,
    before: Annotated[Id | None, Query(description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Transactions:
    """The ledger, the newest first: pages by key, so that each is as fast as the first."""
    # Ids are UUIDs of version 7, which go by time.
    page = select(CreditTransaction).where(_of(known)).order_by(col(CreditTransaction.id).desc())
    if before is not None:
        page = page.where(CreditTransaction.id < before)
    async with databases.in_auth() as session:
        rows = (await session.exec(page.limit(limit + 1))).all()
    items = [Transaction.model_validate(row, from_attributes=True) for row in rows[:limit]]
    return Transactions(items=items, next=items[-1].id if len(rows) > limit else None)


@router.get("/usage-summary", responses=documented(401))
async def usage_summary(
    known: Known, databases: InDatabases, days: Annotated[int, Query(ge=1, le=366)] = 30
) -> list[Usage]:
    """What each operation took in the last ``days``, the most first."""
    since = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
    used = -func.sum(CreditTransaction.amount)
    summary = (
        select(CreditTransaction.operation, used, func.count())
        .where(_of(known), col(CreditTransaction.type).in_(["usage", "refund"]))
        .where(CreditTransaction.created_at >= since)
        .group_by(col(CreditTransaction.operation))
        .order_by(used.desc(), col(CreditTransaction.operation))
    )
    async with databases.in_auth() as session:
        rows = (await session.exec(summary)).all()
    return [Usage(operation=name, credits=total, changes=count) for name, total, count in rows]


@router.get("/pricing", responses=documented())
async def pricing() -> dict[str, int]:
    """What each operation costs, in credits."""
    return PRICING


@router.post("/refund", responses=documented(400, 401, 403, 404, 409))
async def refund(
    body: Refund,
    databases: InDatabases,
    settings: InSettings,
    idempotency_key: IdempotencyKey,
    x_worker_token: Annotated[str | None, Header()] = None,
) -> Refunded:
    """For workers, whose job has failed: give back what it took, or a part. Sent again, it happens once."""
    if x_worker_token is None:
        raise Refused(401, "unauthorized", "this is for workers: send X-Worker-Token")
    right = (settings.worker_token or "").encode()
    if not right or not hmac.compare_digest(x_worker_token.encode(), right):
        raise Refused(403, "forbidden", "this is for workers")
    async with databases.in_auth() as session:
        answer = await refund_credits(
            session,
            transaction_id=body.transaction_id,
            amount=body.amount,
            metadata={"reason": body.reason},
            idempotency_key=f"worker:{idempotency_key}",
        )
    return Refunded(id=answer.entry.id, amount=answer.entry.amount, balance=answer.balance)


def _of(known: Identity) -> ColumnElement[bool]:
    if known.api_key is not None:
        return col(CreditTransaction.api_key_id) == known.api_key
    return col(CreditTransaction.user_id) == known.user_id
