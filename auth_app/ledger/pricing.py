"""What things cost, and paying for work first.

The prices are ``settings.CREDIT_PRICES``, so that they change without code::

    with charge(user_id, operation="query.hybrid") as paid:
        answer = search(question)

    @charged("query.standard")
    def ask(user_id: str, question: str) -> str: ...

The charge is a hold that is settled when the work ends. A process that dies meanwhile gives the credits
back by itself, when the hold has expired and somebody needs them.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Concatenate, cast

import psycopg
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, PermissionDenied, ValidationError
from django.db import DatabaseError, connections
from django.db.transaction import TransactionManagementError
from django.http import Http404

from auth_app import ledger
from fltr_project.postgres.search_path import pinned

from .holding import EXPIRES_IN, Ended, expire

logger = logging.getLogger(__name__)

# Errors that say what the user did wrong; the work was done, so it stays paid.
USER_ERRORS: tuple[type[Exception], ...] = (ValidationError, PermissionDenied, Http404)
# How a stream learns that nobody listens any more: what was delivered until then is paid.
STOPPED: tuple[type[BaseException], ...] = (GeneratorExit, asyncio.CancelledError)


class UserError(Exception):
    """Raise it, or a subclass, inside ``charge`` for the user's own mistake: it is not refunded."""


class WorkInProgress(ledger.CreditError):
    """Another request with the same idempotency key is doing this work; nothing was charged."""

    def __init__(self, hold: ledger.Hold) -> None:
        super().__init__(
            f"Another request with the same idempotency key is at this work. Unless it ends, it can be "
            f"tried again after {hold.held_until:%H:%M:%S} UTC."
        )
        self.hold = hold


class WorkDone(ledger.CreditError):
    """The work with this idempotency key was done and paid; nothing was charged for this repeat."""

    def __init__(self, hold: ledger.Hold) -> None:
        super().__init__(
            "The work with this idempotency key was done and paid before. Answer with what came of it "
            "then, or use charge(..., rerun=True) to do it again for nothing."
        )
        self.hold = hold


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


class Paid:
    """What a block has paid; given to it by ``charge``."""

    def __init__(self, hold: ledger.Hold, *, overage: bool) -> None:
        self.hold = hold
        # What came of it, once the block has ended and was charged.
        self.settlement: ledger.Settlement | None = None
        self._overage = overage
        self._used: int | None = None

    @property
    def id(self) -> str:
        """The usage's, to refund it later; while the block runs, the hold's."""
        return (self.settlement and self.settlement.id) or self.hold.id

    @property
    def operation(self) -> str:
        return self.hold.operation

    @property
    def resource_id(self) -> str | None:
        return self.hold.resource_id

    @property
    def replayed(self) -> bool:
        """Whether the work was done and paid before; only with ``rerun``."""
        return self.hold.replayed

    @property
    def used(self) -> int | None:
        return self._used

    def settle(self, used: int) -> None:
        """Say what the work has used up to now, in credits; the last word counts, at the block's end.

        Said once, it is charged however the block ends: it was delivered. Raises HoldExceeded for more
        than is held, unless ``charge`` was called with ``overage``, and ValueError below 0.
        """
        if type(used) is not int or used < 0:
            raise ValueError(f"the credits used are 0 or more, got {used!r}")
        if used > self.hold.amount and not self._overage:
            raise ledger.HoldExceeded(self.hold.id, self.hold.amount, used)
        self._used = used


