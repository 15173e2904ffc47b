from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("auth_app", "0002_functions")]

    # Columns of tables that are another app's: Django's models need not know them.
    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE public.users
                ADD COLUMN role text,
                ADD COLUMN banned boolean DEFAULT false,
                ADD COLUMN ban_reason text,
                ADD COLUMN ban_expires timestamp without time zone;
            ALTER TABLE public.sessions ADD COLUMN impersonated_by text;
            """,
            """
            ALTER TABLE public.sessions DROP COLUMN impersonated_by;
            ALTER TABLE public.users
                DROP COLUMN role, DROP COLUMN banned, DROP COLUMN ban_reason, DROP COLUMN ban_expires;
            """,
        )
    ]
