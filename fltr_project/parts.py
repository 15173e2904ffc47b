"""Parts of a contract that not everybody has: a plugin's tables, or a team's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.apps import AppConfig


class ContractPart(AppConfig):
    """An app whose migrations add tables and columns to one of the two databases, and do nothing else there.

    Its ``contract.json``, written by ``verify_schema --write-contract``, is what they add to the contract.
    ``FLTR_CONTRACT_EXTRAS`` names the parts that a project has. In an ``apps.py`` write ``parts.ContractPart``: Django takes
    every AppConfig of the module for one that might be meant.
    """

    # The alias of the database.
    database: ClassVar[str] = "auth"
    # What each kind of program may on the part's tables (catalog.access): privileges as GRANT has them, by
    # kind and table. Columns of other tables have the rights of their table.
    rights: ClassVar[Mapping[str, Mapping[str, tuple[str, ...]]]] = {}
