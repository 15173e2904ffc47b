from __future__ import annotations

from pathlib import Path

from django.db import migrations

from fltr_project.postgres.sql_files import run_sql_file

SQL = Path(__file__).with_name("sql")
CONSUME_CREDITS_BEFORE = (SQL / "0003_consume_credits.sql").read_text(encoding="utf-8")


class Migration(migrations.Migration):
    dependencies = [
        ("auth_app", "0003_faster_consume"),
    ]

    operations = [
        run_sql_file(
            __file__,
            "0004_consume_credits.sql",
            # It drops try_consume_credits itself before it makes it.
            f"DROP FUNCTION public.try_consume_credits_text; {CONSUME_CREDITS_BEFORE}",
        ),
    ]
