"""What a schema holds at the moment when nobody else can write to it any more.

The guards have judged by the plan, and the backup holds what there was then. What came later is in neither, so it is
looked for twice: here, under the lock, before the old schema is set aside, and by ``purge`` before that is dropped.
"""

from __future__ import annotations

from dataclasses import replace

from django.db import connections

from fltr_project.errors import CannotRun
from fltr_project.postgres.search_path import pinned
from fltr_project.postgres.target import Target, identify

from . import consent, inventory, members, preflight
from .dependants import dependants
from .errors import ContentChanged
from .plan import Plan
from .purge import LastLook
from .schema_properties import SCHEMA


def look(plan: Plan, *, backed_up: bool) -> LastLook:
    """Judge the planned database again, in the open transaction that keeps writers out.

    What a backup was made of is compared with it, also where no guard protects it. Raises ContentChanged when
    a database that is protected, or has become so, is no longer what the plan says; CannotRun when the
    connection reaches another database by now, or one that cannot be written to; and what
    ``preflight.require_movable`` raises.
    """
    connection = connections[plan.target.alias]
    now = identify(connection)
    require_same(plan, now)
    with pinned(connection) as cursor:
        preflight.require_movable(
            replace(
                plan,
                target=now,
                dependants=dependants(cursor, SCHEMA),
                immovable=members.held(cursor).immovable,
            )
        )
        # Where everything may be emptied, and nobody has asked for a backup, nothing is read again.
        if {plan.target.environment, now.environment} <= consent.FREE and not backed_up:
            return LastLook()
        content = inventory.content(cursor)
    return LastLook(content.digests, not consent.is_unchanged(plan, now, content))


def require_same(plan: Plan, now: Target) -> None:
    """Raise CannotRun unless this is the database of the plan, and open for writing."""
    planned = plan.target
    if (now.system_identifier, now.database_oid) != (
        planned.system_identifier,
        planned.database_oid,
    ):
        raise CannotRun(
            f"The plan was of {planned}, and the connection now reaches {now}, which is another database. "
            "Nothing has changed."
        )
    if now.read_only:
        raise CannotRun(f"{now} has become read-only since its plan was read. Nothing has changed.")


def require_same_mark(plan: Plan) -> None:
    """Raise ContentChanged when the database is marked as something else by now.

    Table locks keep nobody from marking it, so this is asked right before the commit as well.
    """
    now = identify(connections[plan.target.alias])
    if now.environment != plan.target.environment:
        raise ContentChanged(
            f"Guard 'content': {plan.target} was {_marked(plan.target)} when its plan was read and is "
            f"{_marked(now)} now."
        )


def _marked(target: Target) -> str:
    return f"marked {target.environment}" if target.environment else "not marked"
