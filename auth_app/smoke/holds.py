"""What `smoke_credits` checks of holds: settled, released, given back at their expiry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from auth_app import ledger

from .context import LABEL, Live, expect, raises, refused


def _holds(live: Live) -> str:
    user_id = live.user(100)

    def hold(amount: int, seconds: float = 60, **payer: str) -> ledger.Hold:
        return ledger.hold(
            user_id,
            amount,
            operation=LABEL,
            expires_in=timedelta(seconds=seconds),
            using=live.using,
            **payer,
        )

    held = hold(50)
    expect("the balance with 50 of 100 held", ledger.balance(user_id, using=live.using), 50)
    with raises(live, ledger.HoldExceeded, "a settlement with 51 of 50"):
        ledger.settle(held, 51, using=live.using)
    with raises(live, ledger.NothingToRefund, "a refund of a hold"):
        ledger.refund(held.id, 1, using=live.using)
    for replayed in (False, True):
        settled = ledger.settle(held, 37, using=live.using)
        expect(
            "a settlement with 37 of 50",
            (settled.charged, settled.balance_after, settled.replayed),
            (37, 63, replayed),
        )
    with refused(live, "LC009", "a settlement with another amount"):
        live.execute("SELECT public.settle_credits(%s, 36)", held.id)
    with refused(live, "LC009", "a release of a settled hold"):
        live.execute("SELECT public.release_credits(%s)", held.id)
    held = hold(60)
    settled = ledger.settle(held, 70, overage=True, using=live.using)
    expect("70 of 60 held and 3 more", settled[3:6], (63, 7, 0))
    ledger.grant(user_id, 10, operation=LABEL, using=live.using)
    for replayed in (False, True):
        held = held if replayed else hold(10)
        released = ledger.release(held, using=live.using)
        expect("a release", (released.balance_after, released.replayed), (10, replayed))
    with refused(live, "LC009", "a settlement of a released hold"):
        live.execute("SELECT public.settle_credits(%s, 1)", held.id)
    key = live.key(user_id, 20, daily=10)
    held = hold(8, api_key=key)
    ledger.settle(held, 1, using=live.using)
    ledger.release(hold(9, api_key=key), using=live.using)
    return "50 held, 37 settled, 13 back; more, twice and otherwise: refused"


def _expired_holds(live: Live) -> str:
    user_id = live.user(10)
    payers: list[dict[str, str]] = [
        {},
        {"team_id": live.team(user_id, 10)},
        {"api_key": live.key(user_id, 10)},
    ]
    for payer in payers:
        held = expired_hold(live, user_id, 9, **payer)
        spend = ledger.Spend(user_id, 9, LABEL, **payer)
        (decision,) = ledger.consume_many([spend], using=live.using)
        expect("the verdict of 9 with 9 of 10 expired", decision.verdict, "done")
        back = live.value(
            "SELECT sum(amount) FROM public.credit_transactions WHERE refund_of = %s", held.id
        )
        expect("what was given back of them", back, 9)
    return "given back to the next that needs it: a user, a team and an API key"


def expired_hold(live: Live, user_id: str, amount: int, **payer: str) -> ledger.Hold:
    return ledger.hold(
        user_id,
        amount,
        operation=LABEL,
        expires_in=timedelta(microseconds=1),
        using=live.using,
        **payer,
    )


CHECKS: dict[str, Callable[[Live], str]] = {
    "holds": _holds,
    "expired holds": _expired_holds,
}
