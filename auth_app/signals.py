from __future__ import annotations

from typing import Any

from django.db import connections

from .models import User

# Whether the trigger on ``users`` has fired for a row that this session has just inserted. The catalog
# says so to every role, also to one that may not read the accounts.
TRIGGER_FIRES = """
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_trigger t
        WHERE t.tgrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('public.users')
          AND t.tgfoid OPERATOR(pg_catalog.=)
              pg_catalog.to_regprocedure('public.users_open_credit_account()')
          AND (t.tgenabled OPERATOR(pg_catalog.=) 'A' OR t.tgenabled OPERATOR(pg_catalog.=) 'O'
               AND pg_catalog.current_setting('session_replication_role')
                   OPERATOR(pg_catalog.<>) 'replica'))
"""


def open_credit_account(
    instance: User, created: bool, using: str, raw: bool = False, **kwargs: Any
) -> None:
    """Give a new user a credit account where no trigger on ``users`` has done so.

    In the caller's transaction. An application's role may not open accounts itself: for it the
    trigger does. Where that is missing or disabled, the owner's users are still complete, and
    another role gets the server's refusal. A fixture brings its accounts along.
    """
    if not created or raw:
        return
    with connections[using].cursor() as cursor:
        cursor.execute(TRIGGER_FIRES)
        if cursor.fetchone() == (False,):
            cursor.execute("SELECT public.open_credit_account(%s::text)", [instance.pk])
