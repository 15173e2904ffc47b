"""The guards that the contract lists for the credit tables, each with a check of its own.

A guard must stand in the live catalog as in the contract, enabled and valid, and must refuse the
write that it is there for, with its SQLSTATE. So whatever guard is missing, the check of that guard
fails, and no other. ``proofs`` says what each has to refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from django.db import Error as DatabaseError
from django.db import connections, transaction
from psycopg import errors, sql

from auth_app import ledger
from fltr_project.catalog import contract
from fltr_project.catalog.facts import (
    Catalog,
    Check,
    Column,
    DisabledTrigger,
    Fact,
    ForeignKey,
    Index,
    Key,
    Trigger,
)

from . import proofs
from .context import LABEL, Live, NotChecked, Wrong, expect, refused

# Where rows of a user are, and by which column.
OWNED = {
    "teams": "owner_id",
    "user_credits": "user_id",
    "api_key_credits": "user_id",
    "credit_transactions": "user_id",
}


def credit_tables(catalog: Catalog) -> set[str]:
    """The tables of credits, those with a balance, and those that their rows hang on."""
    named = {
        fact.table
        for fact in catalog.of(Column)
        if fact.name == "credits" or "credit" in fact.table
    }
    targets = {fact.target for fact in catalog.of(ForeignKey) if fact.table in named}
    return named | {target.removeprefix("public.") for target in targets}


def present(live: Live, fact: Fact) -> None:
    """The live catalog holds what the contract's fact does, not less: enabled, valid, enforced."""
    if fact.table not in live.catalog.tables:
        raise Wrong(f"{fact.object} is missing, with its table")
    finding = live.faults.get(fact)
    if finding is not None:
        what = (
            f"is {finding.found}, and has to be {finding.expected}"
            if finding.found
            else "is missing"
        )
        raise Wrong(f"{fact.object} {what}")


def _check_constraint(fact: Check, live: Live) -> str:
    present(live, fact)
    row = proofs.bad_row(fact.table, fact.name, fact.expression, live)
    if row is None:
        raise NotChecked(
            f"it is there, but no row is known that {fact.expression} refuses; name one in "
            "BAD_ROWS of auth_app/smoke/proofs.py"
        )
    insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier("public", fact.table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(sql.Placeholder() * len(row)),
    )
    try:
        with transaction.atomic(using=live.using), connections[live.using].cursor() as cursor:
            cursor.execute(insert, list(row.values()))
    except DatabaseError as error:
        cause = error.__cause__
        if isinstance(cause, errors.CheckViolation):
            refused_by = cause.diag.constraint_name
            if refused_by == fact.name or refused_by not in _check_names():
                return "23514"
        raise NotChecked(
            f"it is there, but something else refuses the row that breaks it first ({error}); name "
            "another row in BAD_ROWS of auth_app/smoke/proofs.py"
        ) from error
    raise Wrong("a row that breaks it is accepted")


def _check_names() -> set[str]:
    return {fact.name for fact in contract.load("auth").of(Check)}


def _trigger(fact: Trigger, live: Live) -> str:
    present(live, fact)
    if fact.name not in proofs.TRIGGERS:
        raise NotChecked(
            "it is there and enabled, but what it does is not tried; give it a function in TRIGGERS "
            "of auth_app/smoke/proofs.py"
        )
    return proofs.TRIGGERS[fact.name](fact, live)


def _unique_idempotency(fact: Key, live: Live) -> str:
    present(live, fact)
    user_id = live.user()
    # Of a pool, whoever writes the row: two users.
    payer, second, team_id, api_key = "user", user_id, None, None
    if "(team_id, " in fact.definition:
        payer, second, team_id = "team", live.user(), live.team(user_id)
    elif "(api_key_id, " in fact.definition:
        payer, second, api_key = "api_key", live.user(), LABEL
    with refused(live, "23505", "a second row with the same idempotency key"):
        for each in (user_id, second):
            live.execute(
                "INSERT INTO public.credit_transactions"
                " (user_id, amount, type, idempotency_key, payer, team_id, api_key_id)"
                " VALUES (%s, 1, 'bonus', 'smoke', %s, %s, %s)",
                *(each, payer, team_id, api_key),
            )
    return "23505"


def _present_key(fact: Key, live: Live) -> str:
    present(live, fact)
    return "there and valid"


def _indexes(facts: Sequence[Index], live: Live) -> str:
    for fact in facts:
        present(live, fact)
    return f"{len(facts)} there and valid"


def _foreign_keys(facts: Sequence[ForeignKey], live: Live) -> str:
    for fact in facts:
        present(live, fact)
    if off := live.catalog.of(DisabledTrigger):
        raise Wrong(f"{off[0].object} are not enforced")
    with refused(live, "23503", "a transaction of nobody"):
        live.execute(
            "INSERT INTO public.credit_transactions (user_id, amount, type)"
            " VALUES ('smoke_credits-nobody', 1, 'bonus')"
        )
    owner, member = live.user(10), live.user(10)
    team_id = live.team(owner, 10)
    live.key(owner, 10)
    live.execute("UPDATE public.user_credits SET team_id = %s WHERE user_id = %s", team_id, owner)
    ledger.grant(member, 5, operation=LABEL, using=live.using)
    live.execute(
        "INSERT INTO public.credit_transactions (user_id, amount, type, team_id)"
        " VALUES (%s, 1, 'bonus', %s)",
        *(member, team_id),
    )
    live.execute("DELETE FROM public.users WHERE id = %s", owner)
    live.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table, column in OWNED.items():
        left = live.value(
            f"SELECT count(*) FROM public.{table} WHERE {column} = %s",  # noqa: S608
            owner,
        )
        expect(f"the number of {table} rows of a deleted user", left, 0)
    left = live.value(
        "SELECT count(*) FROM public.credit_transactions WHERE user_id = %s AND team_id IS NOT NULL",
        member,
    )
    expect("the number of another user's rows that name the deleted team", left, 0)
    return f"{len(facts)} there and enforced; deleting a user and a team works"


def guards() -> dict[str, Callable[[Live], str]]:
    """The checks by name, from the contract's checks, keys, triggers, indexes and foreign keys."""
    catalog = contract.load("auth")
    tables = credit_tables(catalog)
    facts = [fact for fact in catalog.facts if fact.table in tables]
    checks: dict[str, Callable[[Live], str]] = {}
    for fact in facts:
        if isinstance(fact, Trigger):
            checks[f"trigger {fact.name}"] = partial(_trigger, fact)
        elif isinstance(fact, Check):
            checks[f"check {fact.name}"] = partial(_check_constraint, fact)
        elif isinstance(fact, Key):
            unique = "idempotency_key" in fact.definition
            checks[f"key {fact.name}"] = partial(
                _unique_idempotency if unique else _present_key, fact
            )
    indexes = [fact for fact in facts if isinstance(fact, Index)]
    foreign_keys = [fact for fact in facts if isinstance(fact, ForeignKey)]
    checks["indexes"] = partial(_indexes, indexes)
    checks["foreign keys"] = partial(_foreign_keys, foreign_keys)
    return checks
