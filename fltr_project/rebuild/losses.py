"""What a rebuild puts back of all that others have made or hung on the schema, and what it cannot.

The migrations make what the contract says. The rest of what is in schema ``public`` does not come back; what hangs on objects that
do come back is put back, as far as this role may and as far as what it refers to is there again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from fltr_project.catalog import contract, granting
from fltr_project.catalog.facts import (
    TRACKING_TABLES,
    Catalog,
    Check,
    Column,
    Fact,
    ForeignKey,
    Function,
    Index,
    Key,
    Other,
    Rule,
    Sequence,
    Table,
    Trigger,
    Type,
)
from fltr_project.catalog.read import read
from fltr_project.drift.compare import Difference, Severity, differences
from fltr_project.postgres.search_path import pinned

from . import attachments, references, schema_properties
from .attachments import Attachment, Names
from .schema_properties import SCHEMA, PublishedTable

# What --accept-loss names: the kinds of things, and of what hangs on them.
VIEWS = attachments.VIEWS
PUBLICATIONS = "publications"
GRANTORS = "grantors"
SECURITY_LABELS = "security labels"
# Of the contract's kinds, those that somebody can have made besides.
MADE: dict[type[Fact], str] = {
    Type: "types",
    Sequence: "sequences",
    Function: "functions",
    Table: "tables",
    Column: "columns",
    Key: "keys",
    Check: "checks",
    ForeignKey: "foreign keys",
    Index: "indexes",
    Trigger: "triggers",
    Rule: "rules",
    Other: "other objects",
}
KINDS = (
    *MADE.values(),
    VIEWS,
    attachments.OWNERS,
    attachments.POLICIES,
    attachments.STATISTICS,
    GRANTORS,
    PUBLICATIONS,
    SECURITY_LABELS,
)
# These are kept beside the schema, and statistics hang on tables.
ELSEWHERE = ("event trigger", "statistics object", "publication namespace")


@dataclass(frozen=True)
class Loss:
    """One thing that will not come back."""

    kind: str
    object: str
    # Of a table that others have made.
    rows: int | None = None
    # Empty where it is not the contract's.
    reason: str = ""


@dataclass(frozen=True)
class Judged:
    """What is put back and what is not."""

    returns: tuple[Attachment, ...]
    names: Names
    losses: tuple[Loss, ...]
    # What comes back as the contract has it, which is not as it is.
    changes: tuple[str, ...]
    # Roles whose rights a migration makes by itself (``granting``).
    passed_over: frozenset[str]


def judge(
    connection: BaseDatabaseWrapper, alias: str, rows: Mapping[str, int] | None = None
) -> Judged:
    """What a rebuild of schema ``public`` puts back and what it loses. Read-only, in the caller's transaction.

    ``rows`` are the numbers of rows by table.
    """
    expected = contract.load(alias)
    found = read(connection, contract.tables(alias))
    different = differences(expected, found)
    with pinned(connection) as cursor:
        views = _views(different)
        broken = references.broken(cursor, expected, views)
        names = attachments.of_contract(
            alias, (view for view in views if ("VIEW", (view,)) not in broken)
        )
        there = attachments.read(cursor, names)
        passed_over = frozenset(granting.remembered(cursor))
        returns, lost = _possible(cursor, there.attachments, broken)
        losses = [
            *_made(different, found, expected, views, broken, rows or {}),
            *lost,
            *_unpublished(cursor, expected),
            *_labels(cursor),
        ]
    order = {kind: place for place, kind in enumerate(KINDS)}
    return Judged(
        returns,
        names,
        tuple(sorted(losses, key=lambda each: (order[each.kind], each.object))),
        tuple(_changes(different)),
        passed_over,
    )


def to_remember(judged: Judged, role: str) -> tuple[Attachment, ...]:
    """What of it has to be written down until migrations have made the objects: what is not as usual. Pure.

    ``role`` is whoever empties the schema, and mostly owns everything.
    """
    return tuple(
        each
        for each in judged.returns
        if not (each.kind == attachments.OWNERS and each.value == role)
        and not (each.kind == attachments.GRANTS and _is_usual(each, judged.passed_over))
    )


def _is_usual(each: Attachment, passed_over: frozenset[str]) -> bool:
    """Whether an access list is as the migrations make it, which let nobody else execute a function."""
    owner = each.value["owner"]
    if each.value.get("defaults"):
        return False
    if each.type == "ROUTINE":
        rights = [
            entry for entry in each.value["entries"] or () if entry[1] not in {"", *passed_over}
        ]
        return rights == [[owner, owner, "EXECUTE", False]]
    return not each.value["touched"]


def told(judged: Judged, role: str) -> dict[str, int]:
    """How many of each kind are put back, that are not as usual. Pure."""
    return dict(Counter(each.kind for each in to_remember(judged, role)))


def _views(different: Iterable[Difference]) -> tuple[str, ...]:
    return tuple(
        each.have.table
        for each in different
        if each.want is None and isinstance(each.have, Table) and each.have.is_view
    )


def _made(
    different: Iterable[Difference],
    found: Catalog,
    expected: Catalog,
    views: tuple[str, ...],
    broken: Mapping[tuple[str, tuple[str, ...]], str],
    rows: Mapping[str, int],
) -> Iterator[Loss]:
    """What others have made."""
    for table in found.tracking_tables:
        if table not in {"django_migrations", *expected.tables}:
            yield Loss("tables", table, rows.get(table))
    returning = {view for view in views if ("VIEW", (view,)) not in broken}
    for each in different:
        have = each.have
        if each.want is not None or have is None or type(have) not in MADE:
            continue
        if isinstance(have, Other) and have.type in ELSEWHERE:
            continue
        if isinstance(have, Table) and have.is_view:
            if have.table not in returning:
                reason = broken[("VIEW", (have.table,))]
                yield Loss(
                    VIEWS, f"{have.type} {have.table}", reason=f"it reads {reason}, which will not"
                )
            continue
        if isinstance(have, Index) and have.table in returning:
            continue
        yield Loss(
            MADE[type(have)],
            have.object,
            rows.get(have.table) if isinstance(have, Table) else None,
        )


def _possible(
    cursor: CursorWrapper,
    hanging: tuple[Attachment, ...],
    broken: Mapping[tuple[str, tuple[str, ...]], str],
) -> tuple[tuple[Attachment, ...], list[Loss]]:
    """What can be put back, as it can be, and what is lost of it."""
    roles = {
        role
        for each in hanging
        if each.kind in {attachments.OWNERS, attachments.GRANTS}
        for role in _acting(each)
    }
    cursor.execute(ROLES, [sorted(roles)])
    rights = {role: (may_act, may_own) for role, may_act, may_own in cursor.fetchall()}
    returns, losses = [], []
    for each in hanging:
        refers = each.kind in {attachments.POLICIES, attachments.STATISTICS}
        if refers and (reason := broken.get((each.type, each.name))):
            losses.append(
                Loss(each.kind, each.object, reason=f"it refers to {reason}, which will not")
            )
            continue
        if each.kind == attachments.OWNERS and not all(rights.get(each.value, (False, False))):
            losses.append(
                Loss(
                    each.kind, each.object, reason=f"of {each.value}, as whom this role may not act"
                )
            )
            continue
        if each.kind == attachments.GRANTS:
            each, grantors = _granted_here(each, rights)
            losses += grantors
        returns.append(each)
    return tuple(returns), losses


def _acting(each: Attachment) -> Iterator[str]:
    if each.kind == attachments.OWNERS:
        yield each.value
        return
    for grantor, *_ in each.value["entries"] or ():
        yield grantor


def _granted_here(
    each: Attachment, rights: Mapping[str, tuple[bool, bool]]
) -> tuple[Attachment, list[Loss]]:
    """The access list with the owner in place of the grantors as whom this role may not act."""
    value, losses, entries = each.value, [], []
    for grantor, grantee, privilege, grantable in value["entries"] or ():
        if grantor != value["owner"] and not rights.get(grantor, (False, False))[0]:
            what = f"{privilege} on {each.object} to {grantee or 'PUBLIC'}"
            losses.append(
                Loss(GRANTORS, what, reason=f"granted by {grantor}, and then by the owner")
            )
            grantor = value["owner"]
        entries.append([grantor, grantee, privilege, grantable])
    return replace(each, value={**value, "entries": entries}), losses


def _unpublished(cursor: CursorWrapper, expected: Catalog) -> Iterator[Loss]:
    """The tables of publications that will not be there."""
    for member in schema_properties.published(cursor, SCHEMA).tables:
        if reason := not_published(member, expected):
            yield Loss(PUBLICATIONS, str(member), reason=reason)


def not_published(member: PublishedTable, expected: Catalog) -> str | None:
    """Why a table will be in its publication no more; None when it will be. Pure."""
    if member.table not in {*expected.tables, *TRACKING_TABLES}:
        return "the table is not the contract's"
    columns = {each.name for each in expected.of(Column) if each.table == member.table}
    if missing := sorted(set(member.columns or ()) - columns):
        return f"column {missing[0]} is not the contract's"
    return None


def _labels(cursor: CursorWrapper) -> Iterator[Loss]:
    cursor.execute(LABELS)
    for provider, what in cursor.fetchall():
        yield Loss(SECURITY_LABELS, what, reason=f"of {provider}")


def _changes(different: Iterable[Difference]) -> Iterator[str]:
    """What is otherwise than the contract says and will be as it says; rights and names aside."""
    for each in different:
        have, finding = each.have, each.finding
        if each.want is None or have is None or finding.severity is Severity.NOTE:
            continue
        if type(have) in MADE:
            yield f"{have.kind} {have.object}: {finding.found} becomes {finding.expected}"


ROLES = """
    SELECT r.rolname,
           pg_has_role(r.oid, CASE WHEN current_setting('server_version_num')::int >= 160000
                              THEN 'SET' ELSE 'MEMBER' END),
           has_schema_privilege(r.oid, 'public', 'CREATE')
           OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    FROM pg_roles r WHERE r.rolname = ANY (%s)
"""
LABELS = """
    SELECT l.provider, i.type || ' ' || i.identity
    FROM pg_seclabel l, pg_identify_object(l.classoid, l.objoid, l.objsubid) i
    WHERE i.schema = 'public' OR i.type = 'table column' AND i.identity LIKE 'public.%%'
"""
