"""What a nuke would take and what stands in its way; reads only, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from fltr_project import words
from fltr_project.postgres import locks
from fltr_project.postgres.target import Target
from fltr_project.routers import database_of

from . import aside, belongings, inventory, purge
from .aside import Waiting
from .belongings import SCHEMA, Published
from .dependants import dependants
from .facts import TRACKING_TABLES
from .inventory import LargeObjects, Rows


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
    rows: tuple[Rows, ...]
    # Of tables with their indexes and TOAST.
    bytes: int
    # A hash that every change of a row or of the schema changes.
    mark: str
    # Everything that is not a table, by what PostgreSQL calls it.
    other_objects: dict[str, int]
    extensions: tuple[str, ...]
    published: Published
    # With the function that each calls.
    event_triggers: tuple[tuple[str, str], ...]
    # Of the database; a nuke keeps them.
    large_objects: LargeObjects
    # Objects outside the schema that would break.
    dependants: tuple[str, ...]
    # What hangs on the schema and this role cannot carry over.
    immovable: tuple[str, ...]
    # Other connections to the database, and those of them that are at work on the schema.
    sessions: int
    at_work: tuple[locks.Session, ...]
    locks: Locks
    # Migrations of this database that run outside a transaction.
    unatomic: tuple[str, ...]
    # Schemas of earlier nukes that wait for an undo or a purge, newest first.
    waiting: tuple[Waiting, ...]

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
        stock = inventory.stock(cursor)
        batch, drop = purge.locks_needed(cursor, SCHEMA)
        schema = belongings.properties(cursor, SCHEMA)
        tables = len(stock.rows)
        return Plan(
            target=target,
            at=at,
            permitted=permitted,
            rows=stock.rows,
            bytes=stock.bytes,
            mark=stock.mark,
            other_objects=inventory.objects(cursor),
            extensions=schema.extensions if schema else (),
            published=belongings.published(cursor, SCHEMA),
            event_triggers=belongings.event_triggers(cursor, SCHEMA),
            large_objects=inventory.large_objects(cursor),
            dependants=dependants(cursor),
            immovable=belongings.immovable(cursor),
            sessions=max(sessions, 0),
            at_work=locks.others_in_schema(connection, SCHEMA),
            locks=Locks(
                # Four for the schemas (measured), and each table against writers.
                set_aside=4 + (tables if tables <= locks.LOCKED_TABLES else 0),
                purge=batch,
                dump=tables,
                drop=drop,
                guaranteed=capacity.guaranteed,
                taken=capacity.taken,
            ),
            unatomic=unatomic_migrations(target.alias),
            waiting=aside.waiting(cursor),
        )


def unatomic_migrations(alias: str) -> tuple[str, ...]:
    """The migrations of a database that cannot run inside a transaction; touches no database."""
    return tuple(
        sorted(
            str(migration)
            for (app_label, _), migration in MigrationLoader(None).disk_migrations.items()
            if not migration.atomic and database_of(app_label) == alias
        )
    )
