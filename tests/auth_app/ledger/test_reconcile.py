from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
from django.db import connections

from auth_app import ledger
from auth_app.ledger import reconcile
from tests.conftest import ROOT, Databases, Outcome, assert_not_there


@pytest.fixture
def filled(databases: Databases) -> Databases:
    """Two users, a team and an API key that agree with their ledgers."""
    databases.execute(
        "auth", "INSERT INTO public.users (id, name, email) VALUES ('u', 'U', 'u'), ('v', 'V', 'v')"
    )
    databases.execute(
        "auth", "INSERT INTO public.teams (id, name, owner_id) VALUES ('t', 'T', 'u')"
    )
    databases.execute(
        "auth", "INSERT INTO public.api_key_credits (api_key, user_id) VALUES ('secret-key', 'u')"
    )
    ledger.grant("u", 10, team_id="t", operation="fill")
    ledger.grant("u", 10, api_key="secret-key", operation="fill")
    ledger.refund(ledger.consume("u", 5, operation="q").id, 2)
    return databases


def drift(databases: Databases) -> None:
    for statement in (
        "UPDATE public.user_credits SET credits = credits + 7 WHERE user_id = 'u'",
        "UPDATE public.user_credits SET credits = 0 WHERE user_id = 'v'",
        "UPDATE public.teams SET credits = credits - 1",
        "UPDATE public.api_key_credits SET credits = credits + 1",
    ):
        databases.execute("auth", statement)


def test_balances_that_agree_are_clean(filled: Databases, run: Callable[..., Outcome]) -> None:
    outcome = run("reconcile_credits")
    assert (outcome.err, outcome.code) == ("", 0)
    assert "4 of 4 balances agree with their ledgers." in outcome.out


def test_drift_is_listed_and_repaired_by_rows(
    filled: Databases, run: Callable[..., Outcome]
) -> None:
    drift(filled)
    balances = filled.execute("auth", "SELECT user_id, credits FROM public.user_credits ORDER BY 1")
    outcome = run("reconcile_credits")
    assert outcome.code == 1
    assert outcome.out.splitlines()[1:] == [
        "drift user 'u': balance 104, ledger 97, difference +7",
        "drift user 'v': balance 0, ledger 100, difference -100",
        "drift team 't': balance 9, ledger 10, difference -1",
        "drift API key … of user 'u': balance 11, ledger 10, difference +1",
        "0 of 4 balances agree with their ledgers.",
        "Write the correcting rows with `manage.py reconcile_credits --repair`.",
    ]
    assert run("reconcile_credits", "--repair").code == 0
    assert run("reconcile_credits").code == 0
    assert (
        filled.execute("auth", "SELECT user_id, credits FROM public.user_credits ORDER BY 1")
        == balances
    )
    assert filled.execute(
        "auth",
        "SELECT user_id, payer, type, amount, balance_after FROM public.credit_transactions"
        " WHERE operation = 'reconcile' ORDER BY id",
    ) == [
        ("u", "user", "bonus", 7, 104),
        ("v", "user", "usage", -100, 0),
        ("u", "team", "usage", -1, 9),
        ("u", "api_key", "bonus", 1, 11),
    ]


def test_a_user_without_an_account_is_found_and_gets_one(
    filled: Databases, run: Callable[..., Outcome]
) -> None:
    filled.execute("auth", "DELETE FROM public.user_credits WHERE user_id = 'v'")
    filled.execute("auth", "UPDATE public.user_credits SET credits = 97 WHERE user_id = 'u'")
    outcome = run("reconcile_credits")
    assert outcome.code == 1
    assert "no account user 'v', so every consume is refused" in outcome.out
    assert run("reconcile_credits", "--repair").code == 0
    assert ledger.balance("v") == 100
    assert run("reconcile_credits").code == 0


def test_a_team_of_nobody_stays_listed(filled: Databases, run: Callable[..., Outcome]) -> None:
    filled.execute("auth", "INSERT INTO public.teams (name, credits) VALUES ('Orphan', 5)")
    outcome = run("reconcile_credits", "--repair")
    assert outcome.code == 1
    assert "difference +5, not repaired: no user owns it" in outcome.out


def test_repair_looks_again_under_the_lock(filled: Databases) -> None:
    """A consume that lands between finding a drift and repairing it is not repaired away."""
    drift(filled)
    found = list(reconcile.drifts())
    ledger.consume("u", 3, operation="q")
    repaired = {each.account: each for each in reconcile.repair()}
    assert [each.difference for each in found] == [7, -100, -1, 1]
    assert (repaired["u"].balance, repaired["u"].difference) == (101, 7)
    assert list(reconcile.drifts()) == []


