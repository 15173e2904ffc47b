"""What `smoke_credits` checks of credits that come and go back: grants, refunds, reversals."""

from __future__ import annotations

from collections.abc import Callable

from auth_app import ledger

from .context import LABEL, Live, consume, expect, raises, refused


def _overflow(live: Live) -> str:
    user_id = live.user(10)
    with raises(live, ledger.BalanceOverflow, "a purchase past the largest balance"):
        ledger.grant(user_id, 2147483640, operation=LABEL, using=live.using)
    with refused(live, "22003", "a purchase past the largest balance"):
        live.execute("SELECT public.grant_credits(%s, 2147483640, 'bonus', 'smoke')", user_id)
    expect("the balance after it", ledger.balance(user_id, using=live.using), 10)
    return "22003, the balance stays"


def _refund(live: Live) -> str:
    user_id = live.user(10)
    used = ledger.consume(user_id, 10, operation=LABEL, using=live.using)
    ledger.refund(used.id, 4, using=live.using)
    with raises(live, ledger.NothingToRefund, "a refund of 7 of the 6 that are left"):
        ledger.refund(used.id, 7, using=live.using)
    expect("the balance", ledger.refund(used.id, using=live.using).balance_after, 10)
    bought = ledger.grant(user_id, 5, operation=LABEL, using=live.using)
    with raises(live, ledger.NothingToRefund, "a refund of a purchase"):
        ledger.refund(bought.id, using=live.using)
    with refused(live, "LC005", "a second refund"):
        live.execute("SELECT public.refund_credits(%s)", used.id)
    return "4 and 6 of 10 given back, and no more: LC005"


def _renewal(live: Live) -> str:
    user_id = live.user(70)
    expect(
        "70 + 50 with a limit of 100",
        ledger.renew(user_id, 50, limit=100, using=live.using).balance_after,
        100,
    )
    return "70 + 50 with a limit of 100 is 100"


def _reversal(live: Live) -> str:
    user_id = live.user()
    bought = ledger.grant(user_id, 10, operation=LABEL, using=live.using)
    consume(live, user_id, 4)
    reversal = ledger.reverse(bought.id, 8, using=live.using)
    expect("8 of 10 with 6 left", (reversal.taken, reversal.missing), (6, 2))
    with raises(live, ledger.NothingToReverse, "a reversal of 3 of the 2 that are left"):
        ledger.reverse(bought.id, 3, using=live.using)
    with raises(live, ledger.NothingToRefund, "a refund of a reversal"):
        ledger.refund(reversal.entry.id, using=live.using)
    ledger.grant(user_id, 1, operation=LABEL, collect=True, using=live.using)
    expect("what is owed of 2 after 1 more", ledger.owed(user_id, using=live.using), 1)
    with raises(live, ledger.NothingToReverse, "9 reinstated of the 8 that were reversed"):
        ledger.reinstate(bought.id, 9, using=live.using)
    ledger.reinstate(bought.id, using=live.using)
    statement = ledger.statement(user_id, using=live.using)
    balance = ledger.balance(user_id, using=live.using)
    expect("the balance and the statement", (balance, statement.closing), (7, 7))
    return "8 of 10 taken back from 6: 2 owed, 1 collected, the rest settled"


CHECKS: dict[str, Callable[[Live], str]] = {
    "overflow": _overflow,
    "refunds": _refund,
    "renewal with rollover": _renewal,
    "reversals": _reversal,
}
