"""Put back what hung on the objects of schema ``public``, and see that it does.

Statements are put together here from names and words; the texts among them, expressions and definitions, are the server's
own, and each is sent as one statement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import Error as DatabaseError
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from fltr_project.errors import explain
from fltr_project.postgres.search_path import pinned

from . import access_lists, attachments
from .attachments import Attachment, Found, Names, Object
from .schema_properties import SCHEMA

type Statement = sql.SQL | sql.Composed


@dataclass(frozen=True)
class PutBack:
    """What was put back, by kind, and what was not, with the reason."""

    done: dict[str, int]
    left: tuple[tuple[Attachment, str], ...]

    @property
    def sentence(self) -> str:
        """The kinds with their numbers; empty where there was nothing to do."""
        return ", ".join(f"{count} {kind}" for kind, count in self.done.items())


def put_back(
    connection: BaseDatabaseWrapper,
    wanted: Sequence[Attachment],
    names: Names,
    passed_over: frozenset[str] = frozenset(),
) -> PutBack:
    """Hang these on the objects of the same names, in the caller's transaction, and compare.

    What is there already is left alone, so that it may be run again. Of objects that are not there nothing is
    done, and they are not among what is left. The rights of the roles ``passed_over`` are somebody else's business.
    """
    reasons: dict[Attachment, str] = {}
    changed: Counter[str] = Counter()
    for kind in attachments.KINDS:
        waiting = [each for each in wanted if each.kind == kind]
        # A view upon a view, and a right that was granted with another one, come after those.
        progress = bool(waiting)
        while progress:
            found = _read(connection, names)
            before, progress, failed = len(waiting), False, []
            for each in waiting:
                reason = _hang(connection, each, found, passed_over)
                if reason is None:
                    continue
                if reason:
                    reasons[each] = reason
                    failed.append(each)
                else:
                    changed[kind] += 1
                    reasons.pop(each, None)
            progress = bool(failed) and len(failed) < before
            waiting = failed
    _fill(connection, wanted, _read(connection, names))
    found = _read(connection, names)
    left = tuple(
        (each, reasons.get(each, "the server has not done it"))
        for each in wanted
        if _is_possible(each, found) and _needed(each, found, passed_over) != []
    )
    return PutBack(dict(changed), left)


def _read(connection: BaseDatabaseWrapper, names: Names) -> Found:
    with pinned(connection) as cursor:
        return attachments.read(cursor, names)


def _hang(
    connection: BaseDatabaseWrapper, each: Attachment, found: Found, passed_over: frozenset[str]
) -> str | None:
    """Hang it on: "" when that was done, None when there was nothing to do, else why it could not be."""
    if not _is_possible(each, found):
        return None
    statements = _needed(each, found, passed_over)
    if statements is None:
        return "what was written down about it is not whole"
    if not statements:
        return None
    try:
        with transaction.atomic(using=connection.alias), pinned(connection) as cursor:
            for statement in statements:
                # In the extended protocol, which takes one statement and no more.
                with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as raw:
                    raw.execute(statement, binary=True)
            # What was deferred fails here and not at the commit.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except DatabaseError as error:
        return explain(error) or " ".join(str(error).split())
    return ""


def _fill(connection: BaseDatabaseWrapper, wanted: Sequence[Attachment], found: Found) -> None:
    """Fill the materialized views that were filled before: each with the rights of its owner."""
    have = found.of(attachments.VIEWS)
    for each in wanted:
        there = have.get(each.on)
        is_view = each.kind == attachments.VIEWS and each.type == "MATERIALIZED VIEW"
        if not is_view or there is None or not each.value["populated"]:
            continue
        with (
            suppress(DatabaseError),
            transaction.atomic(using=connection.alias),
            pinned(connection) as cursor,
        ):
            cursor.execute(sql.SQL("REFRESH {}").format(target(each.on)))


def _is_possible(each: Attachment, found: Found) -> bool:
    """Whether what it hangs on is there; a view, a policy or statistics hang on a table, and are made anew."""
    if each.kind == attachments.VIEWS:
        return True
    if each.kind == attachments.POLICIES:
        return any(on[1] == each.name[:1] for on in found.objects)
    return (
        each.type == "STATISTICS" and each.kind == attachments.STATISTICS
    ) or each.on in found.objects


def _needed(each: Attachment, found: Found, passed_over: frozenset[str]) -> list[Statement] | None:
    """What is still to be done for it; None where somebody has spoilt what was written down."""
    try:
        return list(_statements(each, found, passed_over))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None


def _statements(each: Attachment, found: Found, passed_over: frozenset[str]) -> Iterator[Statement]:
    have = found.of(each.kind).get(each.on)
    if each.kind == attachments.GRANTS:
        yield from access_lists.statements(each, have, passed_over)
    elif have is None or not _is_so(each.value, have.value):
        yield from MAKERS[each.kind](each, have)


def _is_so(wanted: Any, have: Any) -> bool:
    """Whether what is there says all that is wanted; of options there may be more."""
    if not isinstance(wanted, dict):
        return bool(wanted == have)
    return all(
        set(value) <= set(have.get(key) or ())
        if isinstance(value, list)
        else value == have.get(key)
        for key, value in wanted.items()
        if value not in (None, False) and key != "populated"
    )


def target(on: Object) -> sql.Composed:
    """What stands after ALTER, GRANT ON or COMMENT ON."""
    type_, name, arguments = on
    if type_ in {"CONSTRAINT", "TRIGGER", "POLICY", "RULE"}:
        return sql.SQL("{} {} ON {}").format(
            sql.SQL(type_), sql.Identifier(name[1]), sql.Identifier(SCHEMA, name[0])
        )
    if type_ == "ROUTINE":
        # The server's own text: the object was found by it.
        call = sql.SQL(f"({arguments})")
        return sql.SQL("ROUTINE {}{}").format(sql.Identifier(SCHEMA, *name), call)
    return sql.SQL("{} {}").format(sql.SQL(type_), sql.Identifier(SCHEMA, *name))


def _view(each: Attachment, have: Attachment | None) -> Iterator[Statement]:
    if have is not None:
        # Another one of that name: somebody else has made it.
        return
    value, name = each.value, sql.Identifier(SCHEMA, *each.name)
    options = _options(value["options"])
    is_materialized = each.type == "MATERIALIZED VIEW"
    # Filled later, with the rights of its owner.
    yield sql.SQL("CREATE {} {}{} AS {}{}").format(
        sql.SQL(each.type),
        name,
        sql.SQL(" WITH ({})").format(options) if options else sql.SQL(""),
        sql.SQL(str(value["definition"]).strip().removesuffix(";")),
        sql.SQL(" WITH NO DATA" if is_materialized else ""),
    )
    for index in value["indexes"] or ():
        yield sql.SQL(str(index))


def _owner(each: Attachment, have: Attachment | None) -> Iterator[Statement]:
    yield sql.SQL("ALTER {} OWNER TO {}").format(target(each.on), sql.Identifier(each.value))


def _row_security(each: Attachment, have: Attachment | None) -> Iterator[Statement]:
    for words, on in (
        ("ENABLE ROW LEVEL SECURITY", each.value["enabled"]),
        ("FORCE ROW LEVEL SECURITY", each.value["forced"]),
    ):
        if on:
            yield sql.SQL("ALTER {} {}").format(target(each.on), sql.SQL(words))


def _policy(each: Attachment, have: Attachment | None) -> Iterator[Statement]:
    value = each.value
    if have is not None:
        yield sql.SQL("DROP {}").format(target(each.on))
    parts = [
        sql.SQL("CREATE {} AS {} FOR {} TO {}").format(
            target(each.on),
            sql.SQL("PERMISSIVE" if value["permissive"] else "RESTRICTIVE"),
            sql.SQL(COMMANDS[value["command"]]),
            sql.SQL(", ").join(
                sql.Identifier(role) if role else sql.SQL("PUBLIC") for role in value["roles"]
            ),
        )
    ]
    if value["using"]:
        parts.append(sql.SQL("USING ({})").format(sql.SQL(value["using"])))
    if value["check"]:
        parts.append(sql.SQL("WITH CHECK ({})").format(sql.SQL(value["check"])))
    yield sql.SQL(" ").join(parts)


def _statistics(each: Attachment, have: Attachment | None) -> Iterator[Statement]:
    value = each.value
    if each.type == "STATISTICS":
        if have is None:
            yield sql.SQL(value["definition"])
        elif have.value["definition"] != value["definition"]:
            yield sql.SQL("DROP {}").format(target(each.on))
            yield sql.SQL(value["definition"])
        if value["target"] is not None:
            yield sql.SQL("ALTER {} SET STATISTICS {}").format(
                target(each.on), sql.Literal(value["target"])
            )
        return
    if value["target"] is not None:
        yield _of_column(each, sql.SQL("SET STATISTICS {}").format(sql.Literal(value["target"])))
    if options := _options(value["options"]):
        yield _of_column(each, sql.SQL("SET ({})").format(options))


def _storage(each: Attachment, have: Attachment | None) -> Iterator[Statement]:
    value = each.value
    if each.type == "COLUMN":
        yield _of_column(each, sql.SQL(f"SET STORAGE {STORAGE[value['storage']]}"))
        if value["compression"]:
            yield _of_column(each, sql.SQL(f"SET COMPRESSION {COMPRESSION[value['compression']]}"))
        return
    names = {key: f"toast.{key}" for key in _pairs(value.get("toast"))}
    options = [
        *(value["options"] or ()),
        *(f"{names[key]}={setting}" for key, setting in _pairs(value.get("toast")).items()),
    ]
    if options:
        yield sql.SQL("ALTER {} SET ({})").format(target(each.on), _options(options))
    if value["tablespace"]:
        yield sql.SQL("ALTER {} SET TABLESPACE {}").format(
            target(each.on), sql.Identifier(value["tablespace"])
        )
    if value.get("clustered"):
        yield sql.SQL("ALTER {} CLUSTER ON {}").format(
            target(each.on), sql.Identifier(value["clustered"])
        )


def _replica_identity(each: Attachment, have: Attachment | None) -> Iterator[Statement]:
    if each.value["identity"] == "i":
        how = sql.SQL("USING INDEX {}").format(sql.Identifier(each.value["index"]))
    else:
        how = sql.Composed([sql.SQL({"f": "FULL", "n": "NOTHING"}[each.value["identity"]])])
    yield sql.SQL("ALTER {} REPLICA IDENTITY {}").format(target(each.on), how)


def _comment(each: Attachment, have: Attachment | None) -> Iterator[Statement]:
    # One that migrations have made says what is so now.
    if have is None:
        yield sql.SQL("COMMENT ON {} IS {}").format(target(each.on), sql.Literal(each.value))


def _of_column(each: Attachment, change: sql.SQL | sql.Composed) -> sql.Composed:
    table, column = each.name
    return sql.SQL("ALTER TABLE {} ALTER COLUMN {} {}").format(
        sql.Identifier(SCHEMA, table), sql.Identifier(column), change
    )


def _pairs(options: Sequence[str] | None) -> dict[str, str]:
    return {key: setting for key, _, setting in (each.partition("=") for each in options or ())}


def _options(options: Sequence[str] | None) -> sql.Composed | None:
    """``name=value`` as the catalog has it, for a statement; None where there are none."""
    pairs = _pairs(options)
    if not pairs:
        return None
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(*key.split(".")), sql.Literal(setting))
        for key, setting in pairs.items()
    )


MAKERS: dict[str, Callable[[Attachment, Attachment | None], Iterator[Statement]]] = {
    attachments.VIEWS: _view,
    attachments.OWNERS: _owner,
    attachments.ROW_SECURITY: _row_security,
    attachments.POLICIES: _policy,
    attachments.STATISTICS: _statistics,
    attachments.STORAGE: _storage,
    attachments.REPLICA_IDENTITY: _replica_identity,
    attachments.COMMENTS: _comment,
}
# pg_policy.polcmd, pg_attribute.attstorage and attcompression.
COMMANDS = {"*": "ALL", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}
STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}
COMPRESSION = {"p": "pglz", "l": "lz4"}
