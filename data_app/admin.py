from __future__ import annotations

from django.contrib import admin

from fltr_project.inspection import InspectionAdmin

from .models import Dataset, Document, ProcessingJob


@admin.register(Dataset)
class DatasetAdmin(InspectionAdmin):
    list_display = ("name", "slug", "owner_id", "visibility", "status", "document_count")
    list_filter = ("status", "visibility", "pricing_model", "featured", "verified")
    search_fields = ("name", "slug", "owner_id")
    ordering = ("-created_at",)


@admin.register(Document)
class DocumentAdmin(InspectionAdmin):
    list_display = ("filename", "dataset", "status", "file_size", "chunk_count", "created_at")
    list_filter = ("status",)
    list_select_related = ("dataset",)
    search_fields = ("filename", "object_key")


@admin.register(ProcessingJob)
class ProcessingJobAdmin(InspectionAdmin):
    list_display = ("id", "dataset", "processor", "status", "retries", "created_at")
    list_filter = ("status", "processor")
    list_select_related = ("dataset",)
    search_fields = ("task_id",)
