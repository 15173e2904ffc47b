"""Writing a contract anew, for developers who have added a migration."""

from __future__ import annotations

from pathlib import Path

from django.core.management import call_command

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Catalog
from fltr_project.catalog.read import read
from fltr_project.errors import CannotRun
from fltr_project.postgres.scratch import scratch
from fltr_project.postgres.target import connect
from fltr_project.routers import parts


def write_contract(alias: str) -> Path:
    """Write the contract of a database anew, from a throw-away one that the migrations make; its path.

    With one part set, it is the part's: what it adds. Raises CannotRun where there are more parts, or this one changes what
    the contract says, and when the server cannot be reached or the role may not create databases there.
    """
    connect(alias)
    extras = parts(alias)
    if len(extras) > 1:
        names = " and ".join(part.name for part in extras)
        raise CannotRun(
            f"What each of {names} adds cannot be told apart. Set FLTR_CONTRACT_EXTRAS to the one whose contract is to be written."
        )
    with scratch(alias) as connection:
        call_command("migrate", database=alias, interactive=False, verbosity=0)
        # Other programs' records are theirs; this one is a table that the migrations make.
        catalog = read(connection, ["__drizzle_migrations"])
    base = contract.home(alias)
    if not extras:
        return contract.write(base, catalog)
    known = contract.load_of(base).facts
    if changed := [fact for fact in known if fact not in catalog.facts]:
        raise CannotRun(
            f"{extras[0].name} changes what the contract of {alias} says of {changed[0]}. A part adds tables, columns, "
            "functions and indexes, and changes nothing."
        )
    added = tuple(fact for fact in catalog.facts if fact not in known)
    return contract.write(extras[0], Catalog(added))
