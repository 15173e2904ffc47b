"""Remove one guard at a time: exactly its check of smoke_credits must fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections, transaction

from auth_app import smoke
from auth_app.smoke_guards import TABLES
from fltr_project.schema import contract
from fltr_project.schema.facts import Check, ForeignKey, Index, Key, Trigger
from tests.conftest import Databases

# Without these the ledger's own functions cannot run, so that every check fails.
INDISPENSABLE = {"users_pkey", "teams_pkey", "user_credits_pkey"}

# (function, what is taken out of it, what stands there then, the check that has to notice)
CONDITIONS = [
    ("try_consume_credits_text", "a.user_id = p_user_id AND a.credits >= p_amount", "a.user_id = p_user_id", "too much for a user"),
    ("try_consume_credits_text", "a.id = p_team_id AND a.credits >= p_amount", "a.id = p_team_id", "too much for a team"),
    ("try_consume_credits_text", "          AND a.credits >= p_amount\n", "", "too much for an API key"),
    ("try_consume_credits_text", "(a.owner_id = p_user_id OR", "(true OR", "strangers' accounts"),
    ("try_consume_credits_text", "a.api_key = p_api_key AND a.user_id = p_user_id", "a.api_key = p_api_key", "strangers' accounts"),
    ("try_consume_credits_text", "(a.daily_limit IS NULL OR", "(true OR", "daily limit"),
    ("try_consume_credits_text", "(a.monthly_limit IS NULL OR", "(true OR", "monthly limit"),
    ("try_consume_credits_text", "WHEN a.spent_on >= v_today THEN", "WHEN true THEN", "daily limit"),
    ("try_consume_credits_text", "WHEN a.spent_on >= v_month THEN", "WHEN true THEN", "monthly limit"),
    ("try_consume_credits_text", "p_amount < 1 OR", "", "amounts below 1"),
    ("try_consume_credits_text", "t.idempotency_key = p_idempotency_key", "false", "idempotent replay"),
    ("credit_replay_verdict", "p_entry.amount = p_amount", "true", "idempotent replay"),
    ("try_grant_credits", "p_amount < 1 OR", "", "amounts below 1"),
    ("try_grant_credits", "- v_lapse > 2147483647", "- v_lapse > 9999999999", "overflow"),
    ("try_grant_credits", "balance::bigint + p_amount - p_balance_limit", "0", "renewal with rollover"),
    ("try_refund_credits", "v_left < greatest(v_amount, 1)", "false", "refunds"),
    ("consume_credits_many", "v_balance < v_item.amount", "false", "batch"),
    ("consume_credits_many", "(t.owner_id = i.user_id OR", "(true OR", "batch"),
    ("consume_credits_many", "AND k.user_id = i.user_id", "", "batch"),
    ("consume_credits_many", "v_day_left < v_item.amount", "false", "batch"),
    ("consume_credits_many", "bool_and(a.credits >= a.total)", "true", "batch"),
    ("consume_credits_many", "v_plain AND v_users = v_accounts AND", "v_plain AND", "batch"),
    ("consume_credits_many", "AND i.amount BETWEEN 1 AND 2147483647),", "),", "batch"),
    ("consume_credits_many", "IS NULL AND i.idempotency_key IS NULL", "IS NULL", "batch"),
    ("credit_transactions_keep_history", "NOT EXISTS (SELECT FROM public.users WHERE id = OLD.user_id)", "true", "trigger credit_transactions_keep_history"),
    ("credit_transactions_keep_history", "AND NOT EXISTS (SELECT FROM public.teams WHERE id = OLD.team_id)", "", "trigger credit_transactions_keep_history"),
    ("credit_transactions_limit_refund", "<= -used.amount", "IS NOT NULL", "trigger credit_transactions_limit_refund"),
]  # fmt: skip


def guards() -> Iterator[tuple[str, str]]:
    """A statement that removes or disables a guard of the schema, and the check it belongs to."""
    for fact in contract.load("auth").facts:
        table = f"public.{fact.table}"
        if fact.table not in TABLES:
            continue
        if isinstance(fact, Check | Key):
            if fact.name not in INDISPENSABLE:
                # A unique key with a condition is an index without a constraint.
                partial = isinstance(fact, Key) and " WHERE " in fact.definition
                yield (
                    f"DROP INDEX public.{fact.name}"
                    if partial
                    else f"ALTER TABLE {table} DROP CONSTRAINT {fact.name}",
                    f"{fact.kind} {fact.name}",
                )
        elif isinstance(fact, Trigger):
            yield f"DROP TRIGGER {fact.name} ON {table}", f"trigger {fact.name}"
            yield f"ALTER TABLE {table} DISABLE TRIGGER {fact.name}", f"trigger {fact.name}"
            yield f"ALTER TABLE {table} ENABLE REPLICA TRIGGER {fact.name}", f"trigger {fact.name}"
        elif isinstance(fact, Index):
            yield f"DROP INDEX public.{fact.name}", "indexes"
        elif isinstance(fact, ForeignKey):
            yield f"ALTER TABLE {table} DROP CONSTRAINT {fact.name}", "foreign keys"
    yield "ALTER TABLE public.user_credits DISABLE TRIGGER ALL", "foreign keys"


def failing(statement: str) -> list[str]:
    """The checks that fail once the statement has run, in a transaction that is rolled back."""
    with transaction.atomic(using="auth"):
        with connections["auth"].cursor() as cursor:
            cursor.execute(statement)
        result = smoke.run("auth", consumes=1)
        transaction.set_rollback(True, using="auth")
    return [check.name for check in result.checks if not check.ok]


@pytest.mark.django_db(databases=["auth"])
def test_it_passes_where_nothing_is_missing() -> None:
    assert failing("SELECT 1") == []


@pytest.mark.django_db(databases=["auth"])
def test_it_fails_on_exactly_the_guard_that_is_missing() -> None:
    found = {statement: failing(statement) for statement, _ in guards()}
    assert found == {statement: [name] for statement, name in guards()}


@pytest.mark.django_db(databases=["auth"])
@pytest.mark.parametrize(
    ("condition", "name"),
    [
        ("type IN ('bonus', 'refund', 'usage', 'purchase')", "credit_transactions_type_check"),
        ("amount <> 0", "credit_transactions_amount_check"),
        ("balance_after > -1", "credit_transactions_balance_after_check"),
    ],
)
def test_a_guard_in_other_words_or_by_another_name_is_there(condition: str, name: str) -> None:
    table = "ALTER TABLE public.credit_transactions"
    dropped = f"{table} DROP CONSTRAINT {name}"
    assert failing(f"{dropped}, ADD CHECK ({condition})") == []
    assert failing(f"{dropped}, ADD CHECK ({condition}) NOT VALID") == [f"check {name}"]
    wider = f"{dropped}, ADD CONSTRAINT {name} CHECK ({condition} OR amount > 2)"
    assert failing(wider) == [f"check {name}"]


@pytest.mark.django_db(databases=["auth"])
@pytest.mark.parametrize(("function", "condition", "instead", "check"), CONDITIONS)
def test_it_fails_on_exactly_the_condition_that_is_missing(
    function: str, condition: str, instead: str, check: str
) -> None:
    with connections["auth"].cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_functiondef(oid) FROM pg_proc"
            " WHERE pronamespace = 'public'::regnamespace AND proname = %s",
            [function],
        )
        definition = cursor.fetchone()[0]
    assert condition in definition
    assert failing(definition.replace(condition, instead)) == [check]


def test_every_guard_of_the_contract_has_a_check(databases: Databases) -> None:
    names = [name for _, name in guards()]
    assert len(names) > 45
    assert {check.name for check in smoke.run("auth").checks} >= set(names)
