from __future__ import annotations

import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.text
import django.db.models.lookups
from django.db import migrations, models

import fltr_project.fields
from fltr_project.postgres.functions import install


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        # uuid7_text(), which the default of a column calls.
        *install(__file__),
        migrations.CreateModel(
            name="User",
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
                ("email", models.TextField()),
                ("email_verified", models.BooleanField(db_default=False)),
                ("image", models.TextField(blank=True, null=True)),
                ("avatar", models.TextField(blank=True, null=True)),
                ("avatar_url", models.TextField(blank=True, null=True)),
                ("stripe_customer_id", models.TextField(blank=True, null=True)),
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
            ],
            options={
                "indexes": [
                    fltr_project.fields.Index(
                        fields=["email"], name="users_email_idx", opclasses=["text_pattern_ops"]
                    ),
                    fltr_project.fields.Index(
                        fields=["stripe_customer_id"], name="users_stripe_customer_id_idx"
                    ),
                    fltr_project.fields.Index(fields=["created_at"], name="users_created_at_idx"),
                ],
                "db_table": "users",
                "constraints": [
                    models.UniqueConstraint(fields=("email",), name="users_email_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="Session",
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
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        to="auth_app.user",
                    ),
                ),
                ("token", models.TextField()),
                ("expires_at", fltr_project.fields.UtcTimestampField()),
                ("ip_address", models.TextField(blank=True, null=True)),
                ("user_agent", models.TextField(blank=True, null=True)),
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
            ],
            options={
                "db_table": "sessions",
                "indexes": [
                    fltr_project.fields.Index(fields=["user"], name="sessions_user_id_idx")
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("token",), name="sessions_token_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="Account",
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
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        to="auth_app.user",
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
            ],
            options={
                "db_table": "accounts",
                "indexes": [
                    fltr_project.fields.Index(fields=["user"], name="accounts_user_id_idx")
                ],
            },
        ),
        migrations.CreateModel(
            name="Verification",
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
                ("identifier", models.TextField()),
                ("value", models.TextField()),
                ("expires_at", fltr_project.fields.UtcTimestampField()),
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
            ],
            options={
                "db_table": "verifications",
                "indexes": [
                    fltr_project.fields.Index(
                        fields=["identifier"], name="verifications_identifier_idx"
                    )
                ],
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
                "indexes": [
                    fltr_project.fields.Index(
                        fields=["reference_id"], name="subscriptions_reference_id_idx"
                    ),
                    fltr_project.fields.Index(
                        fields=["stripe_customer_id"], name="subscriptions_stripe_customer_id_idx"
                    ),
                    fltr_project.fields.Index(
                        fields=["stripe_subscription_id"],
                        name="subscriptions_stripe_subscription_id_idx",
                    ),
                ],
                "db_table": "subscriptions",
            },
        ),
        migrations.CreateModel(
            name="Team",
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
                ("credits", models.IntegerField(db_default=0)),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        to="auth_app.user",
                    ),
                ),
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
                    "holds_expire_from",
                    fltr_project.fields.UtcTimestampField(blank=True, editable=False, null=True),
                ),
            ],
            options={
                "db_table": "teams",
                "indexes": [
                    fltr_project.fields.Index(
                        fields=["name"], name="teams_name_idx", opclasses=["text_pattern_ops"]
                    ),
                    fltr_project.fields.Index(fields=["owner"], name="teams_owner_id_idx"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("credits__gte", 0)), name="teams_credits_check"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="UserCredits",
            fields=[
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
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="auth_app.team",
                    ),
                ),
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
                    "holds_expire_from",
                    fltr_project.fields.UtcTimestampField(blank=True, editable=False, null=True),
                ),
            ],
            options={
                "verbose_name": "user credits",
                "verbose_name_plural": "user credits",
                "db_table": "user_credits",
                "indexes": [
                    fltr_project.fields.Index(fields=["team"], name="user_credits_team_id_idx")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("credits__gte", 0)), name="user_credits_credits_check"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("total_credits_purchased__gte", 0)),
                        name="user_credits_total_credits_purchased_check",
                    ),
                ],
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
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        to="auth_app.user",
                    ),
                ),
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
                ("refunded_before", models.IntegerField(blank=True, null=True)),
                ("reversal_of", models.TextField(blank=True, null=True)),
                (
                    "payer",
                    models.TextField(
                        choices=[("user", "User"), ("team", "Team"), ("api_key", "API key")],
                        db_default="user",
                    ),
                ),
                ("balance_after", models.IntegerField(blank=True, null=True)),
                ("idempotency_key", models.TextField(blank=True, null=True)),
                (
                    "held_until",
                    fltr_project.fields.UtcTimestampField(blank=True, null=True),
                ),
            ],
            options={
                "db_table": "credit_transactions",
                "permissions": [
                    ("grant_credits", "Can give credits to an account"),
                    ("refund_usage", "Can give a usage back"),
                    ("reverse_purchase", "Can take a purchase back"),
                    ("release_hold", "Can end a hold"),
                ],
                "indexes": [
                    fltr_project.fields.Index(
                        condition=models.Q(("type", "usage"), _negated=True),
                        fields=["type", "created_at"],
                        name="credit_transactions_type_created_at_idx",
                    ),
                    fltr_project.fields.Index(
                        fields=["operation", "created_at"],
                        name="credit_transactions_operation_created_at_idx",
                    ),
                    fltr_project.fields.Index(
                        condition=models.Q(("idempotency_key__isnull", False)),
                        fields=["idempotency_key"],
                        name="credit_transactions_idempotency_key_idx",
                        opclasses=["text_pattern_ops"],
                    ),
                    fltr_project.fields.Index(
                        fields=["user", "created_at"],
                        name="credit_transactions_user_id_created_at_idx",
                    ),
                    fltr_project.fields.Index(
                        fields=["team"], name="credit_transactions_team_id_idx"
                    ),
                    fltr_project.fields.Index(fields=["type"], name="credit_transactions_type_idx"),
                    fltr_project.fields.Index(
                        fields=["created_at"], name="credit_transactions_created_at_idx"
                    ),
                    fltr_project.fields.Index(
                        condition=models.Q(("payer", "user"), _negated=True),
                        fields=["team", "api_key_id"],
                        name="credit_transactions_pool_idx",
                    ),
                    fltr_project.fields.Index(
                        django.db.models.functions.comparison.Coalesce(
                            "api_key_id", "team", "user"
                        ),
                        models.F("held_until"),
                        condition=models.Q(("held_until__isnull", False), ("amount__lt", 0)),
                        name="credit_transactions_holds_idx",
                    ),
                    fltr_project.fields.Index(
                        condition=models.Q(("reversal_of__isnull", False)),
                        fields=["user", "reversal_of"],
                        name="credit_transactions_user_id_reversal_of_idx",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount", 0), _negated=True),
                        name="credit_transactions_amount_check",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            django.db.models.lookups.LessThan(models.F("amount"), 0),
                            django.db.models.lookups.Exact(models.F("type"), "usage"),
                        ),
                        name="credit_transactions_amount_type_check",
                    ),
                    models.CheckConstraint(
                        condition=fltr_project.fields.OneOf(
                            "type", models.Value("{purchase,usage,refund,bonus}")
                        ),
                        name="credit_transactions_type_check",
                    ),
                    models.CheckConstraint(
                        condition=fltr_project.fields.OneOf(
                            "payer", models.Value("{user,team,api_key}")
                        ),
                        name="credit_transactions_payer_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("payer", "api_key"), _negated=True),
                            ("api_key_id__isnull", False),
                            _connector="OR",
                        ),
                        name="credit_transactions_payer_api_key_id_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("balance_after__gte", 0)),
                        name="credit_transactions_balance_after_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("refund_of__isnull", True), ("type", "refund"), _connector="OR"
                        ),
                        name="credit_transactions_refund_of_type_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("held_until__isnull", True),
                            ("type", "usage"),
                            ("refund_of__isnull", False),
                            _connector="OR",
                        ),
                        name="credit_transactions_held_until_type_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("idempotency_key__gt", "")),
                        name="credit_transactions_idempotency_key_check",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("idempotency_key__isnull", False)),
                        fields=("user", "idempotency_key"),
                        name="credit_transactions_user_id_idempotency_key_unique",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            fltr_project.fields.OneOf("type", models.Value("{purchase,bonus}")),
                            ("idempotency_key__isnull", False),
                            ("payer", "team"),
                        ),
                        fields=("team", "idempotency_key"),
                        name="credit_transactions_team_id_idempotency_key_unique",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            fltr_project.fields.OneOf("type", models.Value("{purchase,bonus}")),
                            ("idempotency_key__isnull", False),
                            ("payer", "api_key"),
                        ),
                        fields=("api_key_id", "idempotency_key"),
                        name="credit_transactions_api_key_id_idempotency_key_unique",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("refund_of__isnull", False)),
                        fields=("refund_of", "refunded_before"),
                        name="credit_transactions_refund_of_refunded_before_unique",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ApiKeyCredits",
            fields=[
                ("api_key", fltr_project.fields.TextKeyField(primary_key=True, serialize=False)),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DB_CASCADE,
                        to="auth_app.user",
                    ),
                ),
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
                ("credits", models.IntegerField(db_default=0)),
                ("daily_limit", models.IntegerField(blank=True, null=True)),
                ("monthly_limit", models.IntegerField(blank=True, null=True)),
                ("spent_on", models.DateField(blank=True, editable=False, null=True)),
                ("spent_that_day", models.BigIntegerField(db_default=0, editable=False)),
                ("spent_that_month", models.BigIntegerField(db_default=0, editable=False)),
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
                    "holds_expire_from",
                    fltr_project.fields.UtcTimestampField(blank=True, editable=False, null=True),
                ),
            ],
            options={
                "verbose_name": "API key credits",
                "verbose_name_plural": "API key credits",
                "db_table": "api_key_credits",
                "indexes": [
                    fltr_project.fields.Index(
                        django.db.models.functions.text.Right("api_key", 4),
                        name="api_key_credits_api_key_idx",
                    ),
                    fltr_project.fields.Index(fields=["user"], name="api_key_credits_user_id_idx"),
                    fltr_project.fields.Index(fields=["team"], name="api_key_credits_team_id_idx"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("credits__gte", 0)),
                        name="api_key_credits_credits_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("daily_limit__gte", 0)),
                        name="api_key_credits_daily_limit_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("monthly_limit__gte", 0)),
                        name="api_key_credits_monthly_limit_check",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("spent_that_day__gte", 0), ("spent_that_month__gte", 0)
                        ),
                        name="api_key_credits_spent_check",
                    ),
                ],
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
    ]
