"""The tables of auth, written by `manage.py export_schema --to credits-python --database auth`; edit nothing here.

Times are UTC without a zone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import text


class Session(Protocol):
    """An AsyncSession or an AsyncConnection of SQLAlchemy; each call joins its transaction."""

    async def execute(self, statement: Any, parameters: Any = ...) -> Any: ...


class CreditError(Exception):
    """A change of credits that was refused; nothing was written, and the transaction goes on.

    ``status`` is for an HTTP answer; ``balance`` is what is left: of the balance, the limit, the usage.
    """

    def __init__(self, verdict: str, balance: int | None) -> None:
        self.status, why = REFUSALS[verdict]
        super().__init__(why)
        self.verdict, self.balance = verdict, balance


async def _call(
    session: Session, name: str, types: Mapping[str, str], given: Mapping[str, Any]
) -> list[dict[str, Any]]:
    # What is not given has the function's own default.
    used = {key: _as_text(value, types[key]) for key, value in given.items() if value is not None}
    words = ", ".join(f"p_{key} => CAST(CAST(:{key} AS text) AS {types[key]})" for key in used)
    statement = text(f"SELECT CAST(to_json(t) AS text) FROM public.{name}({words}) AS t")
    answers = (await session.execute(statement, used)).all()
    return [_from_json(json.loads(answer)) for (answer,) in answers]


async def _change(
    session: Session, name: str, types: Mapping[str, str], given: Mapping[str, Any]
) -> dict[str, Any]:
    (answer,) = await _call(session, name, types, given)
    if answer["verdict"] in {"done", "replayed"}:
        return answer
    raise CreditError(answer["verdict"], answer.get("balance"))


def _as_text(value: Any, type_: str) -> str:
    if type_ == "jsonb":
        return json.dumps(value)
    if isinstance(value, timedelta):
        return f"{value.total_seconds()} seconds"
    return str(value)


def _from_json(row: dict[str, Any]) -> dict[str, Any]:
    times = {key: datetime.fromisoformat(row[key]) for key in TIMES & row.keys() if row[key]}
    whole = {**row, **times}
    if row.get("entry"):
        entry = _from_json(row["entry"])
        whole["entry"] = CreditRow(**{name: entry[name] for name in CreditRow.__annotations__})
    return whole


REFUSALS = {
    "insufficient": (402, "the balance is too small"),
    "unknown_account": (404, "there is no such account, or it is not this user's"),
    "unknown_hold": (404, "there is no such hold"),
    "key_reused": (409, "the idempotency key belongs to another change"),
    "nothing_to_refund": (409, "nothing, or not that much, is left to refund"),
    "nothing_to_reverse": (409, "nothing, or not that much, is left to reverse"),
    "nothing_to_reinstate": (409, "nothing, or not that much, is left to reinstate"),
    "is_hold": (409, "it is a hold: settle or release it"),
    "above_hold": (409, "more was used than was held"),
    "hold_settled": (409, "the hold was settled before"),
    "hold_released": (409, "the hold was released before"),
    "hold_expired": (409, "the hold has expired and was given back"),
    "overflow": (409, "the balance would pass 2,147,483,647"),
    "daily_limit": (429, "the API key's daily limit does not leave that much"),
    "monthly_limit": (429, "the API key's monthly limit does not leave that much"),
}
TIMES = {"created_at", "updated_at", "held_until"}


@dataclass(frozen=True)
class CreditRow:
    """A row of the ledger."""

    id: str
    user_id: str
    team_id: str | None
    amount: int
    type: str
    operation: str | None
    resource_id: str | None
    api_key_id: str | None
    transaction_metadata: Any
    refund_of: str | None
    refunded_before: int | None
    reversal_of: str | None
    payer: str
    balance_after: int | None
    idempotency_key: str | None
    held_until: datetime | None
    created_at: datetime


@dataclass(frozen=True)
class ConsumeCreditsAnswer:
    verdict: str
    balance: int
    id: str | None
    team_id: str | None
    resource_id: str | None
    metadata: Any
    created_at: datetime


async def consume_credits(
    session: Session,
    *,
    user_id: str,
    amount: int,
    operation: str,
    resource_id: str | None = None,
    team_id: str | None = None,
    api_key: str | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
) -> ConsumeCreditsAnswer:
    """Raises CreditError where it is refused."""
    given = {"user_id": user_id, "amount": amount, "operation": operation, "resource_id": resource_id, "team_id": team_id, "api_key": api_key, "metadata": metadata, "idempotency_key": idempotency_key}
    answer = await _change(session, "try_consume_credits", {"user_id": "text", "amount": "integer", "operation": "text", "resource_id": "text", "team_id": "text", "api_key": "text", "metadata": "jsonb", "idempotency_key": "text"}, given)
    return ConsumeCreditsAnswer(**answer)


@dataclass(frozen=True)
class ConsumeCreditsManyAnswer:
    place: int
    verdict: str
    balance: int | None
    id: str | None
    team_id: str | None
    created_at: datetime | None


async def consume_credits_many(
    session: Session, items: Sequence[Mapping[str, Any]]
) -> list[ConsumeCreditsManyAnswer]:
    """Thousands in one statement; a refusal is the verdict of its item.

    An item has user_id, amount and operation, and may have resource_id, team_id, api_key, metadata and
    idempotency_key.
    """
    answers = await _call(session, "consume_credits_many", {"items": "jsonb"}, {"items": list(items)})
    return [ConsumeCreditsManyAnswer(**answer) for answer in answers]


@dataclass(frozen=True)
class GrantCreditsAnswer:
    verdict: str
    balance: int
    entry: CreditRow


async def grant_credits(
    session: Session,
    *,
    user_id: str,
    amount: int,
    type: str,
    operation: str,
    resource_id: str | None = None,
    team_id: str | None = None,
    api_key: str | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
    balance_limit: int | None = None,
    collect: bool | None = None,
) -> GrantCreditsAnswer:
    """Raises CreditError where it is refused."""
    given = {"user_id": user_id, "amount": amount, "type": type, "operation": operation, "resource_id": resource_id, "team_id": team_id, "api_key": api_key, "metadata": metadata, "idempotency_key": idempotency_key, "balance_limit": balance_limit, "collect": collect}
    answer = await _change(session, "try_grant_credits", {"user_id": "text", "amount": "integer", "type": "text", "operation": "text", "resource_id": "text", "team_id": "text", "api_key": "text", "metadata": "jsonb", "idempotency_key": "text", "balance_limit": "integer", "collect": "boolean"}, given)
    return GrantCreditsAnswer(**answer)


@dataclass(frozen=True)
class HoldCreditsAnswer:
    verdict: str
    balance: int
    id: str | None
    team_id: str | None
    resource_id: str | None
    metadata: Any
    created_at: datetime
    held_until: datetime | None
    state: str | None
    refund_id: str | None


async def hold_credits(
    session: Session,
    *,
    user_id: str,
    amount: int,
    operation: str,
    expires_in: timedelta | None = None,
    resource_id: str | None = None,
    team_id: str | None = None,
    api_key: str | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
) -> HoldCreditsAnswer:
    """Raises CreditError where it is refused."""
    given = {"user_id": user_id, "amount": amount, "operation": operation, "expires_in": expires_in, "resource_id": resource_id, "team_id": team_id, "api_key": api_key, "metadata": metadata, "idempotency_key": idempotency_key}
    answer = await _change(session, "try_hold_credits", {"user_id": "text", "amount": "integer", "operation": "text", "expires_in": "interval", "resource_id": "text", "team_id": "text", "api_key": "text", "metadata": "jsonb", "idempotency_key": "text"}, given)
    return HoldCreditsAnswer(**answer)


@dataclass(frozen=True)
class RefundCreditsAnswer:
    verdict: str
    balance: int
    entry: CreditRow


async def refund_credits(
    session: Session,
    *,
    transaction_id: str,
    amount: int | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
) -> RefundCreditsAnswer:
    """Raises CreditError where it is refused."""
    given = {"transaction_id": transaction_id, "amount": amount, "metadata": metadata, "idempotency_key": idempotency_key}
    answer = await _change(session, "try_refund_credits", {"transaction_id": "text", "amount": "integer", "metadata": "jsonb", "idempotency_key": "text"}, given)
    return RefundCreditsAnswer(**answer)


@dataclass(frozen=True)
class ReinstateCreditsAnswer:
    verdict: str
    balance: int
    entry: CreditRow


async def reinstate_credits(
    session: Session,
    *,
    purchase_id: str,
    amount: int | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
) -> ReinstateCreditsAnswer:
    """Raises CreditError where it is refused."""
    given = {"purchase_id": purchase_id, "amount": amount, "metadata": metadata, "idempotency_key": idempotency_key}
    answer = await _change(session, "try_reinstate_credits", {"purchase_id": "text", "amount": "integer", "metadata": "jsonb", "idempotency_key": "text"}, given)
    return ReinstateCreditsAnswer(**answer)


@dataclass(frozen=True)
class ReleaseCreditsAnswer:
    verdict: str
    balance: int
    id: str | None
    held: int
    charged: int
    created_at: datetime


async def release_credits(
    session: Session,
    *,
    hold_id: str,
) -> ReleaseCreditsAnswer:
    """Raises CreditError where it is refused."""
    given = {"hold_id": hold_id}
    answer = await _change(session, "try_release_credits", {"hold_id": "text"}, given)
    return ReleaseCreditsAnswer(**answer)


@dataclass(frozen=True)
class ReverseCreditsAnswer:
    verdict: str
    balance: int
    missing: int
    entry: CreditRow


async def reverse_credits(
    session: Session,
    *,
    purchase_id: str,
    amount: int | None = None,
    metadata: Any = None,
    idempotency_key: str | None = None,
) -> ReverseCreditsAnswer:
    """Raises CreditError where it is refused."""
    given = {"purchase_id": purchase_id, "amount": amount, "metadata": metadata, "idempotency_key": idempotency_key}
    answer = await _change(session, "try_reverse_credits", {"purchase_id": "text", "amount": "integer", "metadata": "jsonb", "idempotency_key": "text"}, given)
    return ReverseCreditsAnswer(**answer)


@dataclass(frozen=True)
class SettleCreditsAnswer:
    verdict: str
    balance: int
    id: str | None
    held: int
    charged: int
    uncharged: int
    created_at: datetime


async def settle_credits(
    session: Session,
    *,
    hold_id: str,
    used: int,
    overage: bool | None = None,
    metadata: Any = None,
) -> SettleCreditsAnswer:
    """Raises CreditError where it is refused."""
    given = {"hold_id": hold_id, "used": used, "overage": overage, "metadata": metadata}
    answer = await _change(session, "try_settle_credits", {"hold_id": "text", "used": "integer", "overage": "boolean", "metadata": "jsonb"}, given)
    return SettleCreditsAnswer(**answer)
