from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import fltr_project.fields
from fltr_project.postgres.sql_files import run_sql_file


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        # Before the table whose default calls it.
        run_sql_file(__file__, "0001_uuid7_text.sql", "DROP FUNCTION public.uuid7_text()"),
        migrations.CreateModel(
            name="Account",
            fields=[
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
                (
                    "id",
                    fltr_project.fields.TextKeyField(
                        db_default=fltr_project.fields.NewTextUuid(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("account_id", models.TextField()),
                ("provider_id", models.TextField()),
                ("access_token", models.TextField(blank=True, null=True)),
                ("refresh_token", models.TextField(blank=True, null=True)),
                ("id_token", models.TextField(blank=True, null=True)),
                ("scope", models.TextField(blank=True, null=True)),
                ("password", models.TextField(blank=True, null=True)),
                (
                    "access_token_expires_at",
                    fltr_project.fields.UtcTimestampField(blank=True, null=True),
                ),
                (
                    "refresh_token_expires_at",
                    fltr_project.fields.UtcTimestampField(blank=True, null=True),
                ),
            ],
            options={
                "db_table": "accounts",
            },
        ),
        migrations.CreateModel(
            name="DrizzleMigration",
            fields=[
                ("id", fltr_project.fields.SerialField(primary_key=True, serialize=False)),
                ("hash", models.TextField()),
                ("created_at", models.BigIntegerField(blank=True, null=True)),
            ],
            options={
                "db_table": "__drizzle_migrations",
            },
        ),
        migrations.CreateModel(
            name="Session",
            fields=[
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
                (
                    "id",
                    fltr_project.fields.TextKeyField(
                        db_default=fltr_project.fields.NewTextUuid(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("token", models.TextField()),
                ("expires_at", fltr_project.fields.UtcTimestampField()),
                ("ip_address", models.TextField(blank=True, null=True)),
                ("user_agent", models.TextField(blank=True, null=True)),
            ],
            options={
                "db_table": "sessions",
            },
        ),
        migrations.CreateModel(
            name="Subscription",
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
                ("plan", models.TextField()),
                ("reference_id", models.TextField()),
                ("stripe_customer_id", models.TextField(blank=True, null=True)),
                ("stripe_subscription_id", models.TextField(blank=True, null=True)),
                ("status", models.TextField(db_default="incomplete")),
                ("period_start", fltr_project.fields.UtcTimestampField(blank=True, null=True)),
                ("period_end", fltr_project.fields.UtcTimestampField(blank=True, null=True)),
                ("trial_start", fltr_project.fields.UtcTimestampField(blank=True, null=True)),
                ("trial_end", fltr_project.fields.UtcTimestampField(blank=True, null=True)),
                (
                    "cancel_at_period_end",
                    models.BooleanField(blank=True, db_default=False, null=True),
                ),
                ("cancel_at", fltr_project.fields.UtcTimestampField(blank=True, null=True)),
                ("canceled_at", fltr_project.fields.UtcTimestampField(blank=True, null=True)),
                ("ended_at", fltr_project.fields.UtcTimestampField(blank=True, null=True)),
                ("seats", models.IntegerField(blank=True, null=True)),
                ("billing_interval", models.TextField(blank=True, null=True)),
                ("stripe_schedule_id", models.TextField(blank=True, null=True)),
            ],
            options={
                "db_table": "subscriptions",
            },
        ),
        migrations.CreateModel(
            name="Team",
            fields=[
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
                ("credits", models.IntegerField(db_default=0)),
            ],
            options={
                "db_table": "teams",
            },
        ),
        migrations.CreateModel(
            name="User",
            fields=[
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
                ("email", models.TextField()),
                ("email_verified", models.BooleanField(db_default=False)),
                ("image", models.TextField(blank=True, null=True)),
                ("avatar", models.TextField(blank=True, null=True)),
                ("avatar_url", models.TextField(blank=True, null=True)),
                ("stripe_customer_id", models.TextField(blank=True, null=True)),
            ],
            options={
                "db_table": "users",
            },
        ),
        migrations.CreateModel(
            name="Verification",
            fields=[
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
                (
                    "id",
                    fltr_project.fields.TextKeyField(
                        db_default=fltr_project.fields.NewTextUuid(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("identifier", models.TextField()),
                ("value", models.TextField()),
                ("expires_at", fltr_project.fields.UtcTimestampField()),
            ],
            options={
                "db_table": "verifications",
            },
        ),
        migrations.CreateModel(
            name="CreditTransaction",
            fields=[
                (
                    "id",
                    fltr_project.fields.TextKeyField(
                        db_default=fltr_project.fields.NewTimeOrderedId(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("amount", models.IntegerField()),
                (
                    "type",
                    models.TextField(
                        choices=[
                            ("purchase", "Purchase"),
                            ("usage", "Usage"),
                            ("refund", "Refund"),
                            ("bonus", "Bonus"),
                        ]
                    ),
                ),
                ("operation", models.TextField(blank=True, null=True)),
                ("resource_id", models.TextField(blank=True, null=True)),
                ("api_key_id", models.TextField(blank=True, null=True)),
                ("transaction_metadata", models.JSONField(blank=True, null=True)),
                (
                    "created_at",
                    fltr_project.fields.UtcTimestampField(
                        db_default=fltr_project.fields.UtcNow(), editable=False
                    ),
                ),
                ("refund_of", models.TextField(blank=True, null=True)),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DB_SET_NULL,
                        to="auth_app.team",
                    ),
                ),
            ],
            options={
                "db_table": "credit_transactions",
            },
        ),
        migrations.CreateModel(
            name="ApiKeyCredits",
            fields=[
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
                ("api_key", fltr_project.fields.TextKeyField(primary_key=True, serialize=False)),
                ("credits", models.IntegerField(db_default=0)),
                ("daily_limit", models.IntegerField(blank=True, null=True)),
                ("monthly_limit", models.IntegerField(blank=True, null=True)),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        to="auth_app.team",
                    ),
                ),
            ],
            options={
                "verbose_name": "API key credits",
                "verbose_name_plural": "API key credits",
                "db_table": "api_key_credits",
            },
        ),
        migrations.CreateModel(
            name="UserCredits",
            fields=[
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
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        primary_key=True,
                        related_name="credit_account",
                        serialize=False,
                        to="auth_app.user",
                    ),
                ),
                ("credits", models.IntegerField(db_default=0)),
                ("total_credits_purchased", models.IntegerField(db_default=0)),
            ],
            options={
                "verbose_name": "user credits",
                "verbose_name_plural": "user credits",
                "db_table": "user_credits",
            },
        ),
        migrations.AddConstraint(
            model_name="user",
            constraint=models.UniqueConstraint(fields=("email",), name="users_email_unique"),
        ),
        migrations.AddField(
            model_name="team",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DB_CASCADE,
                to="auth_app.user",
            ),
        ),
        migrations.AddField(
            model_name="session",
            name="user",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.DB_CASCADE, to="auth_app.user"
            ),
        ),
        migrations.AddField(
            model_name="credittransaction",
            name="user",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.DB_CASCADE, to="auth_app.user"
            ),
        ),
        migrations.AddField(
            model_name="apikeycredits",
            name="user",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.DB_CASCADE, to="auth_app.user"
            ),
        ),
        migrations.AddField(
            model_name="account",
            name="user",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.DB_CASCADE, to="auth_app.user"
            ),
        ),
        migrations.AddIndex(
            model_name="verification",
            index=fltr_project.fields.Index(
                fields=["identifier"], name="verifications_identifier_idx"
            ),
        ),
        migrations.AddField(
            model_name="usercredits",
            name="team",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                to="auth_app.team",
            ),
        ),
        migrations.AddIndex(
            model_name="team",
            index=fltr_project.fields.Index(fields=["owner"], name="teams_owner_id_idx"),
        ),
        migrations.AddConstraint(
            model_name="team",
            constraint=models.CheckConstraint(
                condition=models.Q(("credits__gte", 0)), name="teams_credits_check"
            ),
        ),
        migrations.AddIndex(
            model_name="session",
            index=fltr_project.fields.Index(fields=["user"], name="sessions_user_id_idx"),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.UniqueConstraint(fields=("token",), name="sessions_token_unique"),
        ),
        migrations.AddIndex(
            model_name="credittransaction",
            index=fltr_project.fields.Index(
                fields=["user", "created_at"], name="credit_transactions_user_id_created_at_idx"
            ),
        ),
        migrations.AddIndex(
            model_name="credittransaction",
            index=fltr_project.fields.Index(
                fields=["team"], name="credit_transactions_team_id_idx"
            ),
        ),
        migrations.AddIndex(
            model_name="credittransaction",
            index=fltr_project.fields.Index(fields=["type"], name="credit_transactions_type_idx"),
        ),
        migrations.AddIndex(
            model_name="credittransaction",
            index=fltr_project.fields.Index(
                fields=["created_at"], name="credit_transactions_created_at_idx"
            ),
        ),
        migrations.AddIndex(
            model_name="credittransaction",
            index=fltr_project.fields.Index(
                condition=models.Q(("refund_of__isnull", False)),
                fields=["refund_of"],
                name="credit_transactions_refund_of_idx",
            ),
        ),
        migrations.AddConstraint(
            model_name="credittransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount", 0), _negated=True),
                name="credit_transactions_amount_check",
            ),
        ),
        migrations.AddConstraint(
            model_name="credittransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("amount__lt", 0), ("type", "usage")),
                    models.Q(models.Q(("type", "usage"), _negated=True), ("amount__gt", 0)),
                    _connector="OR",
                ),
                name="credit_transactions_amount_type_check",
            ),
        ),
        migrations.AddConstraint(
            model_name="credittransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("type__in", ["purchase", "usage", "refund", "bonus"])),
                name="credit_transactions_type_check",
            ),
        ),
        migrations.AddIndex(
            model_name="apikeycredits",
            index=fltr_project.fields.Index(fields=["user"], name="api_key_credits_user_id_idx"),
        ),
        migrations.AddIndex(
            model_name="apikeycredits",
            index=fltr_project.fields.Index(fields=["team"], name="api_key_credits_team_id_idx"),
        ),
        migrations.AddConstraint(
            model_name="apikeycredits",
            constraint=models.CheckConstraint(
                condition=models.Q(("credits__gte", 0)), name="api_key_credits_credits_check"
            ),
        ),
        migrations.AddConstraint(
            model_name="apikeycredits",
            constraint=models.CheckConstraint(
                condition=models.Q(("daily_limit__gte", 0)),
                name="api_key_credits_daily_limit_check",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikeycredits",
            constraint=models.CheckConstraint(
                condition=models.Q(("monthly_limit__gte", 0)),
                name="api_key_credits_monthly_limit_check",
            ),
        ),
        migrations.AddIndex(
            model_name="account",
            index=fltr_project.fields.Index(fields=["user"], name="accounts_user_id_idx"),
        ),
        migrations.AddIndex(
            model_name="usercredits",
            index=fltr_project.fields.Index(fields=["team"], name="user_credits_team_id_idx"),
        ),
        migrations.AddConstraint(
            model_name="usercredits",
            constraint=models.CheckConstraint(
                condition=models.Q(("credits__gte", 0)), name="user_credits_credits_check"
            ),
        ),
        migrations.AddConstraint(
            model_name="usercredits",
            constraint=models.CheckConstraint(
                condition=models.Q(("total_credits_purchased__gte", 0)),
                name="user_credits_total_credits_purchased_check",
            ),
        ),
        run_sql_file(
            __file__,
            "0001_open_credit_account.sql",
            "DROP FUNCTION public.open_credit_account(text)",
        ),
        run_sql_file(
            __file__,
            "0001_signup_credits.sql",
            """
            DROP TRIGGER users_open_credit_account ON public.users;
            DROP FUNCTION public.users_open_credit_account();
            """,
        ),
    ]
