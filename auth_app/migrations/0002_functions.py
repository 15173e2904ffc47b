from __future__ import annotations

from django.db import migrations

from fltr_project.postgres.functions import install


class Migration(migrations.Migration):
    dependencies = [("auth_app", "0001_initial")]

    operations = install(__file__)
