"""A repair as text: the statements that the executor would run, as one script for psql."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from fltr_project.postgres.locks import OPERATION_KEY
from fltr_project.words import visible

from .names import literal
from .repair import Repair, together
from .statement import Hazard, Statement, in_words, needed

NOTHING: frozenset[Hazard] = frozenset()

# As in the executor: one operation on a schema at a time.
_ALONE = (
    f"DO $$ BEGIN IF NOT pg_try_advisory_xact_lock({OPERATION_KEY}) THEN RAISE EXCEPTION "
    "'Another operation of this project is at work on this database.'; END IF; END $$;"
)


def lines(statements: Iterable[Statement], allowed: frozenset[Hazard] = NOTHING) -> tuple[str, ...]:
    """Each statement, and as comments those that a person has to allow, under what they would cost."""
    return tuple(line for each in statements for line in _lines(each, allowed))


def script(
    repairs: Iterable[Repair],
    title: str,
    run_with: str,
    allowed: frozenset[Hazard] = NOTHING,
    notes: Iterable[str] = (),
) -> str:
    """One script that runs as it is; empty when there is nothing to repair.

    ``title`` says what it is, ``run_with`` how to run it: both stand above it as comments, and the ``notes``
    with them. What has a hazard that is not ``allowed`` is a comment too.
    """
    statements = needed(together(repairs), allowed)
    if not statements:
        return ""
    head = [comment(visible(text)) for text in (title, run_with, *notes)]
    held = {hazard for each in statements for hazard in each.hazards - allowed}
    if held:
        head.append(
            f"-- What would {in_words(held)} is a comment: take the dashes off what you want of it."
        )
    inside = [each for each in statements if not each.stands_alone]
    outside = [each for each in statements if each.stands_alone]
    body = [*head, ""]
    if all(each.is_held(allowed) for each in inside):
        body += lines(inside, allowed)
    else:
        body += ["BEGIN;", *_settings(inside), *lines(inside, allowed), "COMMIT;"]
    if outside:
        body += ["", "-- Each by itself: these wait for others and let them work."]
        for statement in outside:
            body += _alone(statement, allowed)
    return "\n".join(body) + "\n"


def comment(text: str) -> str:
    """Text behind dashes on each of its lines, so that all of it is a comment to psql."""
    return "\n".join(f"-- {line}" for line in re.split(r"\r\n|[\r\n]", text))


def _lines(statement: Statement, allowed: frozenset[Hazard]) -> Iterator[str]:
    if statement.is_held(allowed):
        yield from map(comment, filter(None, (statement.cost, statement.sql)))
    else:
        yield statement.sql


def _settings(statements: list[Statement]) -> list[str]:
    waits = max(each.lock_timeout for each in statements)
    return [
        "SET LOCAL search_path = '';",
        f"SET LOCAL lock_timeout = {literal(f'{waits}ms')};",
        "SET LOCAL check_function_bodies = off;",
        # How values become texts and texts values, as in the trial.
        "SET LOCAL DateStyle = 'ISO, MDY'; SET LOCAL TimeZone = 'UTC'; SET LOCAL IntervalStyle = 'postgres';",
        _ALONE,
    ]


def _alone(statement: Statement, allowed: frozenset[Hazard]) -> list[str]:
    if statement.is_held(allowed):
        return list(lines([statement], allowed))
    if statement.transactional:
        return ["BEGIN;", *_settings([statement]), statement.sql, "COMMIT;"]
    wait = f"SET lock_timeout = {literal(f'{statement.lock_timeout}ms')};"
    return [wait, statement.sql, "RESET lock_timeout;"]
