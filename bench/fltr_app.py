"""The tables of ``fltr`` as a FastAPI application declares them, made where they are missing.

Part of bench/runbook.py, which runs it as the runbook starts the application: for its `create_all`.
"""

from __future__ import annotations

import sys
import uuid
from datetime import datetime

from sqlalchemy import func, text
from sqlmodel import Field, SQLModel, create_engine


def new_id() -> uuid.UUID:
    made: uuid.UUID = Field(
        primary_key=True, sa_column_kwargs={"server_default": text("gen_random_uuid()")}
    )
    return made


def now() -> datetime:
    made: datetime = Field(sa_column_kwargs={"server_default": func.now()})
    return made


class Dataset(SQLModel, table=True):
    __tablename__ = "datasets"

    id: uuid.UUID = new_id()
    owner_id: str = Field(index=True)
    name: str = Field(index=True)
    slug: str = Field(unique=True)
    description: str | None = None
    category: str | None = Field(default=None, index=True)
    collection_name: str | None = Field(default=None, index=True)
    system_prompt: str | None = None
    visibility: str = "private"
    status: str = Field(default="uploading", index=True)
    document_count: int = 0
    download_count: int = 0
    view_count: int = 0
    embedding_dimension: int = 1536
    embedding_model: str = "text-embedding-3-small"
    pricing_model: str = "free"
    price_monthly: float | None = None
    price_annual: float | None = None
    rating_average: float = 0
    featured: bool = False
    verified: bool = False
    created_at: datetime = now()
    updated_at: datetime = now()


class Document(SQLModel, table=True):
    __tablename__ = "documents"

    id: uuid.UUID = new_id()
    dataset_id: uuid.UUID = Field(foreign_key="datasets.id", ondelete="CASCADE", index=True)
    filename: str
    object_key: str = Field(unique=True)
    file_size: int | None = None
    mime_type: str | None = None
    processing_metadata: str | None = None
    error: str | None = None
    status: str = Field(default="pending", index=True)
    chunk_count: int = 0
    asset_count: int = 0
    created_at: datetime = now()
    updated_at: datetime = now()


class ProcessingJob(SQLModel, table=True):
    __tablename__ = "processing_jobs"

    id: uuid.UUID = new_id()
    dataset_id: uuid.UUID = Field(foreign_key="datasets.id", ondelete="CASCADE", index=True)
    task_id: str | None = None
    processor: str | None = None
    error: str | None = None
    status: str = Field(default="queued", index=True)
    retries: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    created_at: datetime = now()
    updated_at: datetime = now()


if __name__ == "__main__":
    SQLModel.metadata.create_all(create_engine(sys.argv[1]))
