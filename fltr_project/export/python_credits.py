"""credits.py: typed calls of the credit functions for an async session or connection of SQLAlchemy."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .calls import REFUSALS, Call, Value, calls
from .tables import Table, camel

TYPES = {
    "boolean": "bool",
    "integer": "int",
    "bigint": "int",
    "interval": "timedelta",
    "jsonb": "Any",
    "public.credit_transactions": "CreditRow",
    "text": "str",
    "timestamp without time zone": "datetime",
    "date": "date",
}
SURE = frozenset(
    {"verdict", "balance", "created_at", "entry", "held", "charged", "uncharged", "missing"}
)
HEAD = '''
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
'''


def module(alias: str, tables: tuple[Table, ...], title: str) -> str:
    """The text of credits.py; touches no database."""
    ledger = next(table for table in tables if table.name == "credit_transactions")
    lines = [f'"""{title}', "", "Times are UTC without a zone.", '"""', *HEAD.splitlines(), "", ""]
    lines.append("REFUSALS = {")
    lines += [
        f"    {json.dumps(name)}: ({status}, {json.dumps(why)}),"
        for name, (status, why) in REFUSALS.items()
    ]
    lines += ["}", 'TIMES = {"created_at", "updated_at", "held_until"}', "", ""]
    lines += ["@dataclass(frozen=True)", "class CreditRow:", '    """A row of the ledger."""', ""]
    lines += [
        f"    {each.name}: {TYPES[each.type]}{' | None' if each.nullable and each.type != 'jsonb' else ''}"
        for each in ledger.columns
    ]
    for call in calls(alias):
        lines += ["", "", *_call(call)]
    return "\n".join((*lines, ""))


def _call(call: Call) -> Iterator[str]:
    answer = f"{camel(call.name, upper=True)}Answer"
    types = ", ".join(f'"{value.name}": "{value.type}"' for value in call.takes)
    yield "@dataclass(frozen=True)"
    yield f"class {answer}:"
    for value in call.answers:
        sure = value.name in (SURE & {"verdict"} | {"place"} if call.many else SURE)
        yield f"    {value.name}: {_typed(value, nullable=not sure)}"
    yield ""
    yield ""
    if call.many:
        yield f"async def {call.name}("
        yield "    session: Session, items: Sequence[Mapping[str, Any]]"
        yield f") -> list[{answer}]:"
        yield '    """Thousands in one statement; a refusal is the verdict of its item.'
        yield ""
        yield "    An item has user_id, amount and operation, and may have resource_id, team_id, api_key, metadata and"
        yield "    idempotency_key."
        yield '    """'
        yield f'    answers = await _call(session, "{call.function}", {{{types}}}, {{"items": list(items)}})'
        yield f"    return [{answer}(**answer) for answer in answers]"
        return
    yield f"async def {call.name}("
    yield "    session: Session,"
    yield "    *,"
    for value in call.takes:
        default = " = None" if value.optional else ""
        yield f"    {value.name}: {_typed(value, nullable=value.optional)}{default},"
    yield f") -> {answer}:"
    yield '    """Raises CreditError where it is refused."""'
    given = ", ".join(f'"{value.name}": {value.name}' for value in call.takes)
    yield f"    given = {{{given}}}"
    yield f'    answer = await _change(session, "{call.function}", {{{types}}}, given)'
    yield f"    return {answer}(**answer)"


def _typed(value: Value, *, nullable: bool) -> str:
    name = TYPES[value.type]
    return f"{name} | None" if nullable and name != "Any" else name
