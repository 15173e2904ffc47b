"""What `smoke_credits` checks of the ledger's functions: arithmetic, refusals, replays, batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import psycopg
from django.db import Error as DatabaseError
from django.db import connections, transaction

from auth_app import ledger
from auth_app.ledger import reconcile
from auth_app.models import User
from fltr_project.postgres.search_path import unpinned
from fltr_project.words import counted

from . import marked
from .context import (
    LABEL,
    Live,
    NotChecked,
    Wrong,
    consume,
    expect,
    expect_account,
    raises,
    refused,
)
from .holds import expired_hold

# Milliseconds that adding up the whole ledger may take here.
RECONCILE_TIMEOUT = 3_000

UNCHECKED = (
    "TRUNCATE of credit_transactions: trying it would lock the table for everybody; that its "
    "trigger is there and enabled is checked",
    "the UTC boundary of limits: that takes a clock at midnight; the counters' arithmetic is "
    "checked with yesterday's date in them",
)


def _sign_up_by_orm(live: Live) -> str:
    # The ORM names tables without their schema.
    with unpinned(connections[live.using]):
        user = User.objects.using(live.using).create(name=LABEL, email=marked.new_address(LABEL))
    return expect_account(live, user.pk) + ", not two"


def _bonus_once(live: Live) -> str:
    user_id = live.user()
    live.execute("DELETE FROM public.user_credits WHERE user_id = %s", user_id)
    live.execute("SELECT public.open_credit_account(%s)", user_id)
    expect("the balance of an account opened anew", ledger.balance(user_id, using=live.using), 0)
    return "an account that is opened again has what its ledger says"


def _arithmetic(live: Live) -> str:
    user_id = live.user(100)
    expect(
        "100 + 50", ledger.grant(user_id, 50, operation=LABEL, using=live.using).balance_after, 150
    )
    entry = ledger.consume(user_id, 30, operation=LABEL, metadata={"a": [1]}, using=live.using)
    expect("150 - 30", (entry.balance_after, entry.amount, entry.metadata), (120, -30, {"a": [1]}))
    expect("120 - 120", consume(live, user_id, 120), 0)
    expect("the stored balance", ledger.balance(user_id, using=live.using), 0)
    summed = live.value(
        "SELECT sum(amount) FROM public.credit_transactions WHERE user_id = %s", user_id
    )
    expect("the sum of the ledger", summed, 0)
    return "100 + 50 - 30 - 120 = 0, and the ledger adds up"


def _insufficient_user(live: Live) -> str:
    user_id = live.user(10)
    seen = _insufficient(live, user_id, {})
    expired_hold(live, user_id, 9)
    expect("the balance after 9 with 9 of 10 expired", consume(live, user_id, 9), 1)
    return f"{seen}; what an expired hold has is there"


def _insufficient_team(live: Live) -> str:
    user_id = live.user(100)
    return _insufficient(live, user_id, {"team_id": live.team(user_id, 10)})


def _insufficient_key(live: Live) -> str:
    user_id = live.user(100)
    return _insufficient(live, user_id, {"api_key": live.key(user_id, 10)})


def _insufficient(live: Live, user_id: str, payer: dict[str, str]) -> str:
    with raises(live, ledger.InsufficientCredits, "11 of 10 credits"):
        consume(live, user_id, 11, **payer)
    with raises(live, ledger.InsufficientCredits, "11 of 10 credits with an idempotency key"):
        consume(live, user_id, 11, **payer, idempotency_key=LABEL)
    with refused(live, "LC001", "11 of 10 credits by SQL"):
        live.execute(
            "SELECT public.consume_credits(%s, 11, 'smoke', NULL, %s, %s)",
            *(user_id, payer.get("team_id"), payer.get("api_key")),
        )
    expect("the balance after it", ledger.balance(user_id, **payer, using=live.using), 10)
    return "11 of 10: LC001, the balance stays"


def _strangers(live: Live) -> str:
    owner, stranger = live.user(10), live.user(10)
    with raises(live, ledger.UnknownAccount, "a stranger's consume from a team"):
        consume(live, stranger, 1, team_id=live.team(owner, 10))
    with raises(live, ledger.UnknownAccount, "a stranger's consume with an API key"):
        consume(live, stranger, 1, api_key=live.key(owner, 10))
    with refused(live, "LC002", "a consume of nobody"):
        live.execute("SELECT public.consume_credits('smoke_credits-nobody', 1, 'smoke')")
    return "LC002"


def _daily_limit(live: Live) -> str:
    return _limit(live, "daily", "1 day")


def _monthly_limit(live: Live) -> str:
    return _limit(live, "monthly", "1 month")


def _limit(live: Live, period: str, span: str) -> str:
    user_id = live.user()
    key = live.key(user_id, 10, **{period: 3})
    consume(live, user_id, 2, api_key=key)
    with refused(live, "LC004", f"4 credits with a {period} limit of 3"):
        live.execute("SELECT public.consume_credits(%s, 2, 'smoke', NULL, NULL, %s)", user_id, key)
    live.execute(
        "UPDATE public.api_key_credits SET spent_on = timezone('utc', now()) - %s::interval"
        " WHERE api_key = %s",
        *(span, key),
    )
    expect(f"the balance {span} later", consume(live, user_id, 3, api_key=key), 5)
    with raises(live, ledger.LimitReached, f"a hold above a {period} limit"):
        ledger.hold(user_id, 1, operation=LABEL, api_key=key, using=live.using)
    return f"2 + 2 with a limit of 3: LC004; {span} later it counts anew"


def _amounts(live: Live) -> str:
    user_id = live.user(10)
    for amount in ("0", "-5", "NULL"):
        for call in (
            f"public.consume_credits(%s, {amount}, 'smoke')",
            f"public.grant_credits(%s, {amount}, 'bonus', 'smoke')",
        ):
            with refused(live, "LC007", call):
                live.execute(f"SELECT {call}", user_id)
    return "0, -5 and NULL: LC007"


def _arguments(live: Live) -> str:
    user_id = live.user(10)
    for operation, key, metadata in (
        (None, None, 1),
        ("", None, 1),
        (LABEL, "", 1),
        (LABEL, "k" * 256, 1),
        (LABEL, None, 16_383),
    ):
        what = f"operation {operation!r}, a key of {len(key or 'k')} and metadata of {metadata}"
        with refused(live, "LC007", what):
            live.execute(
                "SELECT public.consume_credits(%s, 1, %s, p_idempotency_key => %s,"
                " p_metadata => to_jsonb(repeat('m', %s)))",
                *(user_id, operation, key, metadata),
            )
    verdicts = live.value(
        "SELECT array_agg(verdict ORDER BY place) FROM public.consume_credits_many(jsonb_build_array("
        " 7, jsonb_build_object('user_id', %s::text, 'amount', 0, 'operation', 'smoke'),"
        " jsonb_build_object('user_id', %s::text, 'amount', 1, 'operation', 'smoke')))",
        *(user_id, user_id),
    )
    expect("the verdicts of 7, of nothing and of 1", verdicts, ["invalid", "invalid", "done"])
    return "LC007; in a batch the item alone is invalid"


def _replay(live: Live) -> str:
    user_id = live.user(10)
    first = ledger.consume(user_id, 3, operation=LABEL, idempotency_key="a", using=live.using)
    again = ledger.consume(user_id, 3, operation=LABEL, idempotency_key="a", using=live.using)
    expect("a repeat", (again.id, again.balance_after, again.replayed), (first.id, 7, True))
    with refused(live, "LC003", "the same key with another amount"):
        live.execute(
            "SELECT public.consume_credits(%s, 4, %s, p_idempotency_key => 'a')", user_id, LABEL
        )
    with raises(live, ledger.UnknownAccount, "a consume from a team that is not there"):
        consume(live, user_id, 1, team_id=f"{LABEL}-none", idempotency_key="b")
    after = consume(live, user_id, 1, idempotency_key="b")
    expect("the balance after using the key of a failed call again", after, 6)
    team_id, heir, key = live.team(user_id), live.user(), live.key(user_id)
    for owner in (user_id, heir):
        live.execute("UPDATE public.teams SET owner_id = %s WHERE id = %s", owner, team_id)
        live.execute(
            "UPDATE public.api_key_credits SET user_id = %s WHERE api_key = %s", owner, key
        )
        for event, team, api_key in (("c", team_id, None), ("d", None, key)):
            ledger.grant(
                owner,
                5,
                operation=LABEL,
                team_id=team,
                api_key=api_key,
                idempotency_key=event,
                using=live.using,
            )
    expect("a team's balance", ledger.balance(heir, team_id=team_id, using=live.using), 5)
    expect("a key's balance", ledger.balance(heir, api_key=key, using=live.using), 5)
    gone, other = live.team(heir, 5), live.team(heir, 5)
    consume(live, heir, 1, team_id=gone, idempotency_key="e")
    live.execute("DELETE FROM public.teams WHERE id = %s", gone)
    with raises(live, ledger.KeyReused, "the key of a team that is gone, for another"):
        consume(live, heir, 1, team_id=other, idempotency_key="e")
    return "the original again; another amount: LC003; a failed call leaves no key"


def _batch(live: Live) -> str:
    user_id, stranger = live.user(10), live.user()
    team_id, key = live.team(user_id, 10), live.key(user_id, 10, daily=3)
    spends = {
        "4 of 10": (ledger.Spend(user_id, 4, LABEL), "done"),
        "7 of 6": (ledger.Spend(user_id, 7, LABEL), "insufficient"),
        "6 of 6": (ledger.Spend(user_id, 6, LABEL), "done"),
        "a stranger's with a team": (
            ledger.Spend(stranger, 1, LABEL, team_id=team_id),
            "unknown_account",
        ),
        "a stranger's with an API key": (
            ledger.Spend(stranger, 1, LABEL, api_key=key),
            "unknown_account",
        ),
        "4 with a limit of 3": (ledger.Spend(user_id, 4, LABEL, api_key=key), "daily_limit"),
    }
    decisions = ledger.consume_many([spend for spend, _ in spends.values()], using=live.using)
    for (name, (_, expected)), decision in zip(spends.items(), decisions, strict=True):
        expect(f"the verdict of {name}", decision.verdict, expected)
    expect("the balance after it", ledger.balance(user_id, using=live.using), 0)
    # Of users who pay for themselves it is decided at once, if it fits.
    user_id = live.user(12)
    for name, key, *batch in (
        ("4 and 5 of 12", "", (4, "done"), (5, "done")),
        ("4 of 3", "", (4, "insufficient")),
        ("a key given twice", LABEL, (1, "done"), (1, "replayed")),
    ):
        alone = [
            ledger.Spend(user_id, amount, LABEL, idempotency_key=key or None) for amount, _ in batch
        ]
        decisions = ledger.consume_many(alone, using=live.using)
        expect(
            f"the verdicts of {name}",
            [decision.verdict for decision in decisions],
            [expected for _, expected in batch],
        )
    nobody = [ledger.Spend(f"{LABEL}-nobody", 1, LABEL), ledger.Spend(user_id, 1, LABEL)]
    expect(
        "the verdicts of nobody's and one",
        [decision.verdict for decision in ledger.consume_many(nobody, using=live.using)],
        ["unknown_account", "done"],
    )
    expect("the balance after them", ledger.balance(user_id, using=live.using), 1)
    return f"a verdict for each of {len(spends)}, one statement; the same of users alone"


def _reconciled(live: Live) -> str:
    live.execute("SELECT set_config('statement_timeout', %s, true)", str(RECONCILE_TIMEOUT))
    try:
        with transaction.atomic(using=live.using):
            found = list(reconcile.drifts(live.using))
    except DatabaseError as error:
        if not isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise
        raise NotChecked(
            f"adding up the ledger takes over {RECONCILE_TIMEOUT // 1000} s here; "
            "run `manage.py reconcile_credits`"
        ) from error
    if found:
        raise Wrong(
            f"{counted(len(found), 'balances')} drifting from the ledger; "
            "`manage.py reconcile_credits` says which"
        )
    return "every balance of the database agrees with its ledger"


def _latency(live: Live) -> str:
    user_id = live.user(live.consumes)
    times = []
    for _ in range(live.consumes):
        start = time.perf_counter()
        consume(live, user_id, 1)
        times.append((time.perf_counter() - start) * 1000)
    expect("the balance after them", ledger.balance(user_id, using=live.using), 0)
    return f"{live.consumes} consumes, without commit: {percentiles(times)}"


def percentiles(milliseconds: Sequence[float]) -> str:
    ordered = sorted(milliseconds)
    p50, p99 = (ordered[min(len(ordered) - 1, len(ordered) * n // 100)] for n in (50, 99))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"


CHECKS: dict[str, Callable[[Live], str]] = {
    "sign-up by the ORM": _sign_up_by_orm,
    "bonus once": _bonus_once,
    "arithmetic": _arithmetic,
    "too much for a user": _insufficient_user,
    "too much for a team": _insufficient_team,
    "too much for an API key": _insufficient_key,
    "strangers' accounts": _strangers,
    "daily limit": _daily_limit,
    "monthly limit": _monthly_limit,
    "amounts below 1": _amounts,
    "bad arguments": _arguments,
    "idempotent replay": _replay,
    "batch": _batch,
    "reconciliation": _reconciled,
    "latency": _latency,
}