class charge:  # noqa: N801 - used as a function
    """Charge before the block runs; give it back when the block fails for a reason of ours.

    ``with charge(...) as paid`` and ``async with charge(...) as paid``. The price is the list's, or
    ``amount``. It is held, with ``expires_in``, and settled at the block's end:

    - in full, or with what ``paid.settle(n)`` said last, also after an error in ``user_errors`` or a
      UserError, and where a stream's reader stops early (GeneratorExit, CancelledError);
    - not at all, if the block fails otherwise, an interrupt included, and ``paid.settle`` was not called;
    - a block that takes longer than ``expires_in``, so that its credits were given back meanwhile, is charged
      anew at its end.

    A process that dies leaves the hold, which is given back after ``expires_in``. With an
    ``idempotency_key`` work is done once: a second request raises WorkInProgress while the first is at it,
    and WorkDone after that; with ``rerun`` it does it again for nothing. Work that failed may be tried
    again. ``options`` are those of ``ledger.hold``. Raises what ``hold`` raises, before anything ran.
    Around ``transaction.atomic(using=using)``, not inside it, or a rollback gives the work away.
    """

    def __init__(
        self,
        user_id: str,
        operation: str,
        *,
        amount: int | None = None,
        size: int | None = None,
        user_errors: tuple[type[Exception], ...] = USER_ERRORS,
        expires_in: timedelta = EXPIRES_IN,
        overage: bool = False,
        rerun: bool = False,
        stopped: tuple[type[BaseException], ...] = STOPPED,
        idempotency_key: str | None = None,
        using: str = "auth",
        **options: Any,
    ) -> None:
        self.user_id, self.operation, self.using = user_id, operation, using
        self.amount = price(operation, size) if amount is None else amount
        self.options = options | {"expires_in": expires_in}
        self.user_errors: tuple[type[Exception], ...] = (UserError, *user_errors)
        self.stopped = stopped
        self.overage, self.rerun = overage, rerun
        self.idempotency_key = idempotency_key
        # Without a key of the caller's, one that finds a hold whose answer was interrupted.
        self.own_key = f"charge {uuid.uuid4()}"
        self.paid: Paid | None = None

    def __enter__(self) -> Paid:
        try:
            self.paid = Paid(self._hold(), overage=self.overage)
        except (ledger.CreditError, ValueError):
            raise
        except BaseException:
            # An interrupt or a lost connection: nobody knows whether it was held.
            self._forget()
            raise
        return self.paid

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(error)

    async def __aenter__(self) -> Paid:
        entering = asyncio.ensure_future(sync_to_async(self.__enter__)())
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            # The thread goes on; what it has held is given back.
            with suppress(Exception):
                await entering
                await sync_to_async(self._end)(RuntimeError("cancelled before the work began"))
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A second cancellation must not keep what was delivered from being charged.
        await asyncio.shield(asyncio.ensure_future(sync_to_async(self._end)(error)))

    def _hold(self) -> ledger.Hold:
        take = functools.partial(
            ledger.hold,
            self.user_id,
            self.amount,
            operation=self.operation,
            using=self.using,
            **self.options,
        )
        key = self.idempotency_key or self.own_key
        hold = take(idempotency_key=key)
        while hold.replayed and hold.state != "settled":
            if hold.state != "open":
                # Each hold ends once, so the id of its end makes the key of one attempt after it.
                key = f"after {hold.refund_id}"
            elif expire(hold.id, using=self.using) is Ended.NOT:
                raise WorkInProgress(hold)
            # Or whoever was at it has died. If it lives, it is charged anew at its end.
            hold = take(idempotency_key=key)
        if hold.replayed and not self.rerun:
            raise WorkDone(hold)
        return hold

    def _end(self, error: BaseException | None) -> None:
        paid = self.paid
        if paid is None or paid.replayed:
            return
        paying: tuple[type[BaseException], ...] = (*self.user_errors, *self.stopped)
        delivered = error is None or isinstance(error, paying) or paid.used is not None
        try:
            if delivered:
                paid.settlement = self._settle(paid)
            else:
                ledger.release(paid.hold, using=self.using)
        except (ledger.CreditError, DatabaseError) as problem:
            if error is None:
                raise
            # The error that led here matters more than one of ours.
            if not _transaction_is_lost(problem):
                logger.exception(
                    "Charge %s of user %s was not %s.",
                    *(paid.hold.id, self.user_id, "settled" if delivered else "refunded"),
                )

    def _settle(self, paid: Paid) -> ledger.Settlement | None:
        used = self.amount if paid.used is None else paid.used
        settle = functools.partial(
            ledger.settle, paid.hold, used, overage=self.overage, using=self.using
        )
        try:
            return settle()
        except ledger.HoldEnded as ended:
            if ended.state == "expired" and used:
                return self._charge_late(paid, used)
            # The block has ended it itself.
            return None
        except DatabaseError:
            # A server that was gone may be back, and settling twice is settling once.
            connection = connections[self.using]
            if connection.in_atomic_block or connection.is_usable():
                raise
            connection.close()
            return settle()

    def _charge_late(self, paid: Paid, used: int) -> ledger.Settlement | None:
        """The hold expired while the work went on, and its credits were given back and not used."""
        options = {
            name: value for name, value in self.options.items() if name not in {"expires_in"}
        }
        entry = ledger.consume(
            self.user_id,
            used,
            operation=self.operation,
            idempotency_key=f"late {paid.hold.id}",
            using=self.using,
            **options,
        )
        return ledger.Settlement(
            hold_id=paid.hold.id,
            id=entry.id,
            held=paid.hold.amount,
            charged=used,
            uncharged=0,
            balance_after=cast(int, entry.balance_after),
            created_at=entry.created_at,
        )

    def _forget(self) -> None:
        """Give back what was held under a key of our own, if it was; else the expiry does."""
        if self.idempotency_key is not None:
            # The hold with it may be another request's.
            return
        try:
            with pinned(connections[self.using]) as cursor:
                cursor.execute(
                    "SELECT (public.try_release_credits(t.id)).verdict"
                    " FROM public.credit_transactions t"
                    " WHERE t.user_id = %s::text AND t.idempotency_key = %s::text",
                    [self.user_id, self.own_key],
                )
        except DatabaseError:
            logger.info("Charge %s of user %s is left to its expiry.", self.own_key, self.user_id)


