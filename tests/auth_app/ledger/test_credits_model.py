"""Random schedules against a ledger that fits on a page.

CREDIT_SCHEDULES sets how many (default 100).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from auth_app import ledger
from auth_app.ledger import reconcile
from auth_app.models import ApiKeyCredits, Team, User

SCHEDULES = int(os.environ.get("CREDIT_SCHEDULES", "100"))
PAYERS: dict[str, dict[str, str]] = {
    "user": {},
    "team": {"team_id": "team"},
    "api_key": {"api_key": "key"},
}
DAILY, MONTHLY = 40, 60
# What the team and the key have at first.
POOLS = 50
HOUR = timedelta(hours=1)
WAYS = (
    *("consume", "consume", "grant", "refund", "renew", "hold", "hold", "hold briefly"),
    *("settle", "settle", "overage", "release"),
)


@dataclass
class Usage:
    payer: str
    amount: int
    left: int


@dataclass
class Held:
    payer: str
    amount: int
    expired: bool
    # open, settled, released or expired; what it was settled with, and the balance then.
    state: str = "open"
    used: int = 0
    balance: int = 0


@dataclass
class Model:
    """What the ledger promises, without a database. Each method gives the outcome and the balance."""

    balances: dict[str, int]
    keys: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    usages: list[Usage] = field(default_factory=list)
    spent: int = 0
    holds: list[Held] = field(default_factory=list)

    def change(self, op: tuple[Any, ...]) -> tuple[Any, ...]:
        name, payer, amount, key, _ = op
        if name in {"settle", "overage", "release"}:
            if not self.holds:
                return ("HoldEnded",)
            return self.end(name, self.holds[op[4] % len(self.holds)], amount)
        # How long a hold lasts is not what it is.
        request = (name.split()[0], payer, amount)
        if name == "refund":
            if not self.usages:
                return ("NothingToRefund",)
            index = op[4] % len(self.usages)
            request = (name, index, amount)
        if key in self.keys:
            *known, balance = self.keys[key]
            return ("replayed", balance) if tuple(known) == request else ("KeyReused",)
        if name in {"consume", "hold", "hold briefly"} and self.refused(payer, amount):
            self.give_back(payer)
        outcome = getattr(self, name.replace(" ", "_"))(
            payer if name != "refund" else index, amount, op[4]
        )
        if key and outcome[0] == "done":
            self.keys[key] = (*request, outcome[1])
        return tuple(outcome)

    def refused(self, payer: str, amount: int) -> str | None:
        if payer == "api_key" and amount > min(DAILY, MONTHLY) - self.spent:
            return "LimitReached"
        return "InsufficientCredits" if self.balances[payer] < amount else None

    def give_back(self, payer: str, but: Held | None = None) -> None:
        for hold in self.holds:
            if hold.payer == payer and hold.expired and hold.state == "open" and hold is not but:
                hold.state = "expired"
                self.move(payer, hold.amount)

    def move(self, payer: str, amount: int) -> int:
        self.balances[payer] += amount
        self.spent -= amount if payer == "api_key" else 0
        return self.balances[payer]

    def hold(self, payer: str, amount: int, _: int, expired: bool = False) -> tuple[Any, ...]:
        if refusal := self.refused(payer, amount):
            return (refusal,)
        self.holds.append(Held(payer, amount, expired))
        return ("done", self.move(payer, -amount))

    def hold_briefly(self, payer: str, amount: int, extra: int) -> tuple[Any, ...]:
        return self.hold(payer, amount, extra, expired=True)

    def end(self, name: str, hold: Held, used: int) -> tuple[Any, ...]:
        used = 0 if name == "release" else used
        if name == "overage" and used > hold.amount:
            self.give_back(hold.payer, but=hold)
        if hold.state == "settled" and name != "release" and hold.used == used:
            return ("replayed", hold.balance)
        if hold.state in {"released", "expired"} and name == "release":
            return ("replayed",)
        if hold.state != "open":
            return ("HoldEnded", hold.state)
        if name == "settle" and used > hold.amount:
            return ("HoldExceeded",)
        charged = min(used, hold.amount)
        room = self.balances[hold.payer]
        if hold.payer == "api_key":
            room = min(room, min(DAILY, MONTHLY) - self.spent)
        charged += max(0, min(used - charged, room))
        hold.balance = self.move(hold.payer, hold.amount - charged)
        hold.state = "released" if name == "release" else "settled"
        hold.used = used
        if charged:
            self.usages.append(Usage(hold.payer, charged, charged))
        if name == "release":
            return ("done",)
        return ("done", charged, used - charged, hold.balance)

    def consume(self, payer: str, amount: int, _: int) -> tuple[Any, ...]:
        if refusal := self.refused(payer, amount):
            return (refusal,)
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
    holds: list[str] = field(default_factory=list)

    def change(self, op: tuple[Any, ...]) -> tuple[Any, ...]:
        name, payer, amount, key, extra = op
        options: dict[str, Any] = {**PAYERS[payer], "idempotency_key": key}
        try:
            if name in {"settle", "overage", "release"}:
                return self.end(name, amount, extra)
            if name.startswith("hold"):
                expires = timedelta(microseconds=1) if name == "hold briefly" else HOUR
                hold = ledger.hold(
                    self.user_id, amount, operation="h", expires_in=expires, **options
                )
                if not hold.replayed:
                    self.holds.append(hold.id)
                return ("replayed" if hold.replayed else "done", hold.balance_after)
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
        except ledger.HoldEnded as ended:
            return ("HoldEnded", ended.state)
        except ledger.CreditError as error:
            return (type(error).__name__,)
        return ("replayed" if entry.replayed else "done", entry.balance_after)

    def end(self, name: str, used: int, extra: int) -> tuple[Any, ...]:
        if not self.holds:
            return ("HoldEnded",)
        hold = self.holds[extra % len(self.holds)]
        if name == "release":
            return ("replayed" if ledger.release(hold).replayed else "done",)
        settled = ledger.settle(hold, used, overage=name == "overage")
        if settled.replayed:
            return ("replayed", settled.balance_after)
        if settled.id:
            self.used.append(settled.id)
        return ("done", settled.charged, settled.uncharged, settled.balance_after)


operations = st.tuples(
    st.sampled_from(WAYS),
    st.sampled_from(list(PAYERS)),
    st.integers(1, 30),
    st.none() | st.none() | st.sampled_from("abc"),
    st.integers(0, 50),
).filter(lambda op: op[0] != "renew" or op[1] != "api_key")


@pytest.mark.django_db(databases=["auth"])
@settings(max_examples=SCHEDULES, deadline=None)
@given(schedule=st.lists(operations, min_size=10, max_size=40))
def test_the_database_agrees_with_the_model(schedule: list[tuple[Any, ...]]) -> None:
    with transaction.atomic(using="auth"):
        user = User.objects.create(id="u", name="U", email="u@example.invalid")
        Team.objects.create(id="team", name="T", owner=user)
        ApiKeyCredits.objects.create(
            api_key="key", user=user, daily_limit=DAILY, monthly_limit=MONTHLY
        )
        ledger.grant("u", POOLS, operation="fill", team_id="team")
        ledger.grant("u", POOLS, operation="fill", api_key="key")
        model, real = Model({"user": 100, "team": POOLS, "api_key": POOLS}), Real("u")
        for op in schedule:
            assert (op, real.change(op)) == (op, model.change(op))
        assert {
            payer: ledger.balance("u", **options) for payer, options in PAYERS.items()
        } == model.balances
        assert list(reconcile.drifts()) == []
        assert _chain_breaks() == 0
        held = sum(hold.amount for hold in model.holds if hold.state == "open")
        assert ledger.usage_summary("u").held == held
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
