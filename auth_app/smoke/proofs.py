"""What each guard of the credit tables has to refuse: the one place where a new guard gets its proof.

A check whose condition is simple (``credits >= 0``, ``type = ANY ('{...}')``, ``note IS NOT NULL``,
or several of these joined by AND) needs nothing here: the row that breaks it is derived. Any other
check has an entry in BAD_ROWS, and a trigger has a function in TRIGGERS. What has neither is named by
`smoke_credits` as not checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from auth_app import ledger
from fltr_project.catalog.facts import Trigger

from . import marked
from .context import LABEL, Live, expect, expect_account, raw_user, refused

# By table, a row that every guard accepts; bad rows differ from it in the columns that they name.
GOOD_ROWS: dict[str, Callable[[Live], dict[str, Any]]] = {
    "users": lambda live: {"name": LABEL, "email": marked.new_address(LABEL)},
    # The user has an account, but a row's checks come before the primary key.
    "user_credits": lambda live: {"user_id": live.spender},
    "teams": lambda live: {"name": LABEL, "owner_id": live.spender},
    "api_key_credits": lambda live: {"api_key": f"{LABEL}-bad", "user_id": live.spender},
    "credit_transactions": lambda live: {"user_id": live.spender, "amount": 5, "type": "bonus"},
}

# By the check's name in the contract, the columns of a row that it alone refuses.
BAD_ROWS: dict[str, Callable[[Live], dict[str, Any]]] = {
    "credit_transactions_amount_type_check": lambda live: {"type": "usage"},
    "credit_transactions_payer_api_key_id_check": lambda live: {"payer": "api_key"},
    "credit_transactions_held_until_type_check": lambda live: {"held_until": "2000-01-01"},
    # A link that is no refund; the trigger that limits refunds lets it pass to the check.
    "credit_transactions_refund_of_type_check": lambda live: {
        "amount": 1,
        "refund_of": live.usage,
    },
}


def bad_row(table: str, check: str, expression: str, live: Live) -> dict[str, Any] | None:
    """The columns and values of a row that the check refuses; None if nobody has named one."""
    if table not in GOOD_ROWS:
        return None
    if check in BAD_ROWS:
        return {**GOOD_ROWS[table](live), **BAD_ROWS[check](live)}
    breaks = derived(expression)
    return None if breaks is None else {**GOOD_ROWS[table](live), **breaks}


_COMPARISON = re.compile(r"(\w+) (>=|<=|<>|=|>|<) (-?\d+)")
_ONE_OF = re.compile(r"(\w+) = ANY \((?:'\{.*\}'::\w+\[\]|ARRAY\[.*\])\)")
_NOT_EMPTY = re.compile(r"(\w+) (?:>|<>) ''::text")
_NOT_NULL = re.compile(r"(\w+) IS NOT NULL")
# What a value has to be to break a comparison with a whole number, relative to that number.
_BREAKING = {">=": -1, ">": 0, "<=": 1, "<": 0, "=": 1, "<>": 0}
_NEGATED = {">=": "<", ">": "<=", "<=": ">", "<": ">=", "=": "<>", "<>": "="}


def derived(expression: str) -> dict[str, Any] | None:
    """The column and value that break a simple condition of the catalog; None for any other."""
    # Conditions joined by AND are broken by breaking one.
    condition, *others = _inner(expression).split(") AND (")
    condition = condition.removeprefix("(") if others else condition
    negated = re.fullmatch(r"NOT \(([^()]*)\)", condition)
    condition = negated.group(1) if negated else condition
    if match := _COMPARISON.fullmatch(condition):
        column, operator, number = match.groups()
        return {column: int(number) + _BREAKING[_NEGATED[operator] if negated else operator]}
    if negated:
        return None
    if match := _ONE_OF.fullmatch(condition):
        return {match.group(1): LABEL}
    if match := _NOT_EMPTY.fullmatch(condition):
        return {match.group(1): ""}
    if match := _NOT_NULL.fullmatch(condition):
        return {match.group(1): None}
    return None


def _inner(expression: str) -> str:
    """Without the parentheses that the catalog puts around a condition."""
    return expression[1:-1] if expression.startswith("(") else expression


def _signs_up(fact: Trigger, live: Live) -> str:
    return expect_account(live, raw_user(live))


def _keeps_history(fact: Trigger, live: Live) -> str:
    user_id = live.user(10)
    used = ledger.consume(user_id, 1, operation=LABEL, using=live.using)
    for statement in (
        "UPDATE public.credit_transactions SET amount = -2 WHERE id = %s",
        "UPDATE public.credit_transactions SET team_id = NULL, operation = '' WHERE id = %s",
        "DELETE FROM public.credit_transactions WHERE id = %s",
    ):
        with refused(live, "LC006", statement.partition(" WHERE")[0]):
            live.execute(statement, used.id)
    team_id = live.team(user_id, 1)
    with refused(live, "LC006", "taking a row from its team"):
        live.execute(
            "UPDATE public.credit_transactions SET team_id = NULL WHERE team_id = %s", team_id
        )
    return "UPDATE and DELETE: LC006"


def _keeps_key(fact: Trigger, live: Live) -> str:
    rows = {
        "users_keep_id": ("users", "id", live.spender),
        # Nothing names it, so that no foreign key refuses it before.
        "teams_keep_id": ("teams", "id", live.team(live.spender)),
        "api_key_credits_keep_api_key": ("api_key_credits", "api_key", live.key(live.spender)),
    }
    table, column, key = rows[fact.name]
    with refused(live, "LC006", f"another {column} of {table}"):
        live.execute(
            f"UPDATE public.{table} SET {column} = %s WHERE {column} = %s",  # noqa: S608
            *(f"{LABEL}-moved", key),
        )
    return "LC006"


def _keeps_pools(fact: Trigger, live: Live) -> str:
    member = live.user()
    team_id = live.team(live.spender, 10)
    live.execute("UPDATE public.user_credits SET team_id = %s WHERE user_id = %s", team_id, member)
    ledger.consume(member, 4, operation=LABEL, team_id=team_id, using=live.using)
    live.execute("DELETE FROM public.users WHERE id = %s", member)
    kept = live.execute(
        "SELECT user_id, amount FROM public.credit_transactions"
        " WHERE team_id = %s AND operation = 'departure'",
        team_id,
    )
    expect("what a team's ledger keeps of a member's 4 credits", kept, [(live.spender, -4)])
    return "a member leaves, the team's ledger adds up"


def _in_turn(fact: Trigger, live: Live) -> str:
    # It makes sessions wait for each other, and this is one.
    return "there and enabled"


def _keeps_all(fact: Trigger, live: Live) -> str:
    # Trying TRUNCATE would lock the table for everybody.
    return "there and enabled for every session"


def _limits_refunds(fact: Trigger, live: Live) -> str:
    user_id = live.user(10)
    used = ledger.consume(user_id, 5, operation=LABEL, using=live.using)
    ledger.refund(used.id, 3, using=live.using)
    with refused(live, "LC005", "a raw refund above the usage"):
        live.execute(
            "INSERT INTO public.credit_transactions (user_id, amount, type, refund_of)"
            " VALUES (%s, 3, 'refund', %s)",
            *(user_id, used.id),
        )
    held = ledger.hold(user_id, 5, operation=LABEL, using=live.using)
    for amount, until, what in (
        (5, None, "a raw refund that does not say that it ends the hold"),
        (4, held.held_until.replace(tzinfo=None), "a raw end of a hold that keeps some of it"),
    ):
        with refused(live, "LC005", what):
            live.execute(
                "INSERT INTO public.credit_transactions"
                " (user_id, amount, type, refund_of, held_until) VALUES (%s, %s, 'refund', %s, %s)",
                *(user_id, amount, held.id, until),
            )
    return "a raw refund of 3 of the 2 that are left, and of a hold: LC005"


# By the trigger's name, a function that lets it act, raises Wrong where it does not do its work, and
# returns what was seen.
TRIGGERS: dict[str, Callable[[Trigger, Live], str]] = {
    "users_open_credit_account": _signs_up,
    "credit_transactions_keep_history": _keeps_history,
    "credit_transactions_keep_all": _keeps_all,
    "credit_transactions_limit_refund": _limits_refunds,
    "users_keep_id": _keeps_key,
    "teams_keep_id": _keeps_key,
    "api_key_credits_keep_api_key": _keeps_key,
    "users_leave_pools": _keeps_pools,
    "users_delete_in_turn": _in_turn,
}
