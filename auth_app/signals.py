from __future__ import annotations

from typing import Any

from django.db import connections

from .models import User


def open_credit_account(instance: User, created: bool, using: str, **kwargs: Any) -> None:
    """Give a new user the credit account that the trigger on ``users`` gives every client's user.

    In the caller's transaction. Idempotent: where the trigger has run this adds nothing; where it
    is missing or disabled the ORM's users are still complete.
    """
    if created:
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT public.open_credit_account(%s)", [instance.pk])
