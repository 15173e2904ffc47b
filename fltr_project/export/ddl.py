"""The DDL of a contract: what makes an empty database all that the contract says."""

from __future__ import annotations

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Catalog, Schema
from fltr_project.drift.compare import differences
from fltr_project.drift.repair import script
from fltr_project.drift.repair.renaming import repairs

RUN_WITH = "Run it with: psql URL -v ON_ERROR_STOP=1 -f FILE"


def ddl(alias: str, title: str) -> str:
    """The script for the database of ``alias``, for one whose schema public is empty. Touches no database."""
    expected = contract.load(alias)
    # Schema public is there in every new database.
    empty = Catalog(expected.of(Schema))
    return script.script(repairs(differences(expected, empty), expected, empty), title, RUN_WITH)
