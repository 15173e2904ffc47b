from __future__ import annotations

from pathlib import Path

from django.db import migrations

from fltr_project.postgres.sql_files import run_sql_file

SQL = Path(__file__).with_name("sql")
CONSUME_CREDITS_MANY_BEFORE = (SQL / "0005_consume_credits_many.sql").read_text(encoding="utf-8")


class Migration(migrations.Migration):
    dependencies = [
        ("auth_app", "0007_validate_checks"),
    ]

    operations = [
        run_sql_file(__file__, "0008_consume_credits_many.sql", CONSUME_CREDITS_MANY_BEFORE),
    ]
