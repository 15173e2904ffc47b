"""Prove on a live database that sign-up, spending and refusing work, and leave no trace.

Everything happens inside one transaction that is rolled back, each check in a savepoint with a user
of its own, so that a check that fails says so and the others still run.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import IntegrityError, connections, transaction
from psycopg import sql

from fltr_project.postgres import locks, settings_of_database

from . import credits as ledger
from .models import CreditTransaction, User, UserCredits

# Tables a user's rows are in, which all must be empty of them once the user is deleted.
CHILDREN = ("sessions", "accounts", "user_credits", "credit_transactions", "api_key_credits")
DEFAULT_BONUS = 100


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    # What was seen, or what is wrong.
    detail: str
    milliseconds: int


@dataclass(frozen=True)
class Smoke:
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def detail(self) -> str:
        if self.ok:
            return f"{len(self.checks)} credit checks passed"
        return "; ".join(f"{check.name}: {check.detail}" for check in self.checks if not check.ok)


class _Wrong(Exception):
    """A check saw something else than it must."""


def run(using: str = "auth") -> Smoke:
    """Run every check on database ``using``; one transaction, rolled back whatever happens.

    Inside an open transaction it is a savepoint of that. Raises django.db.Error only when the
    connection breaks.
    """
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            locks.limit_waiting(cursor, locks.LOCK_TIMEOUT, locks.STATEMENT_TIMEOUT)
        checks = tuple(_check(name, function, using) for name, function in CHECKS.items())
        transaction.set_rollback(True, using=using)
    return Smoke(checks)


def _check(name: str, function: Callable[[str], str], using: str) -> Check:
    start, ok = time.perf_counter(), False
    try:
        with transaction.atomic(using=using):
            detail = function(using)
            # A foreign key of Django's is checked at the commit, which never comes here.
            with connections[using].cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            ok = True
            transaction.set_rollback(True, using=using)
    except _Wrong as wrong:
        detail = str(wrong)
    except (DatabaseError, ledger.CreditError) as error:
        if connections[using].connection is None or connections[using].connection.closed:
            raise
        detail = " ".join(str(error).split())
    return Check(name, ok, detail, round((time.perf_counter() - start) * 1000))


def _expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise _Wrong(f"{what} is {found}, expected {expected}")


def _bonus(using: str) -> int:
    stored = settings_of_database.get(connections[using], "fltr.signup_bonus_credits")
    return int(stored) if stored is not None else DEFAULT_BONUS


def _email() -> str:
    return f"smoke-{uuid.uuid4()}@example.invalid"


def _raw_user(using: str) -> str:
    """A user as a foreign client makes one: the two columns that have no default."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "INSERT INTO public.users (name, email) VALUES (%s, %s) RETURNING id",
            ["Smoke", _email()],
        )
        return str(cursor.fetchone()[0])


def _expect_account(user_id: str, using: str) -> str:
    bonus = _bonus(using)
    accounts = UserCredits.objects.using(using).filter(user_id=user_id)
    _expect("the number of user_credits rows", accounts.count(), 1)
    _expect("the balance", accounts.get().credits, bonus)
    entries = CreditTransaction.objects.using(using).filter(user_id=user_id)
    _expect(
        "the ledger",
        [(entry.type, entry.amount) for entry in entries],
        [("bonus", bonus)] if bonus else [],
    )
    return f"one account with {bonus} credits" + (" and one bonus row" if bonus else "")


def _trigger(using: str) -> str:
    return _expect_account(_raw_user(using), using)


def _signal(using: str) -> str:
    user = User.objects.using(using).create(name="Smoke", email=_email())
    return _expect_account(user.pk, using) + ", not two"


def _consume(using: str) -> str:
    user_id = _raw_user(using)
    before = ledger.balance(user_id, using=using)
    ledger.grant(user_id, 50, operation="smoke", using=using)
    entry = ledger.consume(user_id, 30, operation="smoke", using=using)
    _expect("the balance after the consume", entry.balance_after, before + 20)
    _expect("the stored balance", ledger.balance(user_id, using=using), before + 20)
    amounts = CreditTransaction.objects.using(using).filter(user_id=user_id).values_list("amount")
    _expect("the sum of the ledger", sum(amount for (amount,) in amounts), before + 20)
    return f"{before} + 50 - 30 = {before + 20}, and the ledger adds up"


def _refuse(using: str) -> str:
    user_id = _raw_user(using)
    before = ledger.balance(user_id, using=using)
    try:
        ledger.consume(user_id, before + 1, operation="smoke", using=using)
    except ledger.InsufficientCredits:
        pass
    else:
        raise _Wrong(f"{before + 1} credits of {before} were spent")
    _expect("the balance after the refusal", ledger.balance(user_id, using=using), before)
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            cursor.execute(
                "UPDATE public.user_credits SET credits = -1 WHERE user_id = %s", [user_id]
            )
    except IntegrityError:
        return f"{before + 1} of {before} refused, and so is a negative balance by raw SQL"
    raise _Wrong("raw SQL made a balance negative")


def _refund(using: str) -> str:
    user_id = _raw_user(using)
    ledger.grant(user_id, 10, operation="smoke", using=using)
    before = ledger.balance(user_id, using=using)
    used = ledger.consume(user_id, 10, operation="smoke", using=using)
    _expect(
        "the balance after the refund", ledger.refund(used.id, using=using).balance_after, before
    )
    try:
        ledger.refund(used.id, using=using)
    except ledger.NothingToRefund:
        return "10 spent, 10 given back, a second refund refused"
    raise _Wrong("the same usage was refunded twice")


def _cascade(using: str) -> str:
    user_id = _raw_user(using)
    with connections[using].cursor() as cursor:
        cursor.execute(
            """
            WITH team AS (
                INSERT INTO public.teams (name, owner_id) VALUES ('Smoke', %(user)s) RETURNING id
            ), session AS (
                INSERT INTO public.sessions (user_id, token, expires_at)
                VALUES (%(user)s, gen_random_uuid()::text, timezone('utc', now()))
            ), account AS (
                INSERT INTO public.accounts (user_id, account_id, provider_id)
                VALUES (%(user)s, 'smoke', 'smoke')
            ), key AS (
                INSERT INTO public.api_key_credits (api_key, user_id)
                VALUES (gen_random_uuid()::text, %(user)s)
            )
            UPDATE public.user_credits SET team_id = team.id FROM team WHERE user_id = %(user)s
            """,
            {"user": user_id},
        )
        cursor.execute("DELETE FROM public.users WHERE id = %s", [user_id])
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        children = (("teams", "owner_id"), *((table, "user_id") for table in CHILDREN))
        cursor.execute(
            sql.SQL(" UNION ALL ").join(
                sql.SQL("SELECT {}, count(*) FROM {} WHERE {} = {}").format(
                    sql.Literal(table),
                    sql.Identifier("public", table),
                    sql.Identifier(column),
                    sql.Literal(user_id),
                )
                for table, column in children
            )
        )
        left = {table: count for table, count in cursor.fetchall() if count}
    _expect("what is left of a deleted user", left, {})
    return f"a deleted user leaves nothing in {len(children)} tables"


CHECKS: dict[str, Callable[[str], str]] = {
    "sign-up by raw SQL": _trigger,
    "sign-up by the ORM": _signal,
    "consume": _consume,
    "refuse": _refuse,
    "refund": _refund,
    "cascade": _cascade,
}
