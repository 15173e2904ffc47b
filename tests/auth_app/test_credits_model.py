"""Random schedules against a ledger that fits on a page.

CREDIT_SCHEDULES sets how many (default 100).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connections, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from auth_app import credits as ledger
from auth_app import reconcile
from auth_app.models import ApiKeyCredits, Team, User

SCHEDULES = int(os.environ.get("CREDIT_SCHEDULES", "100"))
PAYERS: dict[str, dict[str, str]] = {
    "user": {},
    "team": {"team_id": "team"},
    "api_key": {"api_key": "key"},
}
DAILY, MONTHLY = 40, 60


@dataclass
class Usage:
    payer: str
    amount: int
    left: int


@dataclass
class Model:
    """What the ledger promises, without a database. Each method gives the outcome and the balance."""

    balances: dict[str, int]
    keys: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    usages: list[Usage] = field(default_factory=list)
    spent: int = 0

    def change(self, op: tuple[Any, ...]) -> tuple[Any, ...]:
        name, payer, amount, key, _ = op
        request = (name, payer, amount)
        if name == "refund":
            if not self.usages:
                return ("NothingToRefund",)
            index = op[4] % len(self.usages)
            request = (name, index, amount)
        if key in self.keys:
            *known, balance = self.keys[key]
            return ("replayed", balance) if tuple(known) == request else ("KeyReused",)
        outcome = getattr(self, name)(payer if name != "refund" else index, amount, op[4])
        if key and outcome[0] == "done":
            self.keys[key] = (*request, outcome[1])
        return tuple(outcome)

    def consume(self, payer: str, amount: int, _: int) -> tuple[Any, ...]:
        if payer == "api_key" and amount > min(DAILY, MONTHLY) - self.spent:
            return ("LimitReached",)
        if self.balances[payer] < amount:
            return ("InsufficientCredits",)
        self.balances[payer] -= amount
        self.spent += amount if payer == "api_key" else 0
        self.usages.append(Usage(payer, amount, amount))
        return ("done", self.balances[payer])

    def grant(self, payer: str, amount: int, _: int) -> tuple[Any, ...]:
        self.balances[payer] += amount
        return ("done", self.balances[payer])

    def renew(self, payer: str, amount: int, extra: int) -> tuple[Any, ...]:
        before = self.balances[payer]
        self.balances[payer] = max(before, min(before + amount, amount + extra))
        return ("done", self.balances[payer])

    def refund(self, index: int, amount: int, _: int) -> tuple[Any, ...]:
        usage = self.usages[index]
        if usage.left < amount:
            return ("NothingToRefund",)
        usage.left -= amount
        self.balances[usage.payer] += amount
        self.spent -= amount if usage.payer == "api_key" else 0
        return ("done", self.balances[usage.payer])


@dataclass
class Real:
    """The same calls on the database."""

    user_id: str
    used: list[str] = field(default_factory=list)

    def change(self, op: tuple[Any, ...]) -> tuple[Any, ...]:
        name, payer, amount, key, extra = op
        options = {**PAYERS[payer], "idempotency_key": key}
        try:
            if name == "consume":
                entry = ledger.consume(self.user_id, amount, operation="q", **options)
                if not entry.replayed:
                    self.used.append(entry.id)
            elif name == "grant":
                entry = ledger.grant(self.user_id, amount, operation="g", **options)
            elif name == "renew":
                entry = ledger.renew(self.user_id, amount, limit=amount + extra, **options)
            elif not self.used:
                return ("NothingToRefund",)
            else:
                used = self.used[extra % len(self.used)]
                entry = ledger.refund(used, amount, idempotency_key=key)
        except ledger.CreditError as error:
            return (type(error).__name__,)
        return ("replayed" if entry.replayed else "done", entry.balance_after)


operations = st.tuples(
    st.sampled_from(["consume", "consume", "grant", "refund", "renew"]),
    st.sampled_from(list(PAYERS)),
    st.integers(1, 30),
    st.none() | st.sampled_from("abc"),
    st.integers(0, 50),
).filter(lambda op: op[0] != "renew" or op[1] != "api_key")


@pytest.mark.django_db(databases=["auth"])
@settings(max_examples=SCHEDULES, deadline=None)
@given(schedule=st.lists(operations, max_size=25))
def test_the_database_agrees_with_the_model(schedule: list[tuple[Any, ...]]) -> None:
    with transaction.atomic(using="auth"):
        user = User.objects.create(id="u", name="U", email="u@example.invalid")
        Team.objects.create(id="team", name="T", owner=user)
        ApiKeyCredits.objects.create(
            api_key="key", user=user, daily_limit=DAILY, monthly_limit=MONTHLY
        )
        model, real = Model({"user": 100, "team": 0, "api_key": 0}), Real("u")
        for op in schedule:
            assert (op, real.change(op)) == (op, model.change(op))
        assert {
            payer: ledger.balance("u", **options) for payer, options in PAYERS.items()
        } == model.balances
        assert list(reconcile.drifts()) == []
        assert _chain_breaks() == 0
        transaction.set_rollback(True, using="auth")


def _chain_breaks() -> int:
    """Rows whose balance_after is not the sum of their account's rows up to them."""
    with connections["auth"].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT balance_after, sum(amount) OVER ("
            "PARTITION BY payer ORDER BY id) AS running FROM public.credit_transactions) r"
            " WHERE balance_after <> running"
        )
        return int(cursor.fetchone()[0])
