"""What the checks of `smoke_credits` work with: throw-away users, and words for what they expect."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connections, transaction

from auth_app import bonus as signup_bonus
from auth_app import ledger
from fltr_project.catalog import contract
from fltr_project.catalog.facts import Catalog, Fact, Function
from fltr_project.drift.compare import Finding, Severity, differences
from fltr_project.words import counted

from . import marked

LABEL = marked.RACE


class Wrong(Exception):
    """A check saw something else than it must."""


class NotChecked(Exception):
    """A check could not be made, which is no failure."""


@dataclass(frozen=True)
class Live:
    using: str
    catalog: Catalog
    consumes: int

    @cached_property
    def spender(self) -> str:
        """A user with credits that checks share which change nothing of theirs."""
        return self.user(10)

    @cached_property
    def usage(self) -> str:
        """The id of a consume of ``spender``."""
        return ledger.consume(self.spender, 5, operation=LABEL, using=self.using).id

    @cached_property
    def faults(self) -> dict[Fact, Finding]:
        """The contract's facts that the live catalog lacks or has with another effect.

        As verify_schema judges it: the same in other words or by another name is no fault.
        """
        return {
            each.want: each.finding
            for each in differences(contract.load("auth"), self.catalog)
            if each.want and (each.have is None or each.finding.severity is Severity.ERROR)
        }

    @property
    def overloads(self) -> list[Function]:
        """Functions with the name of one of the contract's and other arguments."""
        contracts = contract.load("auth").of(Function)
        known = {function.identity for function in contracts}
        names = {function.name for function in contracts}
        return [
            function
            for function in self.catalog.of(Function)
            if function.name in names and function.identity not in known
        ]

    def prepare(self) -> None:
        """Make what checks share."""
        _ = self.usage

    def query(self, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        with connections[self.using].cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with connections[self.using].cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *parameters: Any) -> Any:
        return self.execute(statement, *parameters)[0][0]

    def user(self, credits_: int = 0, address: str | None = None) -> str:
        """A user with an account of so many credits, whether or not the sign-up trigger works."""
        user_id = raw_user(self, address)
        self.execute(
            "SELECT public.open_credit_account(%s)"
            " WHERE NOT EXISTS (SELECT FROM public.user_credits WHERE user_id = %s)",
            *(user_id, user_id),
        )
        held = ledger.balance(user_id, using=self.using)
        if credits_ < held:
            ledger.consume(user_id, held - credits_, operation=LABEL, using=self.using)
        elif credits_ > held:
            ledger.grant(user_id, credits_ - held, operation=LABEL, using=self.using)
        return user_id

    def team(self, owner: str, credits_: int = 0) -> str:
        team_id: str = self.value(
            "INSERT INTO public.teams (name, owner_id) VALUES (%s, %s) RETURNING id", LABEL, owner
        )
        if credits_:
            ledger.grant(owner, credits_, team_id=team_id, operation=LABEL, using=self.using)
        return team_id

    def key(self, owner: str, credits_: int = 0, **limits: int) -> str:
        key: str = self.value(
            "INSERT INTO public.api_key_credits (api_key, user_id, daily_limit, monthly_limit)"
            " VALUES (%s, %s, %s, %s) RETURNING api_key",
            *(f"{LABEL}-{uuid.uuid4()}", owner, limits.get("daily"), limits.get("monthly")),
        )
        if credits_:
            ledger.grant(owner, credits_, api_key=key, operation=LABEL, using=self.using)
        return key


def raw_user(live: Live, address: str | None = None) -> str:
    """A user as a foreign client makes one: the two columns that have no default."""
    return str(
        live.value(
            "INSERT INTO public.users (name, email) VALUES (%s, %s) RETURNING id",
            *(LABEL, address or marked.new_address(LABEL)),
        )
    )


def expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Wrong(f"{what} is {found}, expected {expected}")


@contextmanager
def refused(live: Live, sqlstate: str, what: str) -> Iterator[None]:
    """The block has to fail with that SQLSTATE, deferred constraints included."""
    try:
        with transaction.atomic(using=live.using):
            yield
            live.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except DatabaseError as error:
        cause = error.__cause__
        found = cause.sqlstate if isinstance(cause, psycopg.Error) else None
        if found != sqlstate:
            raise Wrong(f"{what} is refused with {found}, expected {sqlstate}: {error}") from error
        return
    raise Wrong(f"{what} is accepted")


def expect_account(live: Live, user_id: str) -> str:
    bonus = signup_bonus.stored(connections[live.using])
    wanted = settings.SIGNUP_BONUS_CREDITS
    if wanted is not None and bonus != wanted:
        raise Wrong(
            f"new users get what signup_bonus_credits() says, {'nothing' if bonus is None else bonus}, "
            f"and SIGNUP_BONUS_CREDITS says {wanted}: run `manage.py migrate --database {live.using}`"
        )
    if bonus is None:
        raise Wrong("signup_bonus_credits() is not a number, so nothing says what new users get")
    accounts = live.execute("SELECT credits FROM public.user_credits WHERE user_id = %s", user_id)
    expect("the user_credits rows of a new user", accounts, [(bonus,)])
    entries = live.execute(
        "SELECT type, amount FROM public.credit_transactions WHERE user_id = %s", user_id
    )
    expect("the ledger of a new user", entries, [("bonus", bonus)] if bonus else [])
    return f"one account with {counted(bonus, 'credits')}" + (" and one bonus row" if bonus else "")


@contextmanager
def raises(live: Live, error: type[ledger.CreditError], what: str) -> Iterator[None]:
    try:
        with transaction.atomic(using=live.using):
            yield
    except error:
        return
    raise Wrong(f"{what} is accepted")


def consume(live: Live, user_id: str, amount: int, **options: Any) -> int | None:
    entry = ledger.consume(user_id, amount, operation=LABEL, using=live.using, **options)
    return entry.balance_after
