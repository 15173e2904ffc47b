"""When a nuke is refused. Pure: a plan and what the operator said go in, an exception comes out."""

from __future__ import annotations

from collections.abc import Sequence

from fltr_project.errors import CannotRun, Refused
from fltr_project.words import counted

from . import plan_token
from .plan import Plan

# Marks under which a database may be emptied with no more than --no-input.
FREE = frozenset({"development", "test"})
ENVIRONMENTS = ("development", "test", "staging", "production")


def require_possible(plan: Plan, *, rebuilds: bool = True) -> None:
    """Raise CannotRun or Refused when the nuke could not be done, or not without collateral loss.

    ``rebuilds`` says that migrations make the tables again in the same transaction, so that they
    can go back into the publications that they were in.
    """
    target = plan.target
    if target.read_only:
        raise CannotRun(
            f"The connection to {target} is read-only. Connect to the primary server, as a role "
            "without default_transaction_read_only."
        )
    if not plan.permitted:
        raise CannotRun(
            f"Role {target.role!r} may not replace schema public of {target}. "
            f"Connect as the owner of database {target.database!r}."
        )
    if plan.immovable:
        raise CannotRun(
            f"Role {target.role!r} cannot carry over what hangs on schema public of {target}: "
            f"{_some(plan.immovable)}. Connect as that role or as a superuser, or have it moved "
            "to another schema once."
        )
    if plan.dependants:
        raise Refused(
            f"Guard 'dependants': what is outside schema public of {target} hangs on it and would be "
            f"lost: {_some(plan.dependants)}. Drop it, or move what it uses to another schema, "
            "then run this again."
        )
    if plan.published.tables and not rebuilds:
        members = [str(member) for member in plan.published.tables]
        raise Refused(
            f"Guard 'publications': publications of {target} carry tables that would be gone, so "
            f"replication would stop in silence: {_some(members)}. Use `clean_slate`, which puts "
            "the new tables in their place, or drop the tables from the publications."
        )


def require_backup(plan: Plan) -> None:
    """Raise Refused: a protected database is never emptied without a backup."""
    if is_protected(plan):
        raise Refused(
            f"Guard 'backup': {plan.target} {why_protected(plan)}, so --no-backup is not allowed. "
            "Leave it out; --backup-dir names another place for the backup."
        )


def require_rebuildable(plan: Plan) -> None:
    """Raise CannotRun for a migration of this database that runs outside a transaction."""
    if plan.unatomic:
        raise CannotRun(
            f"These migrations have atomic = False, so {plan.target.database} cannot be rebuilt in "
            f"one transaction: {', '.join(plan.unatomic)}. Use `nuke_schema` and then `migrate`."
        )


def is_protected(plan: Plan) -> bool:
    """Whether the database counts as production: marked so, or unmarked with rows in it."""
    environment = plan.target.environment
    return environment not in FREE if environment else plan.product_rows > 0


def require_known_names(plans: Sequence[Plan], confirmed: Sequence[str]) -> None:
    """Raise Refused when a name given with --confirm is not that of a database about to be emptied."""
    names = [plan.target.database for plan in plans]
    for name in confirmed:
        if name not in names:
            raise Refused(
                f"Guard 'confirm': --confirm {name!r} does not name what this is about, which is "
                f"{' and '.join(names)}. Check which server the database URLs reach."
            )


def names_to_ask(
    plans: Sequence[Plan],
    confirmed: Sequence[str],
    token: str | None,
    *,
    interactive: bool,
    terminal: bool,
    needs_token: bool = True,
    counts_unmarked: bool = False,
    look: str = plan_token.HERE,
) -> tuple[Plan, ...]:
    """The plans whose database name the operator has yet to type; empty when all is consented.

    Raises Refused by the guard that says no: what was given must be right even where it was not
    needed, nobody is asked without a terminal, and a protected database wants its name and a token.
    With ``counts_unmarked`` a database without a mark is protected even when it is empty. ``look``
    is the command that prints the token, one for all the plans together.
    """
    require_known_names(plans, confirmed)
    if token is not None:
        plan_token.require_valid(token, plans, look)
    protected = [
        plan
        for plan in plans
        if is_protected(plan) or (counts_unmarked and plan.target.environment is None)
    ]
    unnamed = tuple(plan for plan in plans if plan.target.database not in confirmed)
    add = "".join(f" --confirm {plan.target.database}" for plan in protected)
    lacks_token = bool(protected) and needs_token and token is None
    if lacks_token:
        add += f" --token T, where T is the token that {look} prints"
    why = " and ".join(f"{plan.target} {why_protected(plan)}" for plan in protected)
    if interactive and unnamed and not terminal:
        raise Refused(f"Guard 'terminal': there is no terminal to ask on. Add --no-input{add}.")
    if not interactive and any(plan in unnamed for plan in protected):
        # Without a plan of its own it is mark_environment itself, or a restore over what is there.
        unmarked = look == plan_token.HERE and not all(p.target.environment for p in protected)
        mark = (
            " If this is no production database, `manage.py mark_environment development` says so "
            "once and for all."
        )
        raise Refused(
            f"Guard 'environment': {why}, so --no-input alone is not enough. Add{add}."
            + (mark if unmarked else "")
        )
    if lacks_token:
        raise Refused(
            f"Guard 'token': {why}, so a look at what would be lost comes first. Add --token T, "
            f"where T is the token that {look} prints."
        )
    return unnamed if interactive else ()


def why_protected(plan: Plan) -> str:
    """What a protected database is or holds, as it stands after its name."""
    if plan.target.environment:
        return f"is marked {plan.target.environment}"
    rows = counted(plan.product_rows, "rows", exact=plan.is_exact)
    return f"is not marked as anything and holds {rows} in the product's tables"


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
