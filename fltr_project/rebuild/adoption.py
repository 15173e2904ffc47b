"""Databases whose tables another program has made: what is there, and letting migrations count as run.

Other programs may start first. What they have built is compared with the contract, never stumbled over.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from django.apps import apps
from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import errors, sql

from fltr_project.catalog import contract
from fltr_project.catalog.facts import TRACKING_TABLES
from fltr_project.drift.compare import Severity
from fltr_project.drift.live import verify_live
from fltr_project.drift.repair.executor import apply
from fltr_project.drift.repair.statement import Hazard
from fltr_project.drift.report import FindingWithRepair, Verified
from fltr_project.drift.trial import Limits, tried
from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned
from fltr_project.postgres.target import Target
from fltr_project.routers import database_of, labels
from fltr_project.words import counted, visible

from . import migrations
from .errors import BuiltByOthers, BuiltMeanwhile

# What costs nothing on tables without rows.
FREE_WITHOUT_ROWS = frozenset({Hazard.CHANGES_VALUES, Hazard.REWRITES_TABLE, Hazard.BLOCKS_WRITERS})
# Drizzle's, which the migrations make.
RECORD = "__drizzle_migrations"
SIMULTANEOUS = (
    errors.DuplicateTable,
    errors.DuplicateObject,
    errors.DuplicateFunction,
    errors.DeadlockDetected,
)

THERE = """
    SELECT ARRAY(SELECT t.tablename::text FROM pg_tables t
                 WHERE t.schemaname = 'public' AND t.tablename = ANY (%s) ORDER BY 1),
           to_regclass('public.__drizzle_migrations') IS NOT NULL,
           to_regclass('public.django_migrations') IS NOT NULL,
           coalesce(has_table_privilege(to_regclass('public.django_migrations'), 'SELECT'), false)
"""


@dataclass(frozen=True)
class Built:
    """What there is of the tables that migrations make."""

    # Those of the contract, without the records of what ran.
    tables: tuple[str, ...]
    # Whether any of our migrations counts as run, or nobody may tell.
    recorded: bool
    # Whether Drizzle's record is there.
    has_drizzle: bool

    @property
    def by_others(self) -> bool:
        return bool(self.tables) and not self.recorded

    @property
    def is_left_over(self) -> bool:
        """Whether only Drizzle's record is there, as a build leaves it whose first migration fails."""
        return self.has_drizzle and not self.tables and not self.recorded


def look(connection: BaseDatabaseWrapper) -> Built:
    """What is there of the tables that migrations make, and whether they are recorded. Read-only."""
    with pinned(connection) as cursor:
        # Of the models and not of the contract, which may be written anew just now.
        cursor.execute(THERE, [_tables(connection.alias)])
        tables, has_drizzle, has_record, may_read = cursor.fetchone()
        recorded = has_record
        if has_record and may_read:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM public.django_migrations WHERE app = ANY (%s))",
                [list(labels(connection.alias))],
            )
            (recorded,) = cursor.fetchone()
    return Built(tuple(tables), recorded, has_drizzle)


def _tables(alias: str) -> list[str]:
    """The tables of the models whose home is this database, without the records of what ran."""
    names = {
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        if database_of(model._meta.app_label) == alias
    }
    return sorted(names - TRACKING_TABLES)


def refusal(target: Target, built: Built, verified: Verified) -> BuiltByOthers:
    """Why migrations cannot run on what another program has built, and may not be recorded yet."""
    wanted = len(contract.own_tables(target.alias))
    different = counted(len(lacking(verified)), "differences")
    listed = ", ".join(built.tables[:4]) + (", ..." if len(built.tables) > 4 else "")
    return BuiltByOthers(
        f"Another program has built {len(built.tables)} of the {wanted} tables of {target} ({listed}): no migration "
        f"is recorded, and {different} from the contract would stay.",
        target.alias,
    )


def lacking(verified: Verified) -> tuple[FindingWithRepair, ...]:
    """What migrations would have made and is not there or is otherwise. What is there besides does not count."""
    return tuple(
        each
        for each in verified.entries
        if each.finding.severity is Severity.ERROR and each.finding.expected is not None
    )


def is_as_built(verified: Verified) -> bool:
    """Whether all that migrations make is there, and all of it could be looked at."""
    return not lacking(verified) and not verified.unknown


def free(connection: BaseDatabaseWrapper, built: Built) -> frozenset[Hazard]:
    """The hazards that cost nobody anything, because no table of the contract has a row. Read-only."""
    with pinned(connection) as cursor:
        for table in built.tables:
            name = sql.Identifier("public", table)
            cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(name))
            if cursor.fetchone() == (True,):
                return frozenset()
    return FREE_WITHOUT_ROWS


def record(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """Let the migrations of the database count as run; their names. One transaction."""
    connection.prepare_database()
    with transaction.atomic(using=connection.alias):
        return migrations.record(connection)


def complete(target: Target, verified: Verified, allowed: frozenset[Hazard]) -> Verified:
    """Run those repairs that are ``allowed`` and have been tried on this server; what is there then.

    Raises what ``trial.tried`` and ``executor.apply`` raise.
    """
    proven = tried(verified, allowed, Limits())
    if proven.blocked:
        raise proven.blocked
    if not proven.untried:
        wrong = [each.repair for each in proven.verified.wrong if each.repair.statements]
        apply(target, wrong, allowed=allowed)
    return verify_live(connections[target.alias], target)


def build_beside_record(connection: BaseDatabaseWrapper) -> tuple[str, ...]:
    """Migrate a database of which only Drizzle's record is there, and keep its rows; what was applied.

    One transaction. Raises BuiltMeanwhile where the tables are there by now.
    """
    record = sql.Identifier("public", RECORD)
    with transaction.atomic(using=connection.alias):
        with pinned(connection) as cursor:
            locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
            cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(record))
            cursor.execute(sql.SQL("SELECT hash, created_at FROM {} ORDER BY id").format(record))
            rows = cursor.fetchall()
        if not look(connection).is_left_over:
            raise BuiltMeanwhile("Another program has built tables since this one has looked.")
        with pinned(connection) as cursor:
            cursor.execute(sql.SQL("DROP TABLE {}").format(record))
        applied = migrations.apply(connection)
        if rows:
            with pinned(connection) as cursor:
                into = sql.SQL("INSERT INTO {} (hash, created_at) VALUES (%s, %s)").format(record)
                cursor.executemany(into, rows)
    return applied


def built_meanwhile(error: DatabaseError, target: Target) -> BuiltMeanwhile | None:
    """The error of a migration in words, where another program has made the same at the same time."""
    cause = error.__cause__
    if not isinstance(cause, psycopg.Error):
        return None
    # Two that make one name at once meet in an index of the server's own catalog.
    meets = isinstance(cause, errors.UniqueViolation) and cause.diag.schema_name == "pg_catalog"
    if not meets and not isinstance(cause, SIMULTANEOUS):
        return None
    return BuiltMeanwhile(
        f"Another program makes the same in {target}: {visible(cause.diag.message_primary or str(cause))}. What "
        "this migration had made is rolled back."
    )
