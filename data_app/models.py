"""Datasets, documents and jobs: the tables of ``fltr``, as the other programs know them."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q, Value

from fltr_project.fields import Index, Timestamped


def new_id() -> Any:
    return models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)


class Dataset(Timestamped):
    id = new_id()
    # A users.id of the other database, so no foreign key can hold it.
    owner_id = models.TextField()
    name = models.TextField()
    slug = models.TextField()
    description = models.TextField(null=True, blank=True)
    category = models.TextField(null=True, blank=True)
    collection_name = models.TextField(null=True, blank=True)
    system_prompt = models.TextField(null=True, blank=True)
    visibility = models.TextField(db_default="private")
    status = models.TextField(db_default="uploading")
    document_count = models.IntegerField(db_default=0)
    download_count = models.IntegerField(db_default=0)
    view_count = models.IntegerField(db_default=0)
    embedding_dimension = models.IntegerField(db_default=1536)
    embedding_model = models.TextField(db_default="text-embedding-3-small")
    pricing_model = models.TextField(db_default="free")
    price_monthly = models.FloatField(null=True, blank=True)
    price_annual = models.FloatField(null=True, blank=True)
    # An integer constant, as the other clients declare it: a float's default prints as 0.0.
    rating_average = models.FloatField(db_default=Value(0, output_field=models.IntegerField()))
    featured = models.BooleanField(db_default=False)
    verified = models.BooleanField(db_default=False)

    class Meta:
        db_table = "datasets"
        constraints = [
            models.UniqueConstraint(fields=["slug"], name="datasets_slug_unique"),
            models.CheckConstraint(
                condition=Q(visibility__in=["public", "private", "premium"]),
                name="datasets_visibility_check",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["uploading", "processing", "ready", "failed"]),
                name="datasets_status_check",
            ),
            models.CheckConstraint(
                condition=Q(pricing_model__in=["free", "one_time", "subscription"]),
                name="datasets_pricing_model_check",
            ),
            models.CheckConstraint(
                condition=Q(document_count__gte=0), name="datasets_document_count_check"
            ),
            models.CheckConstraint(
                condition=Q(download_count__gte=0), name="datasets_download_count_check"
            ),
            models.CheckConstraint(
                condition=Q(view_count__gte=0), name="datasets_view_count_check"
            ),
        ]
        indexes = [
            Index(fields=["owner_id"], name="datasets_owner_id_idx"),
            Index(fields=["name"], name="datasets_name_idx"),
            Index(fields=["category"], name="datasets_category_idx"),
            Index(fields=["collection_name"], name="datasets_collection_name_idx"),
            Index(fields=["status"], name="datasets_status_idx"),
            Index(fields=["created_at"], name="datasets_created_at_idx"),
        ]

    def __str__(self) -> str:
        return self.name


class Document(Timestamped):
    id = new_id()
    dataset = models.ForeignKey(Dataset, models.DB_CASCADE, db_index=False)
    filename = models.TextField()
    object_key = models.TextField()
    file_size = models.BigIntegerField(null=True, blank=True)
    mime_type = models.TextField(null=True, blank=True)
    processing_metadata = models.TextField(null=True, blank=True)
    error = models.TextField(null=True, blank=True)
    status = models.TextField(db_default="pending")
    chunk_count = models.IntegerField(db_default=0)
    asset_count = models.IntegerField(db_default=0)

    class Meta:
        db_table = "documents"
        constraints = [
            models.UniqueConstraint(fields=["object_key"], name="documents_object_key_unique"),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "processing", "ready", "failed"]),
                name="documents_status_check",
            ),
        ]
        indexes = [
            Index(fields=["dataset"], name="documents_dataset_id_idx"),
            Index(fields=["status"], name="documents_status_idx"),
            Index(fields=["created_at"], name="documents_created_at_idx"),
        ]

    def __str__(self) -> str:
        return self.filename


class ProcessingJob(Timestamped):
    id = new_id()
    dataset = models.ForeignKey(Dataset, models.DB_CASCADE, db_index=False)
    task_id = models.TextField(null=True, blank=True)
    processor = models.TextField(null=True, blank=True)
    error = models.TextField(null=True, blank=True)
    status = models.TextField(db_default="queued")
    retries = models.IntegerField(db_default=0)

    class Meta:
        db_table = "processing_jobs"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["queued", "running", "succeeded", "failed"]),
                name="processing_jobs_status_check",
            ),
            models.CheckConstraint(
                condition=Q(retries__gte=0), name="processing_jobs_retries_check"
            ),
        ]
        indexes = [
            Index(fields=["dataset"], name="processing_jobs_dataset_id_idx"),
            Index(fields=["status"], name="processing_jobs_status_idx"),
            Index(fields=["created_at"], name="processing_jobs_created_at_idx"),
        ]

    def __str__(self) -> str:
        return f"{self.status} job of {self.dataset_id}"
