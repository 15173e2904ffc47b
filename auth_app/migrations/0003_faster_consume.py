from __future__ import annotations

from pathlib import Path

from django.db import migrations

from fltr_project.postgres.sql_files import run_sql_file

SQL = Path(__file__).with_name("sql")
FIRST_CONSUME_CREDITS = (SQL / "0002_consume_credits.sql").read_text(encoding="utf-8")
FIRST_CONSUME_CREDITS_MANY = (SQL / "0002_consume_credits_many.sql").read_text(encoding="utf-8")


class Migration(migrations.Migration):
    dependencies = [
        ("auth_app", "0002_credit_ledger"),
    ]

    operations = [
        run_sql_file(
            __file__,
            "0003_consume_credits.sql",
            f"""
            DROP FUNCTION public.consume_credits;
            DROP FUNCTION public.explain_credit_refusal;
            DROP FUNCTION public.try_consume_credits;
            {FIRST_CONSUME_CREDITS}
            """,
        ),
        run_sql_file(
            __file__,
            "0003_consume_credits_many.sql",
            f"""
            DROP FUNCTION public.consume_credits_many;
            {FIRST_CONSUME_CREDITS_MANY}
            """,
        ),
    ]