def charged[**P, R](
    operation: str, **charge_options: Any
) -> Callable[[Callable[Concatenate[str, P], R]], Callable[Concatenate[str, P], R]]:
    """Decorate what does work for a user, whose id is the first argument and who pays for each call.

    Functions, async functions, generators and async generators, and objects that are called as one of
    them. ``charge_options`` are those of ``charge``. A stream is held when its first item is asked for
    and charged in full from then on, however early its reader stops; where the price goes by what was
    delivered, use ``charge`` inside it. A call that is cancelled before it has an answer is not charged.
    Raises TypeError at a call that returns work to be done later: an awaitable or a generator.
    """

    def decorate(function: Callable[Concatenate[str, P], R]) -> Callable[Concatenate[str, P], R]:
        work: Callable[..., Any] = function

        if _is(inspect.isasyncgenfunction, function):

            async def stream_later(
                user_id: str, /, *args: Any, **kwargs: Any
            ) -> AsyncGenerator[Any]:
                paying = charge(user_id, operation, **{"stopped": (), **charge_options})
                async with paying, aclosing(work(user_id, *args, **kwargs)) as items:
                    async for item in items:
                        paying.stopped = STOPPED
                        yield item

            pay_first: Callable[..., Any] = stream_later

        elif _is(inspect.iscoroutinefunction, function):

            async def call_later(user_id: str, /, *args: Any, **kwargs: Any) -> Any:
                async with charge(user_id, operation, **{"stopped": (), **charge_options}):
                    return await work(user_id, *args, **kwargs)

            pay_first = call_later

        elif _is(inspect.isgeneratorfunction, function):

            def stream(user_id: str, /, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                with charge(user_id, operation, **charge_options):
                    return (yield from work(user_id, *args, **kwargs))

            pay_first = stream

        else:

            def call(user_id: str, /, *args: Any, **kwargs: Any) -> Any:
                with charge(user_id, operation, **charge_options):
                    return _done(work(user_id, *args, **kwargs), function)

            pay_first = call

        return cast("Callable[Concatenate[str, P], R]", functools.wraps(function)(pay_first))

    return decorate


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    """Whether a function is of a kind, or an object that is called, or a partial of either."""
    while isinstance(function, functools.partial):
        function = function.func
    return kind(function) or any(
        kind(cls.__dict__["__call__"])
        for cls in type(function).__mro__
        if "__call__" in cls.__dict__
    )


def _done(result: Any, function: object) -> Any:
    if inspect.isgenerator(result) or inspect.iscoroutine(result):
        # It never runs, and is not to warn about that.
        result.close()
    elif not inspect.isawaitable(result) and not inspect.isasyncgen(result):
        return result
    raise TypeError(
        f"{function!r} returned work that runs after the call that is charged; decorate an async "
        "function or a generator, or use charge() inside it"
    )


def _transaction_is_lost(problem: Exception) -> bool:
    """The caller's transaction can only be rolled back, and the charge with it."""
    return isinstance(problem, TransactionManagementError) or isinstance(
        problem.__cause__, psycopg.errors.InFailedSqlTransaction
    )
