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
            name="Organization",
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
                ("name", models.TextField()),
                ("slug", models.TextField()),
                ("logo", models.TextField(blank=True, null=True)),
                ("created_at", fltr_project.fields.UtcTimestampField()),
                ("metadata", models.TextField(blank=True, null=True)),
            ],
            options={
                "db_table": "organizations",
                "constraints": [
                    models.UniqueConstraint(fields=("slug",), name="organizations_slug_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="Member",
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
                ("role", models.TextField(db_default="member")),
                ("created_at", fltr_project.fields.UtcTimestampField()),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        related_name="+",
                        to="auth_app.user",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        to="better_auth_organization.organization",
                    ),
                ),
            ],
            options={
                "db_table": "members",
                "indexes": [
                    fltr_project.fields.Index(
                        fields=["organization"], name="members_organization_id_idx"
                    ),
                    fltr_project.fields.Index(fields=["user"], name="members_user_id_idx"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Invitation",
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
                ("email", models.TextField()),
                ("role", models.TextField(blank=True, null=True)),
                ("status", models.TextField(db_default="pending")),
                ("expires_at", fltr_project.fields.UtcTimestampField()),
                (
                    "created_at",
                    fltr_project.fields.UtcTimestampField(db_default=fltr_project.fields.UtcNow()),
                ),
                (
                    "inviter",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        related_name="+",
                        to="auth_app.user",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        to="better_auth_organization.organization",
                    ),
                ),
            ],
            options={
                "db_table": "invitations",
                "indexes": [
                    fltr_project.fields.Index(
                        fields=["organization"], name="invitations_organization_id_idx"
                    ),
                    fltr_project.fields.Index(fields=["email"], name="invitations_email_idx"),
                ],
            },
        ),
        # A column of a table that is another app's: Django's models need not know it.
        migrations.RunSQL(
            "ALTER TABLE public.sessions ADD COLUMN active_organization_id text",
            "ALTER TABLE public.sessions DROP COLUMN active_organization_id",
        ),
    ]
