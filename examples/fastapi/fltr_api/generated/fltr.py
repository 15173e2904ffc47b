"""The tables of fltr, written by `manage.py export_schema --to sqlmodel --database fltr`; edit nothing here.

Times are UTC without a zone, as all programs write them. What the database gives by itself may be left
out of a new row. Only Django's migrations make tables: call no `create_all`.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, DateTime, Double, ForeignKey, Index, Integer, Text, UniqueConstraint, Uuid, text
from sqlmodel import Field, SQLModel


class Dataset(SQLModel, table=True):
    __tablename__ = "datasets"
    __table_args__ = (
        UniqueConstraint("slug", name="datasets_slug_unique"),
        Index("datasets_category_idx", "category"),
        Index("datasets_collection_name_idx", "collection_name"),
        Index("datasets_created_at_idx", "created_at"),
        Index("datasets_name_idx", "name"),
        Index("datasets_owner_id_idx", "owner_id"),
        Index("datasets_status_idx", "status"),
        CheckConstraint(text("(document_count >= 0)"), name="datasets_document_count_check"),
        CheckConstraint(text("(download_count >= 0)"), name="datasets_download_count_check"),
        CheckConstraint(text("(pricing_model = ANY (ARRAY['free'::text, 'one_time'::text, 'subscription'::text]))"), name="datasets_pricing_model_check"),
        CheckConstraint(text("(status = ANY (ARRAY['uploading'::text, 'processing'::text, 'ready'::text, 'failed'::text]))"), name="datasets_status_check"),
        CheckConstraint(text("(view_count >= 0)"), name="datasets_view_count_check"),
        CheckConstraint(text("(visibility = ANY (ARRAY['public'::text, 'private'::text, 'premium'::text]))"), name="datasets_visibility_check"),
    )

    id: UUID = Field(
        default=None,
        sa_column=Column("id", Uuid(), primary_key=True, server_default=text("gen_random_uuid()")),
    )
    owner_id: str = Field(sa_column=Column("owner_id", Text(), nullable=False))
    name: str = Field(sa_column=Column("name", Text(), nullable=False))
    slug: str = Field(sa_column=Column("slug", Text(), nullable=False))
    description: str | None = Field(
        default=None,
        sa_column=Column("description", Text(), nullable=True),
    )
    category: str | None = Field(default=None, sa_column=Column("category", Text(), nullable=True))
    collection_name: str | None = Field(
        default=None,
        sa_column=Column("collection_name", Text(), nullable=True),
    )
    system_prompt: str | None = Field(
        default=None,
        sa_column=Column("system_prompt", Text(), nullable=True),
    )
    visibility: str = Field(
        default=None,
        sa_column=Column("visibility", Text(), nullable=False, server_default=text("'private'::text")),
    )
    status: str = Field(
        default=None,
        sa_column=Column("status", Text(), nullable=False, server_default=text("'uploading'::text")),
    )
    document_count: int = Field(
        default=None,
        sa_column=Column("document_count", Integer(), nullable=False, server_default=text("0")),
    )
    download_count: int = Field(
        default=None,
        sa_column=Column("download_count", Integer(), nullable=False, server_default=text("0")),
    )
    view_count: int = Field(
        default=None,
        sa_column=Column("view_count", Integer(), nullable=False, server_default=text("0")),
    )
    embedding_dimension: int = Field(
        default=None,
        sa_column=Column("embedding_dimension", Integer(), nullable=False, server_default=text("1536")),
    )
    embedding_model: str = Field(
        default=None,
        sa_column=Column("embedding_model", Text(), nullable=False, server_default=text("'text-embedding-3-small'::text")),
    )
    pricing_model: str = Field(
        default=None,
        sa_column=Column("pricing_model", Text(), nullable=False, server_default=text("'free'::text")),
    )
    price_monthly: float | None = Field(
        default=None,
        sa_column=Column("price_monthly", Double(), nullable=True),
    )
    price_annual: float | None = Field(
        default=None,
        sa_column=Column("price_annual", Double(), nullable=True),
    )
    rating_average: float = Field(
        default=None,
        sa_column=Column("rating_average", Double(), nullable=False, server_default=text("0")),
    )
    featured: bool = Field(
        default=None,
        sa_column=Column("featured", Boolean(), nullable=False, server_default=text("false")),
    )
    verified: bool = Field(
        default=None,
        sa_column=Column("verified", Boolean(), nullable=False, server_default=text("false")),
    )
    created_at: datetime = Field(
        default=None,
        sa_column=Column("created_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )
    updated_at: datetime = Field(
        default=None,
        sa_column=Column("updated_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )


class Document(SQLModel, table=True):
    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("object_key", name="documents_object_key_unique"),
        Index("documents_created_at_idx", "created_at"),
        Index("documents_dataset_id_idx", "dataset_id"),
        Index("documents_status_idx", "status"),
        CheckConstraint(text("(status = ANY (ARRAY['pending'::text, 'processing'::text, 'ready'::text, 'failed'::text]))"), name="documents_status_check"),
    )

    id: UUID = Field(
        default=None,
        sa_column=Column("id", Uuid(), primary_key=True, server_default=text("gen_random_uuid()")),
    )
    dataset_id: UUID = Field(
        sa_column=Column("dataset_id", Uuid(), ForeignKey("datasets.id", name="documents_dataset_id_datasets_id_fk", ondelete="CASCADE"), nullable=False),
    )
    filename: str = Field(sa_column=Column("filename", Text(), nullable=False))
    object_key: str = Field(sa_column=Column("object_key", Text(), nullable=False))
    file_size: int | None = Field(
        default=None,
        sa_column=Column("file_size", BigInteger(), nullable=True),
    )
    mime_type: str | None = Field(
        default=None,
        sa_column=Column("mime_type", Text(), nullable=True),
    )
    processing_metadata: str | None = Field(
        default=None,
        sa_column=Column("processing_metadata", Text(), nullable=True),
    )
    error: str | None = Field(default=None, sa_column=Column("error", Text(), nullable=True))
    status: str = Field(
        default=None,
        sa_column=Column("status", Text(), nullable=False, server_default=text("'pending'::text")),
    )
    chunk_count: int = Field(
        default=None,
        sa_column=Column("chunk_count", Integer(), nullable=False, server_default=text("0")),
    )
    asset_count: int = Field(
        default=None,
        sa_column=Column("asset_count", Integer(), nullable=False, server_default=text("0")),
    )
    created_at: datetime = Field(
        default=None,
        sa_column=Column("created_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )
    updated_at: datetime = Field(
        default=None,
        sa_column=Column("updated_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )


class ProcessingJob(SQLModel, table=True):
    __tablename__ = "processing_jobs"
    __table_args__ = (
        Index("processing_jobs_created_at_idx", "created_at"),
        Index("processing_jobs_dataset_id_idx", "dataset_id"),
        Index("processing_jobs_status_idx", "status"),
        CheckConstraint(text("(retries >= 0)"), name="processing_jobs_retries_check"),
        CheckConstraint(text("(status = ANY (ARRAY['queued'::text, 'running'::text, 'succeeded'::text, 'failed'::text]))"), name="processing_jobs_status_check"),
    )

    id: UUID = Field(
        default=None,
        sa_column=Column("id", Uuid(), primary_key=True, server_default=text("gen_random_uuid()")),
    )
    dataset_id: UUID = Field(
        sa_column=Column("dataset_id", Uuid(), ForeignKey("datasets.id", name="processing_jobs_dataset_id_datasets_id_fk", ondelete="CASCADE"), nullable=False),
    )
    task_id: str | None = Field(default=None, sa_column=Column("task_id", Text(), nullable=True))
    processor: str | None = Field(
        default=None,
        sa_column=Column("processor", Text(), nullable=True),
    )
    error: str | None = Field(default=None, sa_column=Column("error", Text(), nullable=True))
    status: str = Field(
        default=None,
        sa_column=Column("status", Text(), nullable=False, server_default=text("'queued'::text")),
    )
    retries: int = Field(
        default=None,
        sa_column=Column("retries", Integer(), nullable=False, server_default=text("0")),
    )
    created_at: datetime = Field(
        default=None,
        sa_column=Column("created_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )
    updated_at: datetime = Field(
        default=None,
        sa_column=Column("updated_at", DateTime(), nullable=False, server_default=text("timezone('utc'::text, now())")),
    )
