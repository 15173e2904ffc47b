"""Make the access list of an object what it was: grants, grant options and who granted them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from .attachments import Attachment
from .schema_properties import SCHEMA

type Statement = sql.SQL | sql.Composed
PRIVILEGES = {
    word: word
    for word in (
        *("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"),
        *("MAINTAIN", "USAGE", "EXECUTE"),
    )
}


@dataclass(frozen=True)
class Entry:
    """One right in an access list; an empty grantee is PUBLIC."""

    grantor: str
    grantee: str
    privilege: str
    grantable: bool

    @property
    def right(self) -> tuple[str, str]:
        return self.grantee, self.privilege


def statements(
    wanted: Attachment, have: Attachment | None, passed_over: frozenset[str]
) -> Iterator[Statement]:
    """What makes the list of the object that is there the wanted one; nothing when it is.

    What the contract says of functions stays: nobody has a right as PUBLIC.
    """
    if have is None:
        return
    owner = have.value["owner"]
    now = _entries(have, owner, passed_over)
    then = _entries(wanted, owner, passed_over)
    rights = {each.right: each for each in then}
    for each in now:
        if each.right not in rights:
            yield _statement("REVOKE ", "FROM", wanted, each)
        elif each.grantable and not rights[each.right].grantable:
            yield _statement("REVOKE GRANT OPTION FOR ", "FROM", wanted, each)
    for each in _in_turn(then - now, owner, {each.right for each in then & now if each.grantable}):
        if each.grantor == owner:
            yield _statement("GRANT ", "TO", wanted, each)
        else:
            yield _acting_as(each.grantor)
            yield _statement("GRANT ", "TO", wanted, each)
            yield sql.SQL("RESET ROLE")


def _in_turn(
    entries: frozenset[Entry], owner: str, can_grant: set[tuple[str, str]]
) -> Iterator[Entry]:
    """First what the owner grants, then what others grant further."""
    left = sorted(entries, key=lambda each: (each.right, each.grantor))
    while left:
        ready = [
            each
            for each in left
            if each.grantor == owner or (each.grantor, each.privilege) in can_grant
        ]
        # Nobody has the right that is passed on: the server is to say so.
        for each in ready or left:
            can_grant |= {each.right} if each.grantable else set()
            yield each
        left = [each for each in left if ready and each not in ready]


def _entries(attachment: Attachment, owner: str, passed_over: frozenset[str]) -> frozenset[Entry]:
    """The list as it is to be where ``owner`` owns the object."""
    before = attachment.value["owner"]
    found = set()
    for grantor, grantee, privilege, grantable in attachment.value["entries"] or ():
        if grantee in passed_over or (attachment.type == "ROUTINE" and not grantee):
            continue
        if grantee == before == grantor != owner:
            # What an owner has by being one: the one that owns it now, and the one that did.
            found.add(Entry(owner, owner, privilege, False))
        found.add(Entry(owner if grantor == before else grantor, grantee, privilege, grantable))
    return frozenset(found)


def _acting_as(role: str) -> Statement:
    return sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role))


def _statement(verb: str, preposition: str, wanted: Attachment, entry: Entry) -> Statement:
    column = sql.SQL(" ({})").format(sql.Identifier(wanted.name[-1]))
    option = entry.grantable and verb == "GRANT "
    return sql.SQL("{}{}{} ON {} {} {}{}").format(
        sql.SQL(verb),
        sql.SQL(PRIVILEGES[entry.privilege]),
        column if wanted.type == "COLUMN" else sql.SQL(""),
        _on(wanted),
        sql.SQL(preposition),
        sql.Identifier(entry.grantee) if entry.grantee else sql.SQL("PUBLIC"),
        sql.SQL(" WITH GRANT OPTION" if option else ""),
    )


def _on(wanted: Attachment) -> sql.Composed:
    name = sql.Identifier(SCHEMA, wanted.name[0])
    if wanted.type == "ROUTINE":
        return sql.SQL("ROUTINE {}({})").format(name, sql.SQL(wanted.arguments))
    word = wanted.type if wanted.type in {"SEQUENCE", "TYPE"} else "TABLE"
    return sql.SQL(f"{word} {{}}").format(name)
