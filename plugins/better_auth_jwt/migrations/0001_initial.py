from __future__ import annotations

from django.db import migrations, models

import fltr_project.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Jwks",
            fields=[
                (
                    "id",
                    fltr_project.fields.TextKeyField(
                        db_default=fltr_project.fields.NewTextUuid(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("public_key", models.TextField()),
                ("private_key", models.TextField()),
                ("created_at", fltr_project.fields.UtcTimestampField()),
                ("expires_at", fltr_project.fields.UtcTimestampField(blank=True, null=True)),
                ("alg", models.TextField(blank=True, null=True)),
                ("crv", models.TextField(blank=True, null=True)),
            ],
            options={
                "db_table": "jwkss",
            },
        ),
    ]
