"""What stands in the way of a change: taken down before it and put back as it was, or the change is not offered.

Views and what is built on them, functions with a parsed body, policies, triggers, defaults and publications
hold on to a column's type or to a function. The server drops them only with CASCADE, which loses them. Read-only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from fltr_project.postgres import locks
from fltr_project.postgres.search_path import pinned

from .portraits import PAINTERS, Portrait
from .repair import Repair
from .statement import Stage, Statement, Thing, ordered

# A thing of a catalog: its name and the thing's oid.
type Node = tuple[str, int]


@dataclass(frozen=True)
class Way:
    """What stands in the way of changing a thing, what is nearest to it first."""

    portraits: tuple[Portrait, ...]

    @property
    def obstacle(self) -> str:
        return next(
            (f"{each.described} {each.obstacle}" for each in self.portraits if each.obstacle), ""
        )


def cleared(connection: BaseDatabaseWrapper, repairs: Sequence[Repair]) -> list[Repair]:
    """The repairs with what they take down and put back; without statements where that cannot be done.

    Reads the catalogs only where a repair disturbs something. Raises django.db.Error.
    """
    things = {each.disturbs for repair in repairs for each in repair.statements if each.disturbs}
    if not things:
        return list(repairs)
    alone = connection.get_autocommit()
    with pinned(connection) as cursor:
        if alone:
            locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        ways = {thing: _way(cursor, thing) for thing in things}
    own = frozenset(each.sql for repair in repairs for each in repair.statements)
    return [_cleared(repair, ways, own) for repair in repairs]


def _cleared(repair: Repair, ways: dict[Thing, Way], own: frozenset[str]) -> Repair:
    statements = list(repair.statements)
    for statement in repair.statements:
        way = ways[statement.disturbs] if statement.disturbs else None
        if way is None or not way.portraits:
            continue
        obstacle = way.obstacle
        if statement.disturbs and statement.disturbs.kind == "constraint":
            obstacle = f"{way.portraits[0].described} needs it"
        if obstacle:
            return Repair((), f"{obstacle}. Take it down and put it back by hand.")
        statements += _down_and_back(way, statement, own)
    return Repair(ordered(statements))


def _down_and_back(way: Way, disturbing: Statement, own: frozenset[str]) -> Iterator[Statement]:
    for depth, portrait in enumerate(way.portraits, 1):
        down = Statement(
            Stage.TAKE_DOWN, portrait.drop, disturbing.hazards, place=-depth, drop=portrait.drop
        )
        yield down
        # A default of the contract comes with its column.
        subject, word, _ = portrait.made.partition(" SET DEFAULT ")
        if word and any(sql.startswith((subject + word, f"{subject} DROP DEFAULT")) for sql in own):
            continue
        for sql in (portrait.made, *portrait.given):
            yield replace(down, stage=Stage.PUT_BACK, sql=sql, place=depth)


def _way(cursor: CursorWrapper, thing: Thing) -> Way:
    cursor.execute(START[thing.kind], [thing.name, thing.part])
    start = cursor.fetchone()
    if start is None:
        return Way(())
    catalog, oid, part = start
    found: dict[Node, int] = {}
    parents: dict[Node, Node] = {}
    level: list[tuple[str, int, int]] = [(catalog, oid, part)]
    # As deep as the longest chain of what is built on each other.
    depth = 0
    strange: list[Portrait] = []
    while level:
        depth += 1
        following = []
        for each in level:
            cursor.execute(DEPENDANTS, {"catalog": each[0], "oid": each[1], "part": each[2]})
            for catalog, oid, parent, described, handled, of_extension in cursor.fetchall():
                if not handled or of_extension:
                    why = "is of an extension" if of_extension else "is in the way"
                    strange.append(Portrait(described, "", "", (), why))
                    continue
                found[catalog, oid] = depth
                parents[catalog, oid] = ("pg_class", parent)
                following.append((catalog, oid, 0))
        level = following
    # The rules and triggers of a view go and come with it.
    own = {node for node, parent in parents.items() if parent in found}
    nodes = sorted(found.keys() - own, key=lambda node: (found[node], node))
    return Way((*(PAINTERS[catalog](cursor, oid) for catalog, oid in nodes), *strange))


# What a repair disturbs, by kind: its catalog, its oid and the number of a column.
START = {
    "column": """
        SELECT 'pg_class', attrelid::bigint, attnum::int FROM pg_attribute
        WHERE attrelid = to_regclass(format('public.%%I', %s::text)) AND attname = %s
    """,
    "function": """
        SELECT 'pg_proc', oid::bigint, 0 FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proname = %s
          AND pg_get_function_identity_arguments(oid) = %s
    """,
    "constraint": """
        SELECT 'pg_constraint', oid::bigint, 0 FROM pg_constraint
        WHERE conrelid = to_regclass(format('public.%%I', %s::text)) AND conname = %s
    """,
    "view": """
        SELECT 'pg_class', oid::bigint, 0 FROM pg_class
        WHERE oid = to_regclass(format('public.%%I', %s::text)) AND %s = ''
    """,
}
# The things that hold on to one: a view for its rule, and for its row type whatever uses that. What the server
# itself changes along with a column (indexes, constraints, statistics, the column's own default) is left out.
DEPENDANTS = """
    WITH changed AS (
        SELECT %(catalog)s::text::regclass AS refclassid, %(oid)s::oid AS refobjid, %(part)s::int AS part
        UNION ALL
        SELECT 'pg_type'::regclass, t.oid, 0 FROM pg_type r JOIN pg_type t ON t.oid IN (r.oid, r.typarray)
        WHERE %(catalog)s::text = 'pg_class' AND %(part)s = 0 AND r.typrelid = %(oid)s::oid
    ),
    holding AS (
        SELECT DISTINCT d.classid, d.objid, d.objsubid, c.refclassid, c.part
        FROM changed c JOIN pg_depend d ON d.refclassid = c.refclassid AND d.refobjid = c.refobjid
            AND (c.part = 0 OR d.refobjsubid = c.part)
        WHERE d.deptype IN ('n', 'a')
          AND NOT (d.deptype = 'a' AND c.refclassid = 'pg_class'::regclass AND c.part = 0)
          AND NOT (c.part <> 0 AND d.classid IN ('pg_constraint'::regclass,
                   'pg_class'::regclass, 'pg_statistic_ext'::regclass))
          AND NOT (d.classid = 'pg_attrdef'::regclass AND c.part <> 0 AND EXISTS (
                   SELECT FROM pg_attrdef a WHERE a.oid = d.objid AND a.adnum = c.part
                   AND a.adrelid = %(oid)s::oid))
          AND NOT (d.classid = 'pg_trigger'::regclass AND EXISTS (
                   SELECT FROM pg_trigger t WHERE t.oid = d.objid AND t.tgisinternal))
          AND NOT (d.classid = 'pg_constraint'::regclass AND c.refclassid = 'pg_constraint'::regclass)
    ),
    named AS (
        -- A view depends by its rule; the others by themselves.
        SELECT CASE WHEN r.rulename = '_RETURN' THEN 'pg_class'::regclass ELSE h.classid END AS classid,
               CASE WHEN r.rulename = '_RETURN' THEN r.ev_class ELSE h.objid END AS objid,
               h.objsubid
        FROM holding h
        LEFT JOIN pg_rewrite r ON h.classid = 'pg_rewrite'::regclass AND r.oid = h.objid
    )
    SELECT DISTINCT n.classid::regclass::text, n.objid::bigint,
           coalesce((SELECT r.ev_class FROM pg_rewrite r WHERE n.classid = r.tableoid AND r.oid = n.objid),
                    (SELECT t.tgrelid FROM pg_trigger t WHERE n.classid = t.tableoid AND t.oid = n.objid),
                    0)::bigint,
           pg_describe_object(n.classid, n.objid, n.objsubid),
           n.objsubid = 0 AND (n.classid IN ('pg_proc'::regclass, 'pg_policy'::regclass,
               'pg_trigger'::regclass, 'pg_rewrite'::regclass, 'pg_attrdef'::regclass,
               'pg_publication_rel'::regclass)
           OR n.classid = 'pg_class'::regclass AND EXISTS (
               SELECT FROM pg_class c WHERE c.oid = n.objid AND c.relkind IN ('v', 'm'))),
           EXISTS (SELECT FROM pg_depend e WHERE e.classid = n.classid AND e.objid = n.objid
                   AND e.deptype = 'e')
    FROM named n
    WHERE NOT (n.classid = %(catalog)s::text::regclass AND n.objid = %(oid)s::oid)
    ORDER BY 1, 2
"""
