"""The history of schema operations, in `default`, where no schema command reaches it."""

from __future__ import annotations

from django.db import models


class SchemaOperation(models.Model):
    """One event of one operation: a plan, a refusal, a beginning, an outcome. Written once."""

    class Event(models.TextChoices):
        PLANNED = "planned"
        REFUSED = "refused"
        BEGUN = "begun"
        DONE = "done"
        FAILED = "failed"

    at = models.DateTimeField(db_index=True)
    # The same for all events of one run.
    operation = models.CharField(max_length=32, db_index=True)
    event = models.CharField(max_length=16, choices=Event)
    command = models.CharField(max_length=64)
    databases = models.CharField(max_length=255)
    person = models.CharField(max_length=255)
    exit_code = models.SmallIntegerField(null=True, blank=True)
    detail = models.TextField(blank=True)
    token = models.CharField(max_length=64, blank=True)
    targets = models.JSONField(default=list)
    backups = models.JSONField(default=list)

    class Meta:
        ordering = ["-at", "-pk"]

    def __str__(self) -> str:
        return f"{self.command} of {self.databases}: {self.event}"
