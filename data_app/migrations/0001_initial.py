from __future__ import annotations

import django.contrib.postgres.functions
import django.db.models.deletion
from django.db import migrations, models

import fltr_project.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Dataset",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("owner_id", models.TextField()),
                ("name", models.TextField()),
                ("slug", models.TextField()),
                ("description", models.TextField(blank=True, null=True)),
                ("category", models.TextField(blank=True, null=True)),
                ("collection_name", models.TextField(blank=True, null=True)),
                ("system_prompt", models.TextField(blank=True, null=True)),
                ("visibility", models.TextField(db_default="private")),
                ("status", models.TextField(db_default="uploading")),
                ("document_count", models.IntegerField(db_default=0)),
                ("download_count", models.IntegerField(db_default=0)),
                ("view_count", models.IntegerField(db_default=0)),
                ("embedding_dimension", models.IntegerField(db_default=1536)),
                ("embedding_model", models.TextField(db_default="text-embedding-3-small")),
                ("pricing_model", models.TextField(db_default="free")),
                ("price_monthly", models.FloatField(blank=True, null=True)),
                ("price_annual", models.FloatField(blank=True, null=True)),
                (
                    "rating_average",
                    models.FloatField(
                        db_default=models.Value(0, output_field=models.IntegerField())
                    ),
                ),
                ("featured", models.BooleanField(db_default=False)),
                ("verified", models.BooleanField(db_default=False)),
                (
                    "created_at",
                    fltr_project.fields.UtcTimestampField(
                        db_default=fltr_project.fields.UtcNow(), editable=False
                    ),
                ),
                (
                    "updated_at",
                    fltr_project.fields.UtcTimestampField(
                        auto_now=True, db_default=fltr_project.fields.UtcNow()
                    ),
                ),
            ],
            options={
                "db_table": "datasets",
                "indexes": [
                    fltr_project.fields.Index(fields=["owner_id"], name="datasets_owner_id_idx"),
                    fltr_project.fields.Index(fields=["name"], name="datasets_name_idx"),
                    fltr_project.fields.Index(fields=["category"], name="datasets_category_idx"),
                    fltr_project.fields.Index(
                        fields=["collection_name"], name="datasets_collection_name_idx"
                    ),
                    fltr_project.fields.Index(fields=["status"], name="datasets_status_idx"),
                    fltr_project.fields.Index(
                        fields=["created_at"], name="datasets_created_at_idx"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("slug",), name="datasets_slug_unique"),
                    models.CheckConstraint(
                        condition=models.Q(("visibility__in", ["public", "private", "premium"])),
                        name="datasets_visibility_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["uploading", "processing", "ready", "failed"])
                        ),
                        name="datasets_status_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("pricing_model__in", ["free", "one_time", "subscription"])
                        ),
                        name="datasets_pricing_model_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("document_count__gte", 0)),
                        name="datasets_document_count_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("download_count__gte", 0)),
                        name="datasets_download_count_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("view_count__gte", 0)), name="datasets_view_count_check"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Document",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        to="data_app.dataset",
                    ),
                ),
                ("filename", models.TextField()),
                ("object_key", models.TextField()),
                ("file_size", models.BigIntegerField(blank=True, null=True)),
                ("mime_type", models.TextField(blank=True, null=True)),
                ("processing_metadata", models.TextField(blank=True, null=True)),
                ("error", models.TextField(blank=True, null=True)),
                ("status", models.TextField(db_default="pending")),
                ("chunk_count", models.IntegerField(db_default=0)),
                ("asset_count", models.IntegerField(db_default=0)),
                (
                    "created_at",
                    fltr_project.fields.UtcTimestampField(
                        db_default=fltr_project.fields.UtcNow(), editable=False
                    ),
                ),
                (
                    "updated_at",
                    fltr_project.fields.UtcTimestampField(
                        auto_now=True, db_default=fltr_project.fields.UtcNow()
                    ),
                ),
            ],
            options={
                "db_table": "documents",
                "indexes": [
                    fltr_project.fields.Index(fields=["dataset"], name="documents_dataset_id_idx"),
                    fltr_project.fields.Index(fields=["status"], name="documents_status_idx"),
                    fltr_project.fields.Index(
                        fields=["created_at"], name="documents_created_at_idx"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("object_key",), name="documents_object_key_unique"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["pending", "processing", "ready", "failed"])
                        ),
                        name="documents_status_check",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ProcessingJob",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        to="data_app.dataset",
                    ),
                ),
                ("task_id", models.TextField(blank=True, null=True)),
                ("processor", models.TextField(blank=True, null=True)),
                ("error", models.TextField(blank=True, null=True)),
                ("status", models.TextField(db_default="queued")),
                ("retries", models.IntegerField(db_default=0)),
                (
                    "created_at",
                    fltr_project.fields.UtcTimestampField(
                        db_default=fltr_project.fields.UtcNow(), editable=False
                    ),
                ),
                (
                    "updated_at",
                    fltr_project.fields.UtcTimestampField(
                        auto_now=True, db_default=fltr_project.fields.UtcNow()
                    ),
                ),
            ],
            options={
                "db_table": "processing_jobs",
                "indexes": [
                    fltr_project.fields.Index(
                        fields=["dataset"], name="processing_jobs_dataset_id_idx"
                    ),
                    fltr_project.fields.Index(fields=["status"], name="processing_jobs_status_idx"),
                    fltr_project.fields.Index(
                        fields=["created_at"], name="processing_jobs_created_at_idx"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["queued", "running", "succeeded", "failed"])
                        ),
                        name="processing_jobs_status_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("retries__gte", 0)),
                        name="processing_jobs_retries_check",
                    ),
                ],
            },
        ),
    ]
