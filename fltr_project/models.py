"""What the project itself keeps, in `default`, where no schema command reaches it."""

from __future__ import annotations

from django.db import models

from .history import Event


class SchemaOperation(models.Model):
    """One event of one operation: a plan, a refusal, a beginning, an outcome. Written once."""

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


class LoginAttempt(models.Model):
    """A login that has begun and not succeeded; kept for minutes."""

    # A digest: people type their passwords into the wrong field.
    name = models.CharField(max_length=64)
    address = models.CharField(max_length=64)
    at = models.DateTimeField(db_index=True)

    class Meta:
        indexes = [models.Index(fields=["name", "at"], name="login_attempt_name_at_idx")]

    def __str__(self) -> str:
        return f"attempt at {self.at}"


class Observation(models.Model):
    """What somebody had the server look at, and when: the newest look at each thing. Written anew by each."""

    # What was looked at, such as ``credits of auth``.
    subject = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField()
    person = models.CharField(max_length=255)
    found = models.JSONField()

    def __str__(self) -> str:
        return f"{self.subject} at {self.at}"
