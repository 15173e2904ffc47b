"""What things cost, and paying for work first.

The prices are ``settings.CREDIT_PRICES``, so that they change without code::

    with charge(user_id, operation="query.hybrid") as paid:
        answer = search(question)

    @charged("query.standard")
    def ask(user_id: str, question: str) -> str: ...
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, PermissionDenied, ValidationError
from django.db import DatabaseError
from django.db.transaction import TransactionManagementError
from django.http import Http404

from . import credits as ledger
from .models import CreditTransaction

logger = logging.getLogger(__name__)

# Errors that say what the user did wrong; the work was done, so it stays paid.
USER_ERRORS: tuple[type[Exception], ...] = (ValidationError, PermissionDenied, Http404)
# The metadata of a refund for work that failed, by which a repeat knows it.
FAILED_WORK = {"reason": "system error"}
RUN_LATER = (
    inspect.iscoroutinefunction,
    inspect.isgeneratorfunction,
    inspect.isasyncgenfunction,
)


class UserError(Exception):
    """Raise it, or a subclass, inside ``charge`` for the user's own mistake: it is not refunded."""


def price(operation: str, size: int | None = None) -> int:
    """The credits that an operation costs; ``size`` in bytes where its price goes by size.

    Raises ImproperlyConfigured for an operation that the price list lacks, ValueError for a size
    where none belongs, a missing one, or a negative one.
    """
    if operation not in settings.CREDIT_PRICES:
        raise ImproperlyConfigured(
            f"CREDIT_PRICES has no {operation!r}. It has: {', '.join(sorted(settings.CREDIT_PRICES))}."
        )
    entry: int | list[tuple[int | None, int]] = settings.CREDIT_PRICES[operation]
    if isinstance(entry, int):
        if size is not None:
            raise ValueError(f"the price of {operation!r} does not go by size")
        return entry
    if size is None or size < 0:
        raise ValueError(f"the price of {operation!r} goes by size in bytes, got {size!r}")
    return next(cost for up_to, cost in entry if up_to is None or size <= up_to)


@contextmanager
def charge(
    user_id: str,
    operation: str,
    *,
    amount: int | None = None,
    size: int | None = None,
    user_errors: tuple[type[Exception], ...] = USER_ERRORS,
    using: str = "auth",
    **options: Any,
) -> Iterator[ledger.Entry]:
    """Charge before the block runs; give it back when the block fails for a reason of ours.

    The price is the list's, or ``amount``. ``options`` are those of ``credits.consume``. An error
    in ``user_errors`` and a UserError stay paid; every other one, an interrupt included, is
    refunded and raised on. A repeat with the same idempotency key neither charges nor refunds,
    unless what it repeats failed and was refunded here: then it is charged anew, once for ever
    too. Raises what ``consume`` raises, before anything ran. Around ``transaction.atomic(using=using)``,
    not inside it, a crash of the process leaves the charge in the ledger.
    """
    cost = price(operation, size) if amount is None else amount
    errors: tuple[type[Exception], ...] = (UserError, *user_errors)
    consume = functools.partial(
        ledger.consume, user_id, cost, operation=operation, using=using, **options
    )
    entry = consume()
    while entry.replayed and (refund_id := _given_back_by(entry, using)):
        # Each refund is given once, so its id makes the key of one attempt after it.
        entry = consume(idempotency_key=f"{options['idempotency_key']} after {refund_id}")
    try:
        yield entry
    except errors:
        raise
    except BaseException:
        if not entry.replayed:
            _give_back(entry, using)
        raise


def charged[**P, R](
    operation: str, **charge_options: Any
) -> Callable[[Callable[Concatenate[str, P], R]], Callable[Concatenate[str, P], R]]:
    """Decorate a function whose first argument is the id of the user who pays for each call.

    ``charge_options`` are those of ``charge``. Raises TypeError for a coroutine function or a
    generator, whose body runs after the call.
    """

    def decorate(function: Callable[Concatenate[str, P], R]) -> Callable[Concatenate[str, P], R]:
        if any(runs_later(function) for runs_later in RUN_LATER):
            raise TypeError(
                f"{function!r} runs after the call that would be charged; use charge() inside it"
            )

        @functools.wraps(function)
        def pay_first(user_id: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with charge(user_id, operation, **charge_options):
                return function(user_id, *args, **kwargs)

        return pay_first

    return decorate


def _given_back_by(entry: ledger.Entry, using: str) -> str | None:
    """The id of the refund by ``_give_back``, if there was one: somebody else's is no failed attempt."""
    refunds = CreditTransaction.objects.using(using).filter(
        refund_of=entry.id, transaction_metadata=FAILED_WORK
    )
    return refunds.values_list("id", flat=True).first()


def _give_back(entry: ledger.Entry, using: str) -> None:
    """Refund what is left of the charge; the error that led here matters more than one of ours."""
    try:
        ledger.refund(entry.id, using=using, metadata=FAILED_WORK)
    except ledger.NothingToRefund:
        # The block has refunded it itself.
        return
    except (ledger.CreditError, DatabaseError) as error:
        if isinstance(error, TransactionManagementError) or isinstance(
            error.__cause__, psycopg.errors.InFailedSqlTransaction
        ):
            # The caller's transaction can only be rolled back, and the charge with it.
            return
        logger.exception("Charge %s of user %s was not refunded.", entry.id, entry.user_id)
