"""Writing a contract anew, for developers who have added a migration."""

from __future__ import annotations

from pathlib import Path

from django.core.management import call_command

from fltr_project.catalog import contract
from fltr_project.catalog.read import read
from fltr_project.postgres.scratch import scratch
from fltr_project.postgres.target import connect


def write_contract(alias: str) -> Path:
    """Write the contract of a database anew, from a throw-away one that the migrations make; its path.

    Raises CannotRun when the server cannot be reached, or the role may not create databases there.
    """
    connect(alias)
    with scratch(alias) as connection:
        call_command("migrate", database=alias, interactive=False, verbosity=0)
        # Other programs' records are theirs; this one is a table that the migrations make.
        catalog = read(connection, ["__drizzle_migrations"])
    return contract.write(alias, catalog)
