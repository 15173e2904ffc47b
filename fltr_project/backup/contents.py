"""What is in an archive: its table of contents, with each entry's object as the database knows it.

pg_restore prints names without quotes, so two words may be a schema and a table or a table alone. The
entries are therefore told by the ids of their objects, which the snapshot that was dumped is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db.backends.utils import CursorWrapper

from fltr_project.catalog.aside import PREFIX

# Of `pg_restore --list --verbose`: the entry's number, its object, and what else it says.
LISTED = re.compile(r"(?P<id>\d+); (?P<catalog>\d+) (?P<object>\d+) (?P<said>.*)")
DEPENDS = re.compile(r";\tdepends on: (?P<ids>[\d ]+)")
# The entries that have no number of their own in a catalog, but that of the table or sequence.
OF_RELATIONS = ("TABLE DATA", "SEQUENCE SET", "MATERIALIZED VIEW DATA")
# What an object has, in entries of their own; they follow what becomes of it.
ABOUT_OTHERS = ("ACL", "COMMENT", "SECURITY LABEL")
# Of two words, where one alone is a kind too. Their objects are in no catalog, so that a table in a
# schema named DATA is none of them.
OF_NO_CATALOG = (
    *OF_RELATIONS,
    "TABLE ATTACH",
    "INDEX ATTACH",
    "ROW SECURITY",
    "DATABASE PROPERTIES",
)
WORD = re.compile(r"[A-Z]+ ")
KINDS = frozenset(
    {
        *OF_NO_CATALOG, *ABOUT_OTHERS, "ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "SCHEMA",
        "EXTENSION", "PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA",
        "SUBSCRIPTION", "SUBSCRIPTION TABLE", "EVENT TRIGGER", "DEFAULT ACL", "BLOB", "BLOBS",
        "BLOB METADATA", "FOREIGN DATA WRAPPER", "SERVER", "USER MAPPING", "PROCEDURAL LANGUAGE",
        "CAST", "TRANSFORM", "ACCESS METHOD", "TABLE", "SEQUENCE", "VIEW", "MATERIALIZED VIEW",
        "FOREIGN TABLE", "FUNCTION", "PROCEDURE", "AGGREGATE", "TYPE", "DOMAIN", "SHELL TYPE",
        "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "COLLATION", "CONVERSION",
        "TEXT SEARCH PARSER", "TEXT SEARCH DICTIONARY", "TEXT SEARCH TEMPLATE",
        "TEXT SEARCH CONFIGURATION", "INDEX", "CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT",
        "DEFAULT", "TRIGGER", "RULE", "POLICY", "STATISTICS", "SEQUENCE OWNED BY",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One entry of an archive."""

    # What `pg_restore --use-list` knows it by.
    id: int
    kind: str
    # Where the object, or that which it is about, is; empty for what is in no schema.
    schema: str
    # The object's own name, or for what is about others that as pg_restore prints it.
    name: str
    # The entry that it is about (ABOUT_OTHERS), None where that is in no archive.
    about: int | None = None
    # The extension that the object is a member of; such an entry sets rights or rows of it only.
    extension: str = ""


@dataclass(frozen=True)
class Named:
    """An object as the database knows it."""

    # The name of its catalog; empty where none knows it.
    catalog: str
    schema: str
    name: str
    extension: str


@dataclass(frozen=True)
class Objects:
    """The objects of a database by their catalog and id, and the names of its schemas."""

    by_id: Mapping[tuple[int, int], Named]
    # The id of pg_class.
    relations: int
    schemas: tuple[str, ...]
    # How many tables there are, each of which pg_dump locks.
    tables: int


def objects(cursor: CursorWrapper) -> Objects:
    """The objects of the database, as the transaction's snapshot has them. Read-only, one round trip.

    Must be called with a pinned search_path.
    """
    cursor.execute(OBJECTS)
    rows = cursor.fetchall()
    found = {
        (catalog, oid): Named(kind, schema or "", name, extension or "")
        for catalog, oid, kind, schema, name, extension, _ in rows
    }
    schemas = tuple(named.name for named in found.values() if named.catalog == "pg_namespace")
    relations = next((key[0] for key, named in found.items() if named.catalog == "pg_class"), 0)
    return Objects(found, relations, schemas, sum(row[-1] for row in rows))


def entries(listing: Iterable[str], known: Objects) -> tuple[Entry, ...]:
    """The entries of ``pg_restore --list --verbose``. Pure."""
    listed: dict[int, tuple[re.Match[str], str]] = {}
    first: dict[int, int] = {}
    last = 0
    for line in listing:
        if depends := DEPENDS.fullmatch(line):
            first[last] = int(depends["ids"].split()[0])
        elif match := LISTED.fullmatch(line):
            last = int(match["id"])
            listed[last] = match, _kind(match["said"], has_catalog=match["catalog"] != "0")
    made: dict[int, Entry] = {}
    # What an entry is about may come after it.
    for number in sorted(listed, key=lambda number: first.get(number) in listed):
        match, kind = listed[number]
        said = match["said"].removeprefix(kind).lstrip(" ")
        catalog = int(match["catalog"]) or known.relations
        named = known.by_id.get((catalog, int(match["object"])))
        about = made.get(first.get(number, 0))
        if kind in {*ABOUT_OTHERS, *OF_NO_CATALOG} and named is None and about is not None:
            schema = about.name if about.kind == "SCHEMA" else about.schema
            name = said if kind in ABOUT_OTHERS else about.name
            made[number] = Entry(number, kind, schema, name, about.id, about.extension)
        else:
            if kind == "USER MAPPING":
                # As pg_dump says it, which gives it no object.
                named = _mapping(said, known)
            named = named or _as_said(said, known.schemas)
            made[number] = Entry(number, kind, named.schema, named.name, None, named.extension)
    return tuple(made[number] for number in listed)


