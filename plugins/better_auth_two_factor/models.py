from __future__ import annotations

from django.db import models

from auth_app.models import new_id
from fltr_project.fields import Index, UtcTimestampField


class TwoFactor(models.Model):
    id = new_id()
    user = models.ForeignKey("auth_app.User", models.DB_CASCADE, db_index=False, related_name="+")
    secret = models.TextField()
    backup_codes = models.TextField()
    verified = models.BooleanField(null=True, blank=True, db_default=True)
    failed_verification_count = models.IntegerField(null=True, blank=True, db_default=0)
    locked_until = UtcTimestampField(null=True, blank=True)

    class Meta:
        db_table = "two_factors"
        indexes = [
            Index(fields=["secret"], name="two_factors_secret_idx"),
            Index(fields=["user"], name="two_factors_user_id_idx"),
        ]

    def __str__(self) -> str:
        return str(self.id)
