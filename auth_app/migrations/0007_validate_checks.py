from __future__ import annotations

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    """What 0006 left not valid is compared with the rows there are, while clients go on writing."""

    dependencies = [
        ("auth_app", "0006_cheaper_checks"),
    ]

    operations = [
        ValidateConstraint(model_name="credittransaction", name=name)
        for name in (
            "credit_transactions_amount_type_check",
            "credit_transactions_type_check",
            "credit_transactions_payer_check",
            "credit_transactions_idempotency_key_check",
        )
    ]
