"""How a plan is told: to a person, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.color import Style

from fltr_project.backup.directory import last_proven
from fltr_project.rebuild import consent
from fltr_project.rebuild.plan import Plan
from fltr_project.words import counted, noun

from .backups import age, size


def lines(
    plans: Sequence[Plan], directory: Path, half_done: Mapping[str, str], token: str, style: Style
) -> Iterator[str]:
    """Everything that --plan shows of the databases that one operation is about."""
    for plan in plans:
        yield from plan_lines(plan, directory, style)
        if len(plans) > 1:
            yield ""
    for sentence in half_done.values():
        yield style.WARNING(sentence)
    minutes = consent.VALID_FOR.total_seconds() / 60
    yield f"Token: {token} (for {minutes:.0f} minutes, or until something changes)"
    yield "Nothing has changed."


def plan_lines(plan: Plan, directory: Path, style: Style) -> Iterator[str]:
    """What emptying the database would take, keep and need, a line each."""
    target = plan.target
    mark = f"marked {target.environment}" if target.environment else "not marked"
    protected = "protected" if consent.is_protected(plan) else "not protected"
    yield f"Emptying schema public of {target}, as {target.role}, would take:"
    yield f"  (system identifier {target.system_identifier}; {mark}, so {protected})"
    for rows in plan.rows:
        number = f"{'' if rows.exact else 'about '}{rows.count:,}"
        yield f"  {number:>15} {noun(rows.count, 'rows'):<4}  {rows.table}"
    for kind, count in plan.other_objects.items():
        yield f"  {count:>15,} {noun(count, kind)}"
    yield f"  {plan.summary}, {size(plan.bytes)} in all"
    yield "It would keep:"
    if plan.extensions:
        yield f"  extensions {', '.join(plan.extensions)}"
    for name in plan.published.schema:
        yield f"  publication {name} of the whole schema"
    if plan.published.tables:
        members = ", ".join(map(str, plan.published.tables))
        yield f"  members of publications, where migrations make them again: {members}"
    for name, function in plan.event_triggers:
        yield f"  event trigger {name} with its function {function}"
    large = plan.large_objects
    known = f", {size(large.bytes)}" if large.bytes is not None else ""
    yield f"  {counted(large.count, 'large objects')}{known}, of the database and not of the schema"
    yield "  owner, grants, default privileges and comment of the schema"
    if plan.returns:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in plan.returns.items())
        yield f"  what hangs on what migrations make again: {kinds}"
    yield from _losses(plan, style)
    locks = plan.locks
    yield (
        f"Locks: {locks.set_aside:,} to set aside, {locks.purge:,} in a batch of the purge, "
        f"{locks.dump:,} for the backup, of {locks.guaranteed:,} guaranteed ({locks.taken:,} taken); "
        f"DROP SCHEMA would take {locks.drop:,}."
    )
    yield f"Other sessions on the database: {plan.sessions}."
    for session in plan.at_work:
        yield style.WARNING(f"At work on the schema: {session}.")
    proven = last_proven(directory, target.alias)
    last = f"One there came back {age(proven)}." if proven else "None there is proven to come back."
    yield f"Backup: into {directory}, before anything is touched. {last}"
    for migration in plan.unatomic:
        yield style.WARNING(
            f"Migration {migration} has atomic = False: nuke_schema and migrate, not clean_slate."
        )
    for trigger in plan.firing:
        yield style.WARNING(f"Event trigger {trigger} runs on it.")
    for dependant in plan.dependants:
        yield style.WARNING(f"In the way: {dependant} hangs on it from outside.")
    for thing in plan.held_by:
        yield style.WARNING(
            f"The schema stays, because {target.role} cannot carry over {thing}; what is in it is moved one by "
            "one, and readers wait for the commit."
        )
    for thing in plan.immovable:
        yield style.WARNING(f"In the way: {thing}, which {target.role} cannot carry over.")
    if not plan.permitted:
        yield style.WARNING(f"In the way: {target.role} does not own the schema.")
    for waiting in plan.waiting:
        yield f"An earlier schema waits for --undo or --purge: {waiting.name}"


def _losses(plan: Plan, style: Style) -> Iterator[str]:
    """What does not come back with the migrations, and what comes back as the contract has it."""
    if plan.losses:
        yield "It would not come back, because it is not the contract's:"
    for loss in plan.losses:
        rows = "" if loss.rows is None else f" with {counted(loss.rows, 'rows')}"
        reason = f" ({loss.reason})" if loss.reason else ""
        yield style.WARNING(f"  {loss.kind}: {loss.object}{rows}{reason}")
    if plan.changes:
        yield "It would be as the contract says:"
    for change in plan.changes:
        yield style.WARNING(f"  {change}")


def plan_json(plan: Plan, directory: Path) -> dict[str, Any]:
    return {
        "database": plan.target.as_json(),
        "protected": consent.is_protected(plan),
        "permitted": plan.permitted,
        "tables": [
            {"table": rows.table, "rows": rows.count, "exact": rows.exact} for rows in plan.rows
        ],
        "rows": plan.all_rows,
        "product_rows": plan.product_rows,
        "bytes": plan.bytes,
        "other_objects": plan.other_objects,
        "extensions": list(plan.extensions),
        "publications": {
            "schema": list(plan.published.schema),
            "tables": [str(member) for member in plan.published.tables],
        },
        "event_triggers": [name for name, _ in plan.event_triggers],
        "firing": [str(each) for each in plan.firing],
        "large_objects": asdict(plan.large_objects),
        "dependants": list(plan.dependants),
        "held_by": list(plan.held_by),
        "immovable": list(plan.immovable),
        "put_back": plan.returns,
        "losses": [asdict(loss) for loss in plan.losses],
        "changes": list(plan.changes),
        "sessions": plan.sessions,
        "at_work": [str(session) for session in plan.at_work],
        "locks": asdict(plan.locks),
        "unatomic_migrations": list(plan.unatomic),
        "backup_directory": str(directory),
        "last_proven_at": last_proven(directory, plan.target.alias),
        "waiting": [waiting.name for waiting in plan.waiting],
    }
