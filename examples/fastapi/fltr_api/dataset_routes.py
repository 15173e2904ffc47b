"""Datasets over HTTP; making one costs credits."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy import ColumnElement
from sqlmodel import col, delete, select

from . import datasets
from .generated.fltr import Dataset
from .identity import Identity, InDatabases, Known
from .inputs import IdempotencyKey, Line, Text, Utc
from .problems import Refused, documented

router = APIRouter(prefix="/api/v1/datasets", tags=["datasets"])


class NewDataset(BaseModel):
    name: Line
    description: Text | None = None


class DatasetOut(BaseModel):
    id: uuid.UUID
    name: str
    description: str | None
    status: str
    created_at: Utc


@router.post(
    "",
    status_code=201,
    responses=documented(400, 401, 402, 404, 409, 429)
    | {200: {"model": DatasetOut, "description": "It was made before"}},
)
async def create(
    body: NewDataset,
    response: Response,
    known: Known,
    databases: InDatabases,
    idempotency_key: IdempotencyKey,
) -> DatasetOut:
    """Make a dataset for what /pricing says. Sent again with the same key it is made and paid once."""
    dataset, made = await datasets.create(
        known, idempotency_key, body.name, body.description, databases
    )
    if not made:
        response.status_code = 200
    return _shown(dataset)


@router.get("", responses=documented(401))
async def list_(known: Known, databases: InDatabases) -> list[DatasetOut]:
    """The newest 100 of the user."""
    mine = select(Dataset).where(_shown_to(known)).order_by(col(Dataset.created_at).desc())
    async with databases.in_fltr() as session:
        rows = (await session.exec(mine.limit(100))).all()
    return [_shown(row) for row in rows]


@router.get("/{dataset_id}", responses=documented(401, 404))
async def one(dataset_id: uuid.UUID, known: Known, databases: InDatabases) -> DatasetOut:
    """One of the user's; another's is answered as one that is not there."""
    mine = select(Dataset).where(_shown_to(known), Dataset.id == dataset_id)
    async with databases.in_fltr() as session:
        row = (await session.exec(mine)).one_or_none()
    if row is None:
        raise NOT_FOUND
    return _shown(row)


@router.delete("/{dataset_id}", status_code=204, responses=documented(401, 404))
async def remove(dataset_id: uuid.UUID, known: Known, databases: InDatabases) -> None:
    """Delete it with its documents; what it has cost stays paid."""
    mine = delete(Dataset).where(_shown_to(known), col(Dataset.id) == dataset_id)
    async with databases.in_fltr() as session:
        if (await session.exec(mine)).rowcount == 0:
            raise NOT_FOUND


NOT_FOUND = Refused(404, "not_found", "there is no such dataset")


def _shown_to(known: Identity) -> ColumnElement[bool]:
    return (col(Dataset.owner_id) == known.user_id) & (col(Dataset.status) != "uploading")


def _shown(dataset: Dataset) -> DatasetOut:
    return DatasetOut.model_validate(dataset, from_attributes=True)