def test_json_says_it_all_and_no_key(filled: Databases, run: Callable[..., Outcome]) -> None:
    drift(filled)
    outcome = run("reconcile_credits", "--format", "json")
    document = json.loads(outcome.out)
    jsonschema.validate(document, _schema("reconcile_credits"))
    assert (outcome.code, document["exit_code"], document["verdict"]) == (1, 1, "drift")
    assert [each["difference"] for each in document["drifts"]] == [7, -100, -1, 1]
    assert document["drifts"][-1]["account"] == "…"
    assert "secret-key" not in outcome.out


@pytest.mark.parametrize("option", [[], ["--format", "json"]])
def test_two_keys_of_one_user_are_told_apart(
    filled: Databases, run: Callable[..., Outcome], option: list[str]
) -> None:
    for key in ("sk_live_0123456789abcdef", "sk_live_0123456789abcde0"):
        filled.execute(
            "auth",
            "INSERT INTO public.api_key_credits (api_key, user_id, credits) VALUES (%s, 'u', 5)",
            key,
        )
    out = run("reconcile_credits", *option).out.replace(r"\u2026", "…")
    assert re.findall(r'sk_l[^ "]*', out) == ["sk_l…cde0", "sk_l…cdef"]


def test_json_says_whether_anything_was_repaired(
    filled: Databases, run: Callable[..., Outcome]
) -> None:
    def repaired(*options: str) -> bool:
        outcome = run("reconcile_credits", "--format", "json", *options)
        return bool(json.loads(outcome.out)["repaired"])

    assert repaired("--repair") is False
    drift(filled)
    assert repaired() is False
    assert repaired("--repair") is True
    assert repaired("--repair") is False
    filled.execute("auth", "INSERT INTO public.teams (name, credits) VALUES ('Orphan', 5)")
    assert repaired("--repair") is False
    filled.execute("auth", "DELETE FROM public.user_credits WHERE user_id = 'v'")
    assert repaired("--repair") is True


@pytest.mark.parametrize("option", [[], ["--repair"]])
def test_error_an_empty_schema(
    databases: Databases, run: Callable[..., Outcome], option: list[str]
) -> None:
    databases.execute("auth", "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert_not_there(run("reconcile_credits", *option), databases, "migrate")


def test_it_only_reads_without_repair(filled: Databases, run: Callable[..., Outcome]) -> None:
    drift(filled)
    connections["auth"].ensure_connection()
    connections["auth"].connection.read_only = True
    assert run("reconcile_credits").code == 1


def _schema(command: str) -> dict[str, Any]:
    path = ROOT / "docs" / "json" / f"{command}.schema.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def test_a_missing_account_is_opened_with_what_its_ledger_says(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    databases.execute("auth", "INSERT INTO users (id, name, email) VALUES ('w', 'W', 'w')")
    databases.execute("auth", "SELECT grant_credits('w', 500, 'purchase', 'pack')")
    databases.execute("auth", "SELECT consume_credits('w', 15, 'q')")
    databases.execute("auth", "DELETE FROM user_credits WHERE user_id = 'w'")
    outcome = run("reconcile_credits", "--repair")
    assert (outcome.code, "drift" in outcome.out) == (0, False)
    account = "SELECT credits, total_credits_purchased FROM user_credits WHERE user_id = 'w'"
    assert databases.execute("auth", account) == [(585, 500)]
    rows = "SELECT count(*) FROM credit_transactions WHERE user_id = 'w'"
    assert databases.execute("auth", rows) == [(3,)]


def test_expired_holds_are_given_back_on_request(
    filled: Databases, run: Callable[..., Outcome]
) -> None:
    brief = timedelta(microseconds=1)
    holds = [
        ledger.hold("u", 3, operation="q", expires_in=brief),
        ledger.hold("u", 4, operation="q", expires_in=brief, team_id="t"),
        ledger.hold("u", 5, operation="q", expires_in=brief, api_key="secret-key"),
        ledger.hold("u", 6, operation="q"),
    ]
    ledger.settle(ledger.hold("u", 7, operation="q", expires_in=brief), 1)
    assert "given back" not in run("reconcile_credits").out
    assert ledger.balance("u", team_id="t") == 6
    outcome = run("reconcile_credits", "--release-expired")
    assert "3 expired holds given back." in outcome.out
    assert outcome.code == 0
    assert ledger.balance("u", team_id="t") == 10
    assert [ledger.release(hold).replayed for hold in holds] == [True, True, True, False]
    again = json.loads(run("reconcile_credits", "--release-expired", "--format=json").out)
    assert again["released"] == 0
