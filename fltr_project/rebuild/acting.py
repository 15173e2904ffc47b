"""One act on one database: its transaction, and where the database stands meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from fltr_project.postgres import locks

from . import last_look
from .endings import Standings, State
from .plan import Plan
from .schema_properties import SCHEMA
from .transactions import Outcome, Transaction, certain

# Where a database stands while its transaction commits, and when it has.
NEW_SCHEMA = (State.COMMITTING, State.COMMITTED)
OLD_SCHEMA = (State.UNDOING, State.UNDONE)


@contextmanager
def acting(
    plan: Plan,
    standings: Standings | None,
    to: tuple[State, State],
    lock_timeout: int,
) -> Iterator[dict[str, str | None]]:
    """The transaction of an act on the plan's database, committed when the block ends.

    The block writes down what is known of the schemas (``Standings.move``). Milliseconds for ``lock_timeout``. Raises what the block
    does, Blocked, ContentChanged when the database is marked as something else by now, and CommitUnknown; after all but the
    last nothing has changed.
    """
    alias, stand = plan.target.alias, standings or Standings()
    known: dict[str, str | None] = {}
    work: Transaction | None = None
    stand.begin([plan.target])
    stand.move(alias, State.OPEN)
    try:
        with (
            locks.naming_blockers([connections[alias]], SCHEMA, lock_timeout),
            certain(alias) as work,
        ):
            yield known
            last_look.require_same_mark(plan)
            stand.move(alias, to[0], **known)
    except BaseException as error:
        outcome = work.outcome(error) if work else Outcome.ROLLED_BACK
        if outcome is not Outcome.UNKNOWN:
            stand.move(alias, to[1] if outcome is Outcome.COMMITTED else State.AS_IT_WAS, **known)
        raise
    stand.move(alias, to[1], **known)
