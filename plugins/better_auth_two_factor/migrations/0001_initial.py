from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import fltr_project.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth_app", "0002_functions"),
    ]

    operations = [
        migrations.CreateModel(
            name="TwoFactor",
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
                ("secret", models.TextField()),
                ("backup_codes", models.TextField()),
                ("verified", models.BooleanField(blank=True, db_default=True, null=True)),
                (
                    "failed_verification_count",
                    models.IntegerField(blank=True, db_default=0, null=True),
                ),
                ("locked_until", fltr_project.fields.UtcTimestampField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        related_name="+",
                        to="auth_app.user",
                    ),
                ),
            ],
            options={
                "db_table": "two_factors",
                "indexes": [
                    fltr_project.fields.Index(fields=["secret"], name="two_factors_secret_idx"),
                    fltr_project.fields.Index(fields=["user"], name="two_factors_user_id_idx"),
                ],
            },
        ),
        # A column of a table that is another app's: Django's models need not know it.
        migrations.RunSQL(
            "ALTER TABLE public.users ADD COLUMN two_factor_enabled boolean DEFAULT false",
            "ALTER TABLE public.users DROP COLUMN two_factor_enabled",
        ),
    ]
