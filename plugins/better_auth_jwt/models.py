from __future__ import annotations

from django.db import models

from auth_app.models import new_id
from fltr_project.fields import UtcTimestampField


class Jwks(models.Model):
    id = new_id()
    public_key = models.TextField()
    private_key = models.TextField()
    created_at = UtcTimestampField()
    expires_at = UtcTimestampField(null=True, blank=True)
    alg = models.TextField(null=True, blank=True)
    crv = models.TextField(null=True, blank=True)

    class Meta:
        db_table = "jwkss"

    def __str__(self) -> str:
        return str(self.id)
