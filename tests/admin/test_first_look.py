"""What a person who has just cloned this needs to see something: an account, and something to look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User as StaffUser
from django.test import Client
from django.urls import reverse

from auth_app.ledger import reconcile
from auth_app.models import CreditTransaction, User
from data_app.models import Dataset, ProcessingJob
from tests.conftest import Databases, Outcome

Run = Callable[..., Outcome]


@pytest.fixture
def _nobody(databases: Databases) -> Iterator[None]:
    """Nobody who may log in; Django's own database serves other tests too."""
    StaffUser.objects.all().delete()
    yield
    StaffUser.objects.all().delete()


@pytest.mark.usefixtures("_nobody")
def test_the_first_account_can_log_in_and_is_made_once(client: Client, run: Run) -> None:
    outcome = run("first_staff")
    assert (outcome.err, outcome.code) == ("", 0)
    found = re.search(r"Log in as (\S+) with the password (\S+)", outcome.out)
    assert found is not None
    name, password = found.groups()
    page = client.post(reverse("admin:login"), {"username": name, "password": password})
    assert page.status_code == 302
    assert "There is somebody who may log in." in run("first_staff").out
    assert StaffUser.objects.count() == 1


@pytest.mark.usefixtures("_nobody")
def test_a_name_that_is_taken_is_not_taken_over(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada lovelace")
    StaffUser.objects.create_user("adalovelace", password="theirs")
    assert "Log in as adalovelace1 with" in run("first_staff").out
    assert StaffUser.objects.get(username="adalovelace").check_password("theirs")


@pytest.mark.parametrize("mark", [None, "test", "production"])
def test_error_sample_data_is_for_development_only(
    databases: Databases, run: Run, mark: str | None
) -> None:
    databases.mark("auth", "development")
    databases.mark("fltr", mark)
    outcome = run("sample_data", "--users", "3")
    assert (outcome.out, outcome.code) == ("", 3)
    assert "Guard 'environment'" in outcome.err
    assert "mark_environment development" in outcome.err
    assert databases.execute("auth", "SELECT count(*) FROM users") == [(0,)]


def test_sample_data_adds_up_and_can_be_added_to(databases: Databases, run: Run) -> None:
    for alias in ("auth", "fltr"):
        databases.mark(alias, "development")
    for times in (1, 2):
        outcome = run("sample_data", "--users", "60")
        assert (outcome.err, outcome.code) == ("", 0)
        assert User.objects.count() == 60 * times
        told = re.search(r"([\d,]+) transactions", outcome.out)
        assert told is not None
        if times == 1:
            assert int(told[1].replace(",", "")) == CreditTransaction.objects.count()
    assert list(reconcile.drifts()) == []
    types = CreditTransaction.objects.values_list("type", flat=True)
    assert set(types) == {"bonus", "purchase", "usage", "refund"}
    assert set(CreditTransaction.objects.values_list("payer", flat=True)) == {
        "user",
        "team",
        "api_key",
    }
    assert Dataset.objects.count() == 24
    assert ProcessingJob.objects.filter(status="failed").exists()


@pytest.mark.parametrize("users", ["0", "-1", "many", "100001"])
def test_error_how_many(run: Run, users: str) -> None:
    outcome = run("sample_data", "--users", users)
    assert outcome.code == 2
    assert "is not a number of users from 1 to 100,000" in outcome.err or "argument" in outcome.err
