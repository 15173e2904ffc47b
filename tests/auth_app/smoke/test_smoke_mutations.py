"""Remove one guard at a time: exactly its check of smoke_credits must fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections, transaction

from auth_app.smoke import run as smoke
from auth_app.smoke.guards import credit_tables
from fltr_project.catalog import contract
from fltr_project.catalog.facts import Check, ForeignKey, Index, Key, Trigger
from tests.conftest import Databases

pytestmark = pytest.mark.slow

# Without these the ledger's own functions cannot run, so that every check fails.
INDISPENSABLE = {"users_pkey", "teams_pkey", "user_credits_pkey"}

# (function, what is taken out of it, what stands there then, the check that has to notice)
CONDITIONS = [
    ("try_consume_credits", "a.user_id = p_user_id AND a.credits >= p_amount", "a.user_id = p_user_id", "too much for a user"),
    ("try_consume_credits", "a.id = p_team_id AND a.credits >= p_amount", "a.id = p_team_id", "too much for a team"),
    ("try_consume_credits", "\n              AND a.credits >= p_amount\n", "\n", "too much for a user"),
    ("try_consume_credits", "          AND a.credits >= p_amount\n          AND (a.daily", "          AND (a.daily", "too much for an API key"),
    ("try_consume_credits", "(a.owner_id = p_user_id OR", "(true OR", "strangers' accounts"),
    ("try_consume_credits", "          AND a.user_id = (SELECT u.id FROM public.users u WHERE u.id = p_user_id FOR KEY SHARE)\n          AND (p_team_id", "          AND (p_team_id", "strangers' accounts"),
    ("try_consume_credits", "(a.daily_limit IS NULL OR", "(true OR", "daily limit"),
    ("try_consume_credits", "(a.monthly_limit IS NULL OR", "(true OR", "monthly limit"),
    ("try_consume_credits", "WHEN a.spent_on >= v_today THEN", "WHEN true THEN", "daily limit"),
    ("try_consume_credits", "WHEN a.spent_on >= v_month THEN", "WHEN true THEN", "monthly limit"),
    ("try_consume_credits", "p_amount >= 1 AND", "", "amounts below 1"),
    ("try_consume_credits", "AND p_operation > ''", "", "bad arguments"),
    ("try_consume_credits", "length(p_idempotency_key) BETWEEN 1 AND 255", "true", "bad arguments"),
    ("try_consume_credits", "pg_column_size(p_metadata) <= 2700", "true", "bad arguments"),
    ("credit_input_problem", "octet_length(p_metadata::text) > 16384", "false", "bad arguments"),
    ("credit_input_problem", "length(p_idempotency_key) > 255", "false", "bad arguments"),
    ("try_consume_credits", "t.idempotency_key = p_idempotency_key", "false", "idempotent replay"),
    ("credit_replay_verdict", "p_entry.team_id = p_team_id", "coalesce(p_entry.team_id = p_team_id, true)", "idempotent replay"),
    ("credit_replay_verdict", "p_entry.amount = p_amount", "true", "idempotent replay"),
    ("credit_input_problem", "p_amount IS NULL OR p_amount NOT BETWEEN 1 AND 2147483647", "false", "amounts below 1"),
    ("try_grant_credits", "t.team_id = p_team_id AND t.idempotency_key = p_idempotency_key", "false", "idempotent replay"),
    ("try_grant_credits", "t.api_key_id = p_api_key AND t.idempotency_key = p_idempotency_key", "false", "idempotent replay"),
    ("try_grant_credits", "IF p_collect THEN", "IF false THEN", "reversals"),
    ("try_reverse_credits", "v_left < greatest(v_amount, 1)", "false", "reversals"),
    ("try_reverse_credits", "missing := greatest(0, v_amount - balance)", "missing := 0", "reversals"),
    ("try_reinstate_credits", "v_reversed < greatest(v_amount, 1)", "false", "reversals"),
    ("try_reinstate_credits", "IF v_owed > 0 THEN", "IF false THEN", "reversals"),
    ("try_refund_credits", " AND t.reversal_of IS NULL", "", "reversals"),
    ("collect_credit_shortfall", "p_grant_id, least(v_owed.amount, v_left)", "p_grant_id, v_owed.amount", "reversals"),
    ("try_grant_credits", "- v_expired > 2147483647", "- v_expired > 9999999999", "overflow"),
    ("try_grant_credits", "balance::bigint + p_amount - p_balance_limit", "0", "renewal with rollover"),
    ("try_refund_credits", "v_left < greatest(v_amount, 1)", "false", "refunds"),
    ("try_consume_credits", "coalesce(p_api_key, p_team_id, p_user_id)) > 0", "coalesce(p_api_key, p_team_id, p_user_id)) > 9", "too much for a user"),
    ("consume_credits_many", "IF v_expired THEN", "IF false THEN", "expired holds"),
    ("credit_account_state", "p_payer = 'team'", "p_payer = 'none'", "expired holds"),
    ("try_refund_credits", "IF v_used.held_until IS NOT NULL THEN", "IF false THEN", "holds"),
    ("try_settle_credits", "WHERE r.refund_of = p_hold_id LIMIT 1)", "WHERE false LIMIT 1)", "holds"),
    ("try_settle_credits", "IF NOT p_overage", "IF false", "holds"),
    ("try_settle_credits", "least(uncharged, v_room)", "least(uncharged, 9999)", "holds"),
    ("try_settle_credits", "v_hold.created_at >= a.spent_on", "false", "holds"),
    ("ended_credit_hold", "AND v_used = p_used", "", "holds"),
    ("ended_credit_hold", "v_end <> 'settled'", "true", "holds"),
    ("consume_credits_many", "w.balance_left < w.amount", "false", "batch"),
    ("consume_credits_many", "w.left_today < w.amount", "false", "batch"),
    ("consume_credits_many", "(t.owner_id = i.user_id OR", "(true OR", "batch"),
    ("consume_credits_many", "AND k.user_id = i.user_id", "", "batch"),
    ("consume_credits_many", "coalesce(u.credits, t.credits, k.credits) IS NULL", "false", "batch"),
    ("consume_credits_many", "n.amount BETWEEN 1 AND 2147483647 AND", "", "bad arguments"),
    ("consume_credits_many", "WHERE jsonb_typeof(e.item) <> 'object'", "WHERE false", "bad arguments"),
    ("consume_credits_many", "e.first_place < i.place AND e.same_request", "false", "batch"),
    ("credits_taken_before", "v_taken + v_amount <= p_room", "true", "batch"),
    ("credit_transactions_keep_history", "NOT EXISTS (SELECT FROM public.users WHERE id = OLD.user_id)", "true", "trigger credit_transactions_keep_history"),
    ("credit_transactions_keep_history", "AND NOT EXISTS (SELECT FROM public.teams WHERE id = OLD.team_id)", "", "trigger credit_transactions_keep_history"),
    ("open_credit_account", "    IF FOUND THEN\n        INSERT INTO public.user_credits (user_id, credits, total", "    IF false THEN\n        INSERT INTO public.user_credits (user_id, credits, total", "bonus once"),
    ("credit_transactions_limit_refund", "<= -used.amount", "IS NOT NULL", "trigger credit_transactions_limit_refund"),
    ("credit_transactions_limit_refund", "used.held_until IS NULL AND NEW.held_until IS NULL", "true", "trigger credit_transactions_limit_refund"),
    ("credit_transactions_limit_refund", "t.amount = -NEW.amount", "true", "trigger credit_transactions_limit_refund"),
]  # fmt: skip


def guards() -> Iterator[tuple[str, str]]:
    """A statement that removes or disables a guard of the schema, and the check it belongs to."""
    catalog = contract.load("auth")
    for fact in catalog.facts:
        table = f"public.{fact.table}"
        if fact.table not in credit_tables(catalog):
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
    for granted in (
        "UPDATE ON public.user_credits",
        "UPDATE (credits) ON public.teams",
        "INSERT ON public.credit_transactions",
        "TRIGGER ON public.users",
        "EXECUTE ON FUNCTION public.consume_credits_many",
        "EXECUTE ON FUNCTION public.users_open_credit_account",
    ):
        yield f"GRANT {granted} TO PUBLIC", "rights of PUBLIC"


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


def test_the_credit_tables_are_those_of_the_contract() -> None:
    assert credit_tables(contract.load("auth")) == {
        *("users", "user_credits", "teams", "api_key_credits", "credit_transactions"),
    }
