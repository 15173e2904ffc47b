"""Make a dataset in one database that is paid for in the other: never one without the other.

No transaction spans two databases, so the work goes in four steps, each of which may be repeated:

1. hold the price in fltr_auth, by a key made from the dataset's id;
2. write the dataset in fltr with status ``uploading``, which nobody is shown;
3. settle the hold;
4. set the status to ``ready``.

The id is made from the user and the Idempotency-Key, so whoever comes again, the client or ``finish`` after
a crash, finds what is there and goes on. Before 3 nothing is charged: the hold expires by itself. After 3
the dataset is there.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from .credit_routes import PRICING
from .databases import Databases
from .generated.auth import CreditTransaction
from .generated.credits import CreditError, hold_credits, settle_credits
from .generated.fltr import Dataset
from .identity import Identity
from .problems import Refused

OPERATION = "dataset"
HOLD_LASTS = timedelta(minutes=5)
# Any; it keeps these ids apart from others that are made from a text.
NAMESPACE = uuid.UUID("0d9c1f2e-6a43-4a57-9d3e-8f5b1f6a7c21")


async def create(
    known: Identity, key: str, name: str, description: str | None, databases: Databases
) -> tuple[Dataset, bool]:
    """The dataset of this user's Idempotency-Key, paid for, and whether this call has made it.

    Raises CreditError where it cannot be paid, and Refused (409) where the key belongs to another dataset
    or to one that was deleted.
    """
    id_ = uuid.uuid5(NAMESPACE, f"{known.user_id}\n{known.api_key or ''}\n{key}")
    before = await _find(id_, databases)
    if before is not None and before.status != "uploading":
        return _same(before, name, description), False
    # A hold that has expired is gone for good; the next attempt has a key of its own.
    for attempt in range(1, 100):
        async with databases.in_auth() as session:
            hold = await hold_credits(
                session,
                user_id=known.user_id,
                api_key=known.api_key,
                amount=PRICING[OPERATION],
                operation=OPERATION,
                expires_in=HOLD_LASTS,
                resource_id=str(id_),
                idempotency_key=f"dataset {id_} {attempt}",
            )
        if hold.state in {"expired", "released"}:
            continue
        if hold.state == "settled" and await _find(id_, databases) is None:
            break
        _same(await _draft(id_, known.user_id, name, description, databases), name, description)
        if await _settle(str(hold.id), PRICING[OPERATION], databases):
            break
    ready = await _publish(id_, databases)
    if ready is None:
        raise Refused(409, "deleted", "the dataset of this Idempotency-Key was deleted")
    return ready, True


async def finish(databases: Databases) -> int:
    """Complete what a crash has left: drafts that are paid become ready, others go; how many there were.

    Run it at the start and every few minutes. A draft is left alone for as long as its request may take.
    """
    since = _now() - HOLD_LASTS
    left = select(Dataset).where(Dataset.status == "uploading", Dataset.updated_at < since)
    async with databases.in_fltr() as session:
        drafts = (await session.exec(left)).all()
    for draft in drafts:
        held = (
            select(CreditTransaction.id, CreditTransaction.amount)
            .where(
                CreditTransaction.user_id == draft.owner_id,
                CreditTransaction.resource_id == str(draft.id),
                CreditTransaction.amount < 0,
                col(CreditTransaction.held_until).is_not(None),
            )
            .order_by(col(CreditTransaction.id).desc())
        )
        async with databases.in_auth() as session:
            hold = (await session.exec(held.limit(1))).first()
        if hold is not None and await _settle(hold[0], -hold[1], databases):
            await _publish(draft.id, databases)
            continue
        # Unless its request has come again meanwhile, with a new hold.
        unpaid = _is_draft(draft.id) & (col(Dataset.updated_at) == draft.updated_at)
        async with databases.in_fltr() as session:
            await session.exec(delete(Dataset).where(unpaid))
    return len(drafts)


async def _find(id_: uuid.UUID, databases: Databases) -> Dataset | None:
    async with databases.in_fltr() as session:
        return await session.get(Dataset, id_)


async def _draft(
    id_: uuid.UUID, owner: str, name: str, description: str | None, databases: Databases
) -> Dataset:
    """The dataset that nobody is shown yet, written now or before."""
    new = insert(Dataset).values(
        id=id_,
        owner_id=owner,
        name=name,
        slug=f"dataset-{id_}",
        description=description,
        status="uploading",
    )
    # The time tells ``finish`` that somebody is at it.
    again = new.on_conflict_do_update(index_elements=["id"], set_={"updated_at": _now()})
    async with databases.in_fltr() as session:
        return (await session.scalars(again.returning(Dataset))).one()


async def _settle(hold_id: str, amount: int, databases: Databases) -> bool:
    """Charge what was held; whether it is paid."""
    try:
        async with databases.in_auth() as session:
            await settle_credits(session, hold_id=hold_id, used=amount)
    except CreditError as error:
        if error.verdict in {"hold_expired", "hold_released", "unknown_hold", "unknown_account"}:
            return False
        raise
    return True


async def _publish(id_: uuid.UUID, databases: Databases) -> Dataset | None:
    ready = update(Dataset).where(_is_draft(id_)).values(status="ready", updated_at=_now())
    async with databases.in_fltr() as session:
        await session.exec(ready)
        return await session.get(Dataset, id_)


def _is_draft(id_: uuid.UUID) -> ColumnElement[bool]:
    return (col(Dataset.id) == id_) & (col(Dataset.status) == "uploading")


def _now() -> datetime:
    # UTC without a zone, as all programs write it.
    return datetime.now(UTC).replace(tzinfo=None)


def _same(dataset: Dataset, name: str, description: str | None) -> Dataset:
    if (dataset.name, dataset.description) != (name, description):
        raise Refused(409, "key_reused", "the Idempotency-Key belongs to another dataset")
    return dataset
