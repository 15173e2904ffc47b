"""A new check or trigger on a credit table is proven, or named as not covered; it fails nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections, transaction

from auth_app.smoke import proofs
from auth_app.smoke import run as smoke
from fltr_project.catalog import contract, read
from fltr_project.catalog.facts import Catalog

pytestmark = pytest.mark.django_db(databases=["auth"])


@contextmanager
def part_of_the_contract(*statements: str) -> Iterator[None]:
    """The statements' effect is in the database and in the contract; rolled back at the end."""
    with transaction.atomic(using="auth"), pytest.MonkeyPatch.context() as patch:
        with connections["auth"].cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        with_it: Catalog = read.read(connections["auth"])
        load = contract.load
        patch.setattr(contract, "load", lambda alias: with_it if alias == "auth" else load(alias))
        yield
        transaction.set_rollback(True, using="auth")


@pytest.mark.parametrize(
    ("table", "condition"),
    [
        ("user_credits", "credits <= 2147483646"),
        ("teams", "credits < 2147483647 AND name <> ''"),
        ("teams", "NOT (credits = 77)"),
        ("credit_transactions", "amount <> 12345"),
        ("users", "name <> ''"),
    ],
)
def test_a_simple_check_is_proven_without_another_line(table: str, condition: str) -> None:
    added = f"ALTER TABLE public.{table} ADD CONSTRAINT brand_new CHECK ({condition})"
    with part_of_the_contract(added):
        result = smoke.run("auth", consumes=1)
    assert result.ok, result.detail
    assert {check.name: check.detail for check in result.checks}["check brand_new"] == "23514"


@pytest.mark.parametrize(
    ("table", "condition"),
    [
        ("api_key_credits", "user_id IS NOT NULL"),
        ("credit_transactions", "type IN ('purchase', 'usage', 'refund', 'bonus', 'gift')"),
    ],
)
def test_a_check_that_is_never_reached_is_named(table: str, condition: str) -> None:
    added = f"ALTER TABLE public.{table} ADD CONSTRAINT zz_new CHECK ({condition})"
    with part_of_the_contract(added):
        result = smoke.run("auth", consumes=1)
    assert result.ok, result.detail
    (why,) = [each for each in result.unchecked if each.startswith("check zz_new: ")]
    assert "something else refuses the row that breaks it first" in why


@pytest.mark.parametrize(
    "condition",
    ["credits + total_credits_purchased > -5", "credits > 0 OR credits = 0", "user_id ~ '.'"],
)
def test_another_check_is_named_as_not_covered(condition: str) -> None:
    added = f"ALTER TABLE public.user_credits ADD CONSTRAINT brand_new CHECK ({condition})"
    with part_of_the_contract(added):
        result = smoke.run("auth", consumes=1)
    assert result.ok, result.detail
    (why,) = [each for each in result.unchecked if each.startswith("check brand_new: ")]
    assert "name one in BAD_ROWS of auth_app/smoke/proofs.py" in why


def test_a_named_row_proves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(proofs.BAD_ROWS, "brand_new", lambda live: {"credits": 13})
    added = "ALTER TABLE public.user_credits ADD CONSTRAINT brand_new CHECK (credits % 100 <> 13)"
    with part_of_the_contract(added):
        checks = {check.name: check for check in smoke.run("auth", consumes=1).checks}
    assert checks["check brand_new"].detail == "23514"


def test_a_new_trigger_is_named_as_not_covered() -> None:
    with part_of_the_contract(
        "CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER brand_new AFTER UPDATE ON public.user_credits"
        " FOR EACH ROW EXECUTE FUNCTION public.nothing()",
    ):
        result = smoke.run("auth", consumes=1)
    assert result.ok, result.detail
    (why,) = [each for each in result.unchecked if each.startswith("trigger brand_new: ")]
    assert "give it a function in TRIGGERS of auth_app/smoke/proofs.py" in why


def test_a_new_table_of_credits_is_among_them() -> None:
    with part_of_the_contract(
        "CREATE TABLE public.credit_holds (id text PRIMARY KEY, held integer CHECK (held > 0),"
        " user_id text REFERENCES public.users (id))"
    ):
        result = smoke.run("auth", consumes=1)
    assert result.ok, result.detail
    assert "key credit_holds_pkey" in {check.name for check in result.checks}
    assert any(each.startswith("check credit_holds_held_check: ") for each in result.unchecked)


@pytest.mark.parametrize(
    ("expression", "breaks"),
    [
        ("(credits >= 0)", {"credits": -1}),
        ("(NOT (amount = 0))", {"amount": 0}),
        ("(NOT (amount > 7))", {"amount": 8}),
        ("((a >= 0) AND (b >= 0))", {"a": -1}),
        ("(kind = ANY ('{a,b}'::text[]))", {"kind": "smoke_credits"}),
        ("(key > ''::text)", {"key": ""}),
        ("(note IS NOT NULL)", {"note": None}),
        ("((a > 0) OR (b > 0))", None),
        ("(NOT (a IS NOT NULL))", None),
        ("(lower(a) = 'x'::text)", None),
        ("EXCLUDE USING gist (a WITH =)", None),
    ],
)
def test_what_breaks_a_condition(expression: str, breaks: dict[str, Any] | None) -> None:
    assert proofs.derived(expression) == breaks
