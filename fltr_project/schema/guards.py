"""When a nuke is refused. Pure: a plan and what the operator said go in, an exception comes out."""

from __future__ import annotations

from collections.abc import Sequence

from fltr_project.errors import CannotRun, Refused

from .plan import Plan

# Marks under which a database may be emptied with no more than --no-input.
FREE = frozenset({"development", "test"})


def require_possible(plan: Plan) -> None:
    """Raise CannotRun or Refused when the nuke could not be done, or not without collateral loss."""
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
    if plan.dependants:
        raise Refused(
            f"Guard 'dependants': {len(plan.dependants)} things outside schema public of {target} "
            f"hang on it and would be lost: {_some(plan.dependants)}. Drop them, or move what they "
            "use to another schema, then run this again."
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
                f"Guard 'confirm': --confirm {name!r} does not name what would be emptied, which is "
                f"{' and '.join(names)}. Check which server the database URLs reach."
            )


def require_consent(plan: Plan, confirmed: Sequence[str]) -> None:
    """Raise Refused when the database is protected and its name was not confirmed."""
    target = plan.target
    if not is_protected(plan) or target.database in confirmed:
        return
    why = (
        f"is marked {target.environment}"
        if target.environment
        else f"is not marked as anything and holds {plan.product_rows:,} rows"
    )
    raise Refused(
        f"Guard 'environment': {target} {why}, so --no-input alone does not empty it. "
        f"Add --confirm {target.database}, or mark it: "
        f"ALTER DATABASE {target.database} SET fltr.environment = 'development'."
    )


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
