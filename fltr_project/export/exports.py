"""The languages of the exports, by the names that they have on the command line."""

from __future__ import annotations

from collections.abc import Callable

from fltr_project.errors import CannotRun

from . import ddl, drizzle, json_schema, mermaid, python_credits, sqlmodel, typescript_credits
from .calls import calls
from .tables import tables

TITLE = "The tables of {alias}, written by `manage.py export_schema --to {to} --database {alias}`; edit nothing here."

LANGUAGES: dict[str, Callable[[str, str], str]] = {
    "credits-python": lambda alias, title: python_credits.module(alias, tables(alias), title),
    "credits-typescript": lambda alias, title: typescript_credits.module(
        alias, tables(alias), title
    ),
    "drizzle": lambda alias, title: drizzle.schema(alias, tables(alias), title),
    "json-schema": lambda alias, title: json_schema.json_schema(tables(alias), title),
    "mermaid": lambda alias, title: mermaid.diagram(tables(alias), title),
    "sql": ddl.ddl,
    "sqlmodel": lambda alias, title: sqlmodel.models(tables(alias), title),
}


def export(alias: str, language: str) -> str:
    """The contract of ``alias`` in a language of ``LANGUAGES``; the same text for the same contract.

    Touches no database. Raises CannotRun for the credits of a database that has none.
    """
    if language.startswith("credits-") and not calls(alias):
        raise CannotRun(f"Database {alias!r} has no credit functions; name the one that has them.")
    return LANGUAGES[language](alias, TITLE.format(alias=alias, to=language))
