"""Holds: credits taken before the work, and settled or given back at its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum
from typing import Any

from django.db import connections

from . import calls
from .types import (
    LARGEST,
    BalanceOverflow,
    Hold,
    HoldEnded,
    HoldExceeded,
    Settlement,
    UnknownAccount,
)

# How long a hold lasts unless its caller says otherwise.
EXPIRES_IN = timedelta(minutes=15)

_HOLD = f"""
    SELECT verdict, balance, id, team_id, resource_id, metadata, created_at, held_until, state, refund_id
    FROM public.try_hold_credits({calls.typed("text integer text interval text text text jsonb text")})
"""  # noqa: S608
_SETTLE = f"""
    SELECT verdict, balance, id, held, charged, uncharged, created_at
    FROM public.try_settle_credits({calls.typed("text integer boolean jsonb")})
"""  # noqa: S608
_EXPIRE = f"""
    SELECT verdict FROM public.try_settle_credits({calls.typed("text integer boolean jsonb text")})
"""  # noqa: S608
_RELEASE = f"""
    SELECT verdict, balance, id, held, charged, 0, created_at FROM public.try_release_credits({calls.typed("text")})
"""  # noqa: S608


def hold(
    user_id: str,
    amount: int,
    *,
    operation: str,
    expires_in: timedelta = EXPIRES_IN,
    resource_id: str | None = None,
    team_id: str | None = None,
    api_key: str | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
    using: str = "auth",
) -> Hold:
    """Take ``amount`` credits (1 or more) now, for ``settle`` or ``release``. One round trip.

    They count against the balance and the API key's limits at once. After ``expires_in`` they are
    given back by the next call that needs them and by ``reconcile_credits --release-expired``; until
    somebody has, the hold can still be settled. With an ``idempotency_key`` it happens once for ever: a
    repeat returns the hold with its ``state``. Raises as ``consume`` does, KeyReused also for another
    ``resource_id``, and ValueError also for an ``expires_in`` that is not positive.
    """
    calls.require_amount(amount)
    calls.require_operation(operation)
    calls.require_key(idempotency_key)
    calls.require_texts(user_id=user_id, resource_id=resource_id, team_id=team_id, api_key=api_key)
    if expires_in <= timedelta(0):
        raise ValueError(f"a hold expires in the future, got expires_in={expires_in!r}")
    row = _one(
        _HOLD,
        (
            user_id,
            amount,
            operation,
            expires_in,
            resource_id,
            team_id,
            api_key,
            calls.to_jsonb(metadata),
            idempotency_key,
        ),
        using,
    )
    verdict, left, id_, paying_team, resource, written, created_at, until, state, refund_id = row
    if verdict not in calls.ACCEPTED:
        account = calls.account_name(user_id, team_id, api_key)
        raise calls.refusal(verdict, left or 0, amount, account)
    return Hold(
        id=id_,
        user_id=user_id,
        team_id=paying_team,
        amount=amount,
        operation=operation,
        resource_id=resource,
        api_key_id=api_key,
        metadata=calls.from_jsonb(written),
        created_at=calls.in_utc(created_at),
        held_until=calls.in_utc(until),
        payer="api_key" if api_key is not None else "team" if team_id is not None else "user",
        balance_after=left,
        idempotency_key=idempotency_key,
        state=state,
        refund_id=refund_id,
        replayed=verdict == "replayed",
    )


def settle(
    hold: Hold | str,
    used: int,
    *,
    overage: bool = False,
    metadata: Any = None,
    using: str = "auth",
) -> Settlement:
    """Charge ``used`` credits (0 or more) of a hold, or of its id, and give the rest back at once.

    One round trip. The usage that is written takes the hold's metadata, or ``metadata``. Settled again
    with the same number it answers the same. More than was held is HoldExceeded, and with ``overage``
    charged as far as the balance and the API key's limits go: ``uncharged`` is the rest. Raises
    HoldEnded where the hold was settled with another number, released, or given back after its
    expiry, UnknownAccount when the payer is gone, BalanceOverflow, and ValueError for ``used``.
    """
    if type(used) is not int or not 0 <= used <= LARGEST:
        raise ValueError(f"a hold is settled with 0 to {LARGEST} credits, got {used!r}")
    hold_id = hold if isinstance(hold, str) else hold.id
    row = _one(_SETTLE, (hold_id, used, overage, calls.to_jsonb(metadata)), using)
    return _settlement(hold_id, used, row)


def release(hold: Hold | str, *, using: str = "auth") -> Settlement:
    """Give all of a hold back: the work failed or was not done. One round trip.

    Released again, or after its expiry, it answers the same. ``id`` is None, as nothing was charged.
    Raises HoldEnded where the hold was settled, UnknownAccount when the payer is gone, and
    BalanceOverflow.
    """
    hold_id = hold if isinstance(hold, str) else hold.id
    return _settlement(hold_id, 0, _one(_RELEASE, (hold_id,), using))._replace(id=None)


class Ended(Enum):
    """Whether a hold has ended: by this call, before it, or not, because it cannot yet."""

    NOW, BEFORE, NOT = "now", "before", "not"


def expire(hold_id: str, *, using: str = "auth") -> Ended:
    """Give a hold back if it has expired by the database's clock. One round trip.

    It is not given back, either, where its payer is gone or would have too much.
    """
    (verdict,) = _one(_EXPIRE, (hold_id, 0, False, None, "expired"), using)
    if verdict == "done":
        return Ended.NOW
    if verdict in {"hold_open", "unknown_account", "overflow"}:
        return Ended.NOT
    return Ended.BEFORE


def _settlement(hold_id: str, used: int, row: Sequence[Any]) -> Settlement:
    verdict, balance, id_, held, charged, uncharged, created_at = row
    if verdict == "above_hold":
        raise HoldExceeded(hold_id, held, used)
    if verdict == "unknown_account":
        raise UnknownAccount(f"The payer of hold {hold_id!r} has no credit account any more.")
    if verdict == "overflow":
        raise BalanceOverflow(f"The payer of hold {hold_id!r} cannot hold {held} credits more.")
    if verdict not in calls.ACCEPTED:
        raise HoldEnded(hold_id, verdict.removeprefix("hold_"), charged or 0)
    return Settlement(
        hold_id=hold_id,
        id=id_,
        held=held,
        charged=charged,
        uncharged=uncharged,
        balance_after=balance,
        created_at=calls.in_utc(created_at),
        replayed=verdict == "replayed",
    )


def _one(statement: str, parameters: Sequence[Any], using: str) -> Sequence[Any]:
    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)
        row: Sequence[Any] = cursor.fetchone()
    return row