def ids(listing: Iterable[str]) -> set[int]:
    """The entries of ``pg_restore --list --verbose`` by their numbers. Pure."""
    return {int(match["id"]) for match in map(LISTED.fullmatch, listing) if match}


def _kind(said: str, *, has_catalog: bool) -> str:
    """The longest kind that the words begin with; one that is not known here in all its capitals."""
    words: list[str] = []
    while match := WORD.match(said, sum(len(word) + 1 for word in words)):
        words.append(match[0].strip())
    candidates = [" ".join(words[:count]) for count in range(len(words), 0, -1)]
    fitting = (
        each for each in candidates if each in KINDS and not (has_catalog and each in OF_NO_CATALOG)
    )
    return next(fitting, " ".join(words))


def _as_said(said: str, schemas: Sequence[str]) -> Named:
    """Of an object that no catalog tells: the longest schema that fits, and the rest with its owner."""
    for schema in sorted(schemas, key=len, reverse=True):
        if said.startswith(f"{schema} "):
            return Named("", schema, said[len(schema) + 1 :], "")
    return Named("", "", said.removeprefix("- "), "")


# What pg_dump locks: schemas that are set aside are not dumped.
TABLE = f"(o.relkind IN ('r', 'p') AND NOT starts_with(s.nspname, '{PREFIX}'))"


def _mapping(said: str, known: Objects) -> Named | None:
    mappings = (each for each in known.by_id.values() if each.catalog == "pg_user_mapping")
    fitting = (each for each in mappings if said.startswith(f"- USER MAPPING {each.name} "))
    return max(fitting, key=lambda each: len(each.name), default=None)


def _catalog(
    name: str, schema: str = "NULL::name", label: str = "", joins: str = "", oid: str = "o.oid"
) -> str:
    """A query of one catalog: its objects' ids, schemas and names, and the extension they are of."""
    return (
        f"SELECT '{name}'::regclass::oid::bigint, {oid}::bigint, '{name}', {schema}::text,"
        f" {label}::text, (SELECT x.extname::text FROM pg_depend d JOIN pg_extension x ON"
        f" x.oid = d.refobjid WHERE d.classid = '{name}'::regclass AND d.objid = {oid}"
        " AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' LIMIT 1)"
        f", {TABLE if name == 'pg_class' else 'false'}::int"
        f" FROM {name if name != 'pg_user_mapping' else 'pg_user_mappings'} o {joins}"
        # Below are the server's own (FirstNormalObjectId), but for schema public.
        f" WHERE {oid} >= 16384" + (" OR o.nspname = 'public'" if name == "pg_namespace" else "")
    )


def _within(name: str, column: str, label: str) -> str:
    return _catalog(name, "s.nspname", label, f"JOIN pg_namespace s ON s.oid = o.{column}")


def _of_table(name: str, column: str, label: str) -> str:
    joins = f"JOIN pg_class c ON c.oid = o.{column} JOIN pg_namespace s ON s.oid = c.relnamespace"
    return _catalog(name, "s.nspname", label, joins)


OBJECTS = " UNION ALL ".join(
    [
        _catalog("pg_namespace", label="o.nspname"),
        _within("pg_class", "relnamespace", "o.relname"),
        _within("pg_proc", "pronamespace", "o.proname"),
        _within("pg_type", "typnamespace", "o.typname"),
        _within("pg_operator", "oprnamespace", "o.oprname"),
        _within("pg_opclass", "opcnamespace", "o.opcname"),
        _within("pg_opfamily", "opfnamespace", "o.opfname"),
        _within("pg_collation", "collnamespace", "o.collname"),
        _within("pg_conversion", "connamespace", "o.conname"),
        _within("pg_constraint", "connamespace", "o.conname"),
        _within("pg_statistic_ext", "stxnamespace", "o.stxname"),
        _within("pg_ts_config", "cfgnamespace", "o.cfgname"),
        _within("pg_ts_dict", "dictnamespace", "o.dictname"),
        _within("pg_ts_parser", "prsnamespace", "o.prsname"),
        _within("pg_ts_template", "tmplnamespace", "o.tmplname"),
        _of_table("pg_attrdef", "adrelid", "c.relname"),
        _of_table("pg_trigger", "tgrelid", "o.tgname"),
        _of_table("pg_rewrite", "ev_class", "o.rulename"),
        _of_table("pg_policy", "polrelid", "o.polname"),
        _of_table("pg_publication_rel", "prrelid", "c.relname"),
        _within("pg_publication_namespace", "pnnspid", "s.nspname"),
        _catalog("pg_default_acl", "s.nspname", "''", "LEFT JOIN pg_namespace s ON s.oid = o.defaclnamespace"),
        _catalog("pg_publication", label="o.pubname"),
        _catalog("pg_extension", label="o.extname"),
        _catalog("pg_event_trigger", label="o.evtname"),
        _catalog("pg_foreign_data_wrapper", label="o.fdwname"),
        _catalog("pg_foreign_server", label="o.srvname"),
        _catalog("pg_user_mapping", label="o.usename || ' SERVER ' || o.srvname", oid="o.umid"),
        _catalog("pg_language", label="o.lanname"),
        _catalog(
            "pg_cast", label="o.castsource::regtype || ' AS ' || o.casttarget::regtype"
        ),
        _catalog("pg_am", label="o.amname"),
        _catalog("pg_transform", label="o.trftype::regtype || ' ' || o.trflang"),
    ]
)  # fmt: skip
