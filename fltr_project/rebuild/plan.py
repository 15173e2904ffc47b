"""What a nuke would take and what stands in its way; reads only, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from fltr_project import words
from fltr_project.catalog import aside
from fltr_project.catalog.aside import SetAside
from fltr_project.catalog.facts import TRACKING_TABLES
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pin
from fltr_project.postgres.target import Target

from . import event_triggers, inventory, losses, members, migrations, purge, schema_properties
from .dependants import dependants
from .event_triggers import EventTrigger
from .inventory import LargeObjects, RowCount
from .losses import Loss
from .schema_properties import SCHEMA, Published


@dataclass(frozen=True)
class Locks:
    """How many locks the steps take, and how many the server guarantees."""

    set_aside: int
    # The largest batch of the purge.
    purge: int
    # pg_dump locks every table.
    dump: int
    # What DROP SCHEMA ... CASCADE would take, which this project does not do.
    drop: int
    guaranteed: int
    taken: int


@dataclass(frozen=True)
class Plan:
    """A nuke of schema ``public`` of ``target``, before it is done."""

    target: Target
    # By the server's clock.
    at: datetime
    # Whether the role owns the schema and may create one.
    permitted: bool
    rows: tuple[RowCount, ...]
    # Of tables with their indexes and TOAST.
    bytes: int
    # Of the content: every change of a row or of the schema changes it.
    fingerprint: str
    # Everything that is not a table, by what PostgreSQL calls it.
    other_objects: dict[str, int]
    extensions: tuple[str, ...]
    published: Published
    # With the function that each calls.
    event_triggers: tuple[tuple[str, str], ...]
    # Those of the database that run on what is done.
    firing: tuple[EventTrigger, ...]
    # Of the database; a nuke keeps them.
    large_objects: LargeObjects
    # Objects outside the schema that would break.
    dependants: tuple[str, ...]
    # Why the schema cannot be renamed, so that its members are moved one by one; empty where it can.
    held_by: tuple[str, ...]
    # What this role can carry over in neither way.
    immovable: tuple[str, ...]
    # Other connections to the database, and those of them that are at work on the schema.
    sessions: int
    at_work: tuple[locks.Session, ...]
    locks: Locks
    # Migrations of this database that run outside a transaction.
    unatomic: tuple[str, ...]
    # What will not come back, and what will be otherwise, as the contract has it.
    losses: tuple[Loss, ...]
    changes: tuple[str, ...]
    # How much of what hangs on objects is put back, by kind.
    returns: dict[str, int]
    # Schemas of earlier nukes that wait for an undo or a purge, newest first.
    waiting: tuple[SetAside, ...]

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(row.table for row in self.rows)

    @property
    def all_rows(self) -> int:
        return sum(row.count for row in self.rows)

    @property
    def product_rows(self) -> int:
        """Rows that somebody would miss: the records of what migrations ran are not among them."""
        return sum(row.count for row in self.rows if row.table not in TRACKING_TABLES)

    @property
    def is_exact(self) -> bool:
        return all(row.exact for row in self.rows)

    @property
    def summary(self) -> str:
        """What the schema holds, in a few words."""
        rows = words.rows(self.all_rows, self.product_rows, exact=self.is_exact)
        return f"{words.counted(len(self.rows), 'tables')} with {rows}"


def plan(
    connection: BaseDatabaseWrapper, target: Target, lock_timeout: int = locks.LOCK_TIMEOUT
) -> Plan:
    """Read what there is, in a read-only transaction of its own with one snapshot.

    No lock above ACCESS SHARE, a fixed number of round trips. Milliseconds for ``lock_timeout``;
    raises Blocked when a session holds a table from being read. Not for use in a transaction.
    """
    with (
        locks.naming_blockers([connection], SCHEMA, lock_timeout),
        transaction.atomic(using=connection.alias),
        connection.cursor() as cursor,
    ):
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        pin(cursor)
        locks.limit_waiting(cursor, lock_timeout, locks.STATEMENT_TIMEOUT)
        cursor.execute(
            """
            SELECT has_database_privilege(current_database(), 'CREATE')
               AND coalesce((SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace
                             WHERE nspname = 'public'), true),
               clock_timestamp(),
               (SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database())
            """
        )
        permitted, at, sessions = cursor.fetchone()
        capacity = locks.capacity(cursor)
        content = inventory.content(cursor)
        batch, drop = purge.locks_needed(cursor, SCHEMA)
        schema = schema_properties.properties(cursor, SCHEMA)
        tables, held = len(content.rows), members.held(cursor)
        hung = losses.judge(
            connection, target.alias, {each.table: each.count for each in content.rows}
        )
        return Plan(
            target=target,
            at=at,
            permitted=permitted,
            rows=content.rows,
            bytes=content.bytes,
            fingerprint=content.fingerprint,
            other_objects=inventory.objects(cursor),
            extensions=schema.extensions if schema else (),
            published=schema_properties.published(cursor, SCHEMA),
            event_triggers=schema_properties.event_triggers(cursor, SCHEMA),
            firing=event_triggers.firing(cursor),
            large_objects=inventory.large_objects(cursor),
            dependants=dependants(cursor, SCHEMA),
            held_by=held.by,
            immovable=held.immovable,
            sessions=max(sessions, 0),
            at_work=locks.others_in_schema(connection, SCHEMA),
            locks=Locks(
                # Four for the schemas (measured), and each table against writers.
                set_aside=4 + held.locks + (tables if tables <= locks.LOCKED_TABLES else 0),
                purge=batch,
                dump=tables,
                drop=drop,
                guaranteed=capacity.guaranteed,
                taken=capacity.taken,
            ),
            unatomic=migrations.unatomic(target.alias),
            losses=hung.losses,
            changes=hung.changes,
            returns=losses.told(hung, target.role),
            waiting=aside.waiting(cursor),
        )
