from __future__ import annotations

from typing import Any

from django.db import models

from auth_app.models import new_id
from fltr_project.fields import Index, UtcNow, UtcTimestampField


def user() -> Any:
    return models.ForeignKey("auth_app.User", models.DB_CASCADE, db_index=False, related_name="+")


class Organization(models.Model):
    id = new_id()
    name = models.TextField()
    slug = models.TextField()
    logo = models.TextField(null=True, blank=True)
    created_at = UtcTimestampField()
    metadata = models.TextField(null=True, blank=True)

    class Meta:
        db_table = "organizations"
        constraints = [models.UniqueConstraint(fields=["slug"], name="organizations_slug_unique")]

    def __str__(self) -> str:
        return self.name


class Member(models.Model):
    id = new_id()
    organization = models.ForeignKey(Organization, models.DB_CASCADE, db_index=False)
    user = user()
    role = models.TextField(db_default="member")
    created_at = UtcTimestampField()

    class Meta:
        db_table = "members"
        indexes = [
            Index(fields=["organization"], name="members_organization_id_idx"),
            Index(fields=["user"], name="members_user_id_idx"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class Invitation(models.Model):
    id = new_id()
    organization = models.ForeignKey(Organization, models.DB_CASCADE, db_index=False)
    email = models.TextField()
    role = models.TextField(null=True, blank=True)
    status = models.TextField(db_default="pending")
    expires_at = UtcTimestampField()
    created_at = UtcTimestampField(db_default=UtcNow())
    inviter = user()

    class Meta:
        db_table = "invitations"
        indexes = [
            Index(fields=["organization"], name="invitations_organization_id_idx"),
            Index(fields=["email"], name="invitations_email_idx"),
        ]

    def __str__(self) -> str:
        return self.email
