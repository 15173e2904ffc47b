"""Statements for what is no part of a table: schemas, extensions, types, sequences, rights, settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from fltr_project.catalog.facts import (
    Extension,
    Grants,
    Other,
    Schema,
    Sequence,
    Setting,
    Type,
)

from .context import Context, change_owner, sessions_of
from .names import PUBLIC, literal, name, named, public
from .statement import Hazard, Stage, Statement, dropping, hazards, losing


def repair_sequence(
    want: Sequence | None, have: Sequence | None, here: Context
) -> Iterator[Statement]:
    if want and have:
        if "definition" in here.difference.changed:
            yield Statement(Stage.MAKE, f"ALTER SEQUENCE {public(want.name)} {want.definition};")
        yield from change_owner(f"SEQUENCE {public(want.name)}", want, have, here)
    elif want:
        yield Statement(Stage.MAKE, f"CREATE SEQUENCE {public(want.name)} {want.definition};")
    elif have:
        last = f"SELECT last_value FROM {public(have.name)};"
        yield dropping(Stage.CLEAN, f"DROP SEQUENCE {public(have.name)};", last)


def repair_type(want: Type | None, have: Type | None, here: Context) -> Iterator[Statement]:
    fact = want or have
    if fact is None:
        return
    word = "DOMAIN" if fact.is_domain else "TYPE"
    if want and have and here.differs("owner"):
        yield from change_owner(f"{word} {public(want.name)}", want, have, here)
        return
    if have and want is None:
        # Fails while a column still has it; the column's own repair comes first.
        users = (
            "SELECT count(*) FROM pg_attribute WHERE NOT attisdropped AND atttypid = "
            f"{named(PUBLIC, have.name)}::regtype;"
        )
        yield dropping(Stage.CLEAN, f"DROP {word} {public(have.name)};", users)
    elif have:
        yield Statement(Stage.DETACH, f"DROP {word} {public(have.name)};")
    if want:
        yield Statement(Stage.MAKE, f"CREATE {word} {public(want.name)} AS {want.definition};")


def repair_schema(want: Schema | None, have: Schema | None, here: Context) -> Iterator[Statement]:
    if want and have:
        owner = "pg_database_owner" if want.name == "public" else here.owner
        yield Statement(
            Stage.RIGHTS,
            f"ALTER SCHEMA {name(want.name)} OWNER TO {name(want.owner or owner)};",
            hazards(Hazard.TAKES_RIGHTS),
            sessions_of(have.owner or owner),
        )
    elif want:
        yield Statement(Stage.MAKE, f"CREATE SCHEMA {name(want.name)};")
    elif have and have.tables:
        tables = (
            "SELECT relname, reltuples FROM pg_class WHERE relkind IN ('r', 'p') AND "
            f"relnamespace = {named(have.name)}::regnamespace;"
        )
        yield losing(f"DROP SCHEMA {name(have.name)} CASCADE;", tables)
    elif have:
        things = (
            "SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass "
            f"AND refobjid = {named(have.name)}::regnamespace;"
        )
        yield dropping(Stage.CLEAN, f"DROP SCHEMA {name(have.name)};", things)


def repair_extension(
    want: Extension | None, have: Extension | None, here: Context
) -> Iterator[Statement]:
    if want:
        yield Statement(Stage.MAKE, f"CREATE EXTENSION {name(want.name)};")
    elif have:
        # Its tables may hold rows, and what was made of its types and functions has other owners.
        members = (
            "SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend WHERE "
            f"deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = {literal(have.name)});"
        )
        yield dropping(Stage.LOSE, f"DROP EXTENSION {name(have.name)};", members)


def repair_grants(want: Grants | None, have: Grants | None, here: Context) -> Iterator[Statement]:
    entry = want or have
    if entry is None:
        return
    given, taken = (set(have.granted), set(have.revoked)) if have else (set(), set())
    give, take = (set(want.granted), set(want.revoked)) if want else (set(), set())
    yield from _grant(entry, sorted((given - give) | (take - taken)), False, here.owner)
    yield from _grant(entry, sorted((give - given) | (taken - take)), True, here.owner)


def rights_of_new(entry: Grants, owner: str) -> Iterator[Statement]:
    """Give a thing that has just been made the rights that differ from those of its creation."""
    for give, privileges in ((False, entry.revoked), (True, entry.granted)):
        for each in _grant(entry, privileges, give, owner):
            # Nobody has had time to use what a new thing gives.
            yield replace(each, hazards=hazards(), cost="")


def granted_on(word: str, thing: str) -> str:
    """A thing of schema public as the facts of rights name it: quoted only where it must be."""
    quoted = name(thing)
    return f"{word} public.{thing if re.fullmatch('[a-z_][a-z0-9_]*', thing) else quoted}"


def rights_on_new(on: str, here: Context) -> Iterator[Statement]:
    """Give a new table or sequence the contract's rights, whatever default privileges give everybody."""
    yield Statement(Stage.RIGHTS, f"REVOKE ALL ON {on} FROM PUBLIC;")
    for grants in here.expected.of(Grants):
        if grants.on == on and grants.role in {"PUBLIC", ""}:
            yield from rights_of_new(grants, here.owner)


def repair_other(want: Other | None, have: Other | None, here: Context) -> Iterator[Statement]:
    if have:
        word = {"statistics object": "STATISTICS"}.get(have.type, have.type.upper())
        drop = f"DROP {word} {have.name};"
        if want:
            yield Statement(Stage.DETACH, drop)
        else:
            yield dropping(Stage.DETACH, drop, "")
    if want and want.definition.startswith("CREATE"):
        yield Statement(Stage.ATTACH, f"{want.definition};")


def repair_setting(
    want: Setting | None, have: Setting | None, here: Context
) -> Iterator[Statement]:
    if want:
        database = name(here.found.database)
        sql = f"ALTER DATABASE {database} SET {want.name} = {literal(want.value)};"
        yield Statement(Stage.RIGHTS, sql)


def _grant(entry: Grants, privileges: Iterable[str], give: bool, owner: str) -> Iterator[Statement]:
    role = "PUBLIC" if entry.role == "PUBLIC" else name(entry.role or owner)
    verb, to = ("GRANT", "TO") if give else ("REVOKE", "FROM")
    costs = hazards() if give else hazards(Hazard.TAKES_RIGHTS)
    everybody = "SELECT count(*) FROM pg_roles WHERE rolcanlogin AND NOT rolsuper;"
    counted = everybody if role == "PUBLIC" else sessions_of(entry.role or owner)
    for privilege in privileges:
        right, _, option = privilege.partition(" WITH ")
        sql = f"{verb} {right} ON {entry.on} {to} {role}"
        if entry.on.startswith("new "):
            _, kind, _, creator = entry.on.split(" ", 3)
            creator = owner if creator == "the owner" else creator
            sql = (
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {name(creator)} IN SCHEMA public "
                f"{verb} {right} ON {kind.upper()} {to} {role}"
            )
        ending = f" WITH {option}" if option and give else ""
        yield Statement(Stage.RIGHTS, f"{sql}{ending};", costs, "" if give else counted)
