"""What the checks of `smoke_credits` work with: throw-away users, and words for what they expect."""

from __future__ import annotations

import re
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

from fltr_project.postgres import settings_of_database
from fltr_project.schema import contract
from fltr_project.schema.compare import Finding, Severity, differences
from fltr_project.schema.facts import Catalog, Fact
from fltr_project.words import counted

from . import credits as ledger

# Whoever finds one of these users knows where it is from; .invalid is nobody's domain (RFC 2606).
MARK = "smoke_credits"
EMAIL = f"{MARK}-%@example.invalid"
DEFAULT_BONUS = 100


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
        return ledger.consume(self.spender, 5, operation=MARK, using=self.using).id

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

    def prepare(self) -> None:
        """Make what checks share."""
        _ = self.usage

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
            ledger.consume(user_id, held - credits_, operation=MARK, using=self.using)
        elif credits_ > held:
            ledger.grant(user_id, credits_ - held, operation=MARK, using=self.using)
        return user_id

    def team(self, owner: str, credits_: int = 0) -> str:
        team_id: str = self.value(
            "INSERT INTO public.teams (name, owner_id) VALUES (%s, %s) RETURNING id", MARK, owner
        )
        if credits_:
            ledger.grant(owner, credits_, team_id=team_id, operation=MARK, using=self.using)
        return team_id

    def key(self, owner: str, credits_: int = 0, **limits: int) -> str:
        key: str = self.value(
            "INSERT INTO public.api_key_credits (api_key, user_id, daily_limit, monthly_limit)"
            " VALUES (%s, %s, %s, %s) RETURNING api_key",
            *(f"{MARK}-{uuid.uuid4()}", owner, limits.get("daily"), limits.get("monthly")),
        )
        if credits_:
            ledger.grant(owner, credits_, api_key=key, operation=MARK, using=self.using)
        return key


def raw_user(live: Live, address: str | None = None) -> str:
    """A user as a foreign client makes one: the two columns that have no default."""
    return str(
        live.value(
            "INSERT INTO public.users (name, email) VALUES (%s, %s) RETURNING id",
            *(MARK, address or email()),
        )
    )


def email() -> str:
    return EMAIL.replace("%", str(uuid.uuid4()))


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
    stored = settings_of_database.get(connections[live.using], "fltr.signup_bonus_credits")
    wanted = settings.SIGNUP_BONUS_CREDITS
    if wanted is not None and stored != str(wanted):
        raise Wrong(
            f"new users get what fltr.signup_bonus_credits of the database says, {stored or 'nothing'}, "
            f"and SIGNUP_BONUS_CREDITS says {wanted}: run `manage.py migrate --database {live.using}`"
        )
    # As the trigger reads it: what is no amount is no setting.
    usable = stored is not None and re.fullmatch(r"[0-9]{1,10}", stored) and int(stored) < 2**31
    bonus = int(stored) if stored is not None and usable else DEFAULT_BONUS
    accounts = live.execute("SELECT credits FROM public.user_credits WHERE user_id = %s", user_id)
    expect("the user_credits rows of a new user", accounts, [(bonus,)])
    entries = live.execute(
        "SELECT type, amount FROM public.credit_transactions WHERE user_id = %s", user_id
    )
    expect("the ledger of a new user", entries, [("bonus", bonus)] if bonus else [])
    return f"one account with {counted(bonus, 'credits')}" + (" and one bonus row" if bonus else "")
