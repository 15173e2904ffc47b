"""Which entries of an archive a database gets: all of ``public``, and what else it does not have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fltr_project.rebuild.schema_properties import SCHEMA

from .contents import ABOUT_OTHERS, Entry, Objects

# What is in no schema, by the catalog that tells whether it is there.
IN_NO_SCHEMA = {
    "SCHEMA": "pg_namespace",
    "EXTENSION": "pg_extension",
    "PUBLICATION": "pg_publication",
    "EVENT TRIGGER": "pg_event_trigger",
    "FOREIGN DATA WRAPPER": "pg_foreign_data_wrapper",
    "SERVER": "pg_foreign_server",
    "USER MAPPING": "pg_user_mapping",
    "PROCEDURAL LANGUAGE": "pg_language",
    "CAST": "pg_cast",
    "ACCESS METHOD": "pg_am",
    "TRANSFORM": "pg_transform",
}
# Of the database itself; its settings are brought back one by one (restore_settings).
OF_THE_DATABASE = (
    "ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES",
)  # fmt: skip
# They would begin to copy from elsewhere, and their end would remove a slot there.
NEVER = ("SUBSCRIPTION", "SUBSCRIPTION TABLE")


@dataclass(frozen=True)
class Choice:
    """What of an archive goes into a database."""

    entries: tuple[Entry, ...]
    # What the archive has and the database keeps as it is, a word each.
    kept: tuple[str, ...]
    # What is never restored.
    left_out: tuple[str, ...]


def whole(entries: Sequence[Entry]) -> Choice:
    """Everything, for a database that has nothing. Pure."""
    return choose(entries, frozenset())


def choose(entries: Sequence[Entry], there: frozenset[tuple[str, str]]) -> Choice:
    """What a database gets that has these objects in no schema, each a catalog and a name. Pure."""
    chosen: dict[int, Entry] = {}
    kept: list[str] = []
    left_out: list[str] = []
    for entry in sorted(entries, key=lambda each: each.about is not None):
        if entry.kind in OF_THE_DATABASE:
            continue
        if entry.kind in NEVER:
            if entry.kind == "SUBSCRIPTION":
                left_out.append(f"subscription {entry.name}")
            continue
        if entry.kind in ABOUT_OTHERS and entry.about is not None:
            if entry.about in chosen:
                chosen[entry.id] = entry
            continue
        if _is_there(entry, there):
            kept.append(f"{entry.kind.lower()} {entry.name}")
        elif not _is_of_what_is_there(entry, there):
            chosen[entry.id] = entry
    return Choice(
        tuple(each for each in entries if each.id in chosen), tuple(kept), tuple(left_out)
    )


def standing(objects: Objects, recreated: Sequence[str] = ()) -> frozenset[tuple[str, str]]:
    """What a database has that is in no schema, but for the event triggers ``recreated``. Pure."""
    return frozenset(
        (named.catalog, named.name)
        for named in objects.by_id.values()
        if named.catalog in IN_NO_SCHEMA.values()
        and (named.catalog, named.name) != ("pg_namespace", SCHEMA)
        and not (named.catalog == "pg_event_trigger" and named.name in recreated)
    )


def _is_there(entry: Entry, there: frozenset[tuple[str, str]]) -> bool:
    catalog = IN_NO_SCHEMA.get(entry.kind)
    return catalog is not None and (catalog, entry.name) in there


def _is_of_what_is_there(entry: Entry, there: frozenset[tuple[str, str]]) -> bool:
    """Whether the entry belongs to a schema, or a member of an extension, that stays as it is."""
    if ("pg_extension", entry.extension) in there:
        return True
    return entry.schema not in {"", SCHEMA} and ("pg_namespace", entry.schema) in there
