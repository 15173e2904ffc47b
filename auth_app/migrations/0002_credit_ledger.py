from __future__ import annotations

from pathlib import Path

from django.db import migrations, models

import fltr_project.fields
from fltr_project.postgres.sql_files import run_sql_file

FIRST_OPEN_CREDIT_ACCOUNT = Path(__file__).with_name("sql") / "0001_open_credit_account.sql"


class Migration(migrations.Migration):
    dependencies = [
        ("auth_app", "0001_initial"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="credittransaction",
            name="credit_transactions_refund_of_idx",
        ),
        migrations.AddField(
            model_name="apikeycredits",
            name="spent_on",
            field=models.DateField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="apikeycredits",
            name="spent_that_day",
            field=models.BigIntegerField(db_default=0, editable=False),
        ),
        migrations.AddField(
            model_name="apikeycredits",
            name="spent_that_month",
            field=models.BigIntegerField(db_default=0, editable=False),
        ),
        migrations.AddField(
            model_name="credittransaction",
            name="balance_after",
            field=models.IntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="credittransaction",
            name="idempotency_key",
            field=models.TextField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="credittransaction",
            name="payer",
            field=models.TextField(
                choices=[("user", "User"), ("team", "Team"), ("api_key", "API key")],
                db_default="user",
            ),
        ),
        migrations.AddField(
            model_name="credittransaction",
            name="refunded_before",
            field=models.IntegerField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="apikeycredits",
            constraint=models.CheckConstraint(
                condition=models.Q(("spent_that_day__gte", 0), ("spent_that_month__gte", 0)),
                name="api_key_credits_spent_check",
            ),
        ),
        migrations.AddConstraint(
            model_name="credittransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("payer__in", ["user", "team", "api_key"])),
                name="credit_transactions_payer_check",
            ),
        ),
        migrations.AddConstraint(
            model_name="credittransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("payer", "api_key"), _negated=True),
                    ("api_key_id__isnull", False),
                    _connector="OR",
                ),
                name="credit_transactions_payer_api_key_id_check",
            ),
        ),
        migrations.AddConstraint(
            model_name="credittransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("balance_after__gte", 0)),
                name="credit_transactions_balance_after_check",
            ),
        ),
        migrations.AddConstraint(
            model_name="credittransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("refund_of__isnull", True), ("type", "refund"), _connector="OR"
                ),
                name="credit_transactions_refund_of_type_check",
            ),
        ),
        migrations.AddConstraint(
            model_name="credittransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("idempotency_key", ""), _negated=True),
                name="credit_transactions_idempotency_key_check",
            ),
        ),
        migrations.AddConstraint(
            model_name="credittransaction",
            constraint=models.UniqueConstraint(
                condition=models.Q(("idempotency_key__isnull", False)),
                fields=("user", "idempotency_key"),
                name="credit_transactions_user_id_idempotency_key_unique",
            ),
        ),
        migrations.AddConstraint(
            model_name="credittransaction",
            constraint=models.UniqueConstraint(
                condition=models.Q(("refund_of__isnull", False)),
                fields=("refund_of", "refunded_before"),
                name="credit_transactions_refund_of_refunded_before_unique",
            ),
        ),
        migrations.AddIndex(
            model_name="credittransaction",
            index=fltr_project.fields.Index(
                condition=models.Q(("payer", "user"), _negated=True),
                fields=["team", "api_key_id"],
                name="credit_transactions_pool_idx",
            ),
        ),
        run_sql_file(
            __file__,
            "0002_open_credit_account.sql",
            FIRST_OPEN_CREDIT_ACCOUNT.read_text(encoding="utf-8"),
        ),
        run_sql_file(
            __file__,
            "0002_credit_history.sql",
            """
            DROP TRIGGER credit_transactions_limit_refund ON public.credit_transactions;
            DROP TRIGGER credit_transactions_keep_all ON public.credit_transactions;
            DROP TRIGGER credit_transactions_keep_history ON public.credit_transactions;
            DROP FUNCTION public.credit_transactions_limit_refund();
            DROP FUNCTION public.credit_transactions_keep_history();
            """,
        ),
        run_sql_file(
            __file__,
            "0002_credit_accounts.sql",
            """
            DROP FUNCTION public.raise_credit_refusal;
            DROP FUNCTION public.credit_replay_verdict;
            DROP FUNCTION public.add_to_credit_account;
            DROP FUNCTION public.lock_credit_account;
            """,
        ),
        run_sql_file(
            __file__,
            "0002_consume_credits.sql",
            """
            DROP FUNCTION public.consume_credits;
            DROP FUNCTION public.explain_credit_refusal;
            DROP FUNCTION public.try_consume_credits;
            """,
        ),
        run_sql_file(
            __file__,
            "0002_grant_credits.sql",
            """
            DROP FUNCTION public.grant_credits;
            DROP FUNCTION public.try_grant_credits;
            """,
        ),
        run_sql_file(
            __file__,
            "0002_refund_credits.sql",
            """
            DROP FUNCTION public.refund_credits;
            DROP FUNCTION public.try_refund_credits;
            """,
        ),
        run_sql_file(
            __file__,
            "0002_consume_credits_many.sql",
            "DROP FUNCTION public.consume_credits_many;",
        ),
    ]
