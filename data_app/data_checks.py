"""What `verify_schema --data` looks at in the datasets: owners, who are in the other database."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.backends.base.base import BaseDatabaseWrapper

from fltr_project.catalog.facts import Catalog, Column
from fltr_project.drift import data
from fltr_project.drift.repair.names import literal
from fltr_project.drift.repair.statement import losing
from fltr_project.drift.report import FindingWithRepair
from fltr_project.postgres.target import connect
from fltr_project.routers import database_of
from fltr_project.words import counted

# Owners asked for in one statement.
BATCH = 10_000
# Owners named in a finding.
NAMED = 3
HAS_USERS = """
    SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('public.users')
                   AND attname = 'id' AND NOT attisdropped)
"""


def check(connection: BaseDatabaseWrapper, catalog: Catalog) -> Iterator[FindingWithRepair]:
    """Datasets whose owner is not, or no longer, in the database of the users. Read-only.

    No foreign key can span two databases. Raises CannotRun when that one cannot be reached, and
    django.db.Error when the role may not read a table.
    """
    if not any((each.table, each.name) == ("datasets", "owner_id") for each in catalog.of(Column)):
        return
    home = connect(database_of("auth_app"))
    if data.rows(home, HAS_USERS) != [(True,)]:
        return
    unknown = _unknown(connection, home)
    if not unknown:
        return
    owners = ", ".join(map(literal, unknown))
    ((count,),) = data.rows(
        connection,
        "SELECT count(*) FROM public.datasets WHERE owner_id::text = ANY (%s)",
        unknown,
    )
    listed = ", ".join(unknown[:NAMED]) + (", ..." if len(unknown) > NAMED else "")
    theirs = f"FROM public.datasets WHERE owner_id IN ({owners});"
    yield data.entry(
        "data-datasets-without-owner",
        "datasets.owner_id",
        f"a users.id of the database {home.alias}",
        f"{counted(count, 'datasets')} of {counted(len(unknown), 'owners')} not there ({listed})",
        "Nobody can manage or delete these datasets: their owner cannot sign in.",
        losing(f"DELETE {theirs}", f"SELECT count(*) {theirs}"),
    )


def _unknown(connection: BaseDatabaseWrapper, home: BaseDatabaseWrapper) -> list[str]:
    """The owners of datasets who are not among the users, in the order of their ids."""
    unknown: list[str] = []
    last: str | None = None
    while True:
        batch = [
            owner
            for (owner,) in data.rows(
                connection,
                "SELECT DISTINCT owner_id::text FROM public.datasets WHERE owner_id IS NOT NULL"
                " AND (%s::text IS NULL OR owner_id::text > %s::text) ORDER BY 1 LIMIT %s",
                last,
                last,
                BATCH,
            )
        ]
        if not batch:
            return unknown
        known = {
            user
            for (user,) in data.rows(
                home, "SELECT id::text FROM public.users WHERE id::text = ANY (%s)", batch
            )
        }
        unknown += [owner for owner in batch if owner not in known]
        last = batch[-1]
