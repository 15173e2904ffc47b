"""What the ledger's calls share: checking arguments, and turning answers into entries and errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connections

from .types import (
    LARGEST,
    BalanceOverflow,
    CreditError,
    Entry,
    InsufficientCredits,
    KeyReused,
    LimitReached,
    UnknownAccount,
)

# Characters: with its user it has to fit into a page of an index, in any script (nbtree takes 2,704 bytes).
LONGEST_KEY = 255
# Bytes of JSON: history is read a page at a time.
LARGEST_METADATA = 16_384
# An escape in JSON text, unless its backslash is itself escaped.
NUL_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

# The verdicts of a call that has its row.
ACCEPTED = frozenset({"done", "replayed"})

# By payer: the rows of its account, among those with that payer.
ROWS_OF = {
    "user": "t.user_id = %(user)s",
    "team": "t.team_id = %(team)s",
    "api_key": "t.api_key_id = %(api_key)s",
}

# The columns of credit_transactions that make an Entry, as they are called there.
_COLUMNS = {name: name for name in Entry._fields if name != "replayed"} | {
    "metadata": "transaction_metadata"
}


def typed(types: str) -> str:
    """Placeholders for all arguments of a SQL function, each with its type.

    No function of another role by the same name, with other types or without the arguments that have
    defaults, fits such a call as well as the ledger's own.
    """
    return ", ".join(f"%s::{each}" for each in types.split())


def entry_columns(row: str) -> str:
    """SQL that selects the fields of an Entry from ``row``, which is an alias or a composite."""
    return ", ".join(f"{row}.{column} AS {field}" for field, column in _COLUMNS.items())


def named(cursor: Any) -> list[dict[str, Any]]:
    """All rows of an executed cursor, by the names of their columns."""
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def answer(statement: str, parameters: Sequence[Any], using: str) -> dict[str, Any]:
    """The one row that a call of a SQL function answers with."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement, parameters)
        (row,) = named(cursor)
    return row


def entry(row: Mapping[str, Any], *, replayed: bool = False) -> Entry:
    """The Entry of a row that was selected with ``entry_columns``."""
    converted = {
        "metadata": from_jsonb(row["metadata"]),
        "created_at": in_utc(row["created_at"]),
        "held_until": row["held_until"] and in_utc(row["held_until"]),
    }
    return Entry(**{name: row[name] for name in _COLUMNS} | converted, replayed=replayed)


def refusal(verdict: str, left: int, amount: int, account: str) -> CreditError:
    """The exception for a verdict that is not accepted; ``left`` is what there is to spend."""
    if verdict == "insufficient":
        return InsufficientCredits(account, left, amount)
    if verdict == "unknown_account":
        return UnknownAccount(f"{account} has no credit account.")
    if verdict == "key_reused":
        return KeyReused("The idempotency key was used for another change of credits.")
    if verdict == "overflow":
        return BalanceOverflow(f"{account} cannot hold {amount} credits more.")
    return LimitReached(verdict.removesuffix("_limit"), left, amount)


def account_name(user_id: str, team_id: str | None, api_key: str | None) -> str:
    """Who pays, in words for an error."""
    if api_key is not None:
        # The key itself may be a secret.
        return f"The API key of user {user_id!r}"
    return f"User {user_id!r}" if team_id is None else f"Team {team_id!r}"


def payer(
    user_id: str, team_id: str | None, api_key: str | None
) -> tuple[str, dict[str, str | None]]:
    """Who pays, as the ledger's rows call it, and the parameters of the queries for it."""
    require_texts(user_id=user_id, team_id=team_id, api_key=api_key)
    kind = "api_key" if api_key is not None else "user" if team_id is None else "team"
    return kind, {"user": user_id, "team": team_id, "api_key": api_key}


def to_jsonb(metadata: Any) -> str | None:
    """The JSON text of ``metadata``; raises ValueError where PostgreSQL would not take it."""
    if metadata is None:
        return None
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"metadata is not JSON: {error}") from None
    if size > LARGEST_METADATA:
        raise ValueError(f"metadata has {size} bytes, and {LARGEST_METADATA} at most are allowed")
    if NUL_IN_JSON.search(text):
        raise ValueError("metadata has a NUL character, which PostgreSQL cannot hold")
    return text


def from_jsonb(written: str | None) -> Any:
    # Django leaves jsonb as text.
    return None if written is None else json.loads(written)


def in_utc(moment: datetime) -> datetime:
    """The columns are timestamps without time zone that hold UTC."""
    return moment.replace(tzinfo=UTC)


def require_amount(amount: int) -> None:
    # A bool is an int to Python, but no number of credits.
    if type(amount) is not int or not 1 <= amount <= LARGEST:
        raise ValueError(f"an amount of credits is from 1 to {LARGEST}, got {amount!r}")


def require_key(idempotency_key: str | None) -> None:
    if idempotency_key == "":
        raise ValueError("an idempotency key is not empty; give None for a call without one")
    require_texts(idempotency_key=idempotency_key)
    if idempotency_key is not None and len(idempotency_key) > LONGEST_KEY:
        raise ValueError(
            f"an idempotency key has {LONGEST_KEY} characters at most, got {len(idempotency_key)}"
        )


def require_operation(operation: str) -> None:
    if not operation:
        raise ValueError(f"an operation is a word that the history shows, got {operation!r}")
    require_texts(operation=operation)


def require_texts(**texts: str | None) -> None:
    """Raise ValueError for a value that is neither None nor a text that PostgreSQL can hold.

    The value itself is not shown: it may be an API key.
    """
    for name, text in texts.items():
        if text is None:
            continue
        if not isinstance(text, str):
            raise ValueError(f"{name} is a text, got {type(text).__name__}")
        if "\0" in text:
            raise ValueError(f"{name} has a NUL character, which PostgreSQL cannot hold")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{name} has a lone surrogate, which is no character") from None
