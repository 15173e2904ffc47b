from __future__ import annotations

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from auth_app import ledger
from auth_app.models import Subscription, Team, User
from fltr_project.admin import keys
from fltr_project.admin.search import find
from tests.admin.conftest import counted
from tests.factories import ApiKeyCreditsFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "auth", "fltr"])


@pytest.fixture
def ada() -> User:
    for number in range(3):
        UserFactory.create(email=f"bob{number}@example.org")
    return UserFactory.create(
        id="user-ada", name="Ada", email="ada.lovelace@example.org", stripe_customer_id="cus_Ada1"
    )


@pytest.fixture
def team(ada: User) -> Team:
    return TeamFactory.create(id="team-1", name="Acme Rockets", owner=ada)


def landed(client: Client, text: str) -> str:
    response = client.get(reverse("admin:search"), {"q": text})
    return str(response.headers.get("Location", ""))


def person(id_: str) -> str:
    return reverse("admin:auth_app_user_change", args=[id_])


@pytest.mark.parametrize(
    "text",
    [
        "ada.lovelace@example.org",
        "  ada.love ",
        "ADA.Lovelace@Example.org",
        "user-ada",
        "cus_Ada1",
        "sub_77",
        "cus_of_the_subscription",
    ],
)
def test_a_person_is_found_by(staff: Client, ada: User, text: str) -> None:
    Subscription.objects.create(
        plan="pro",
        reference_id=ada.pk,
        stripe_subscription_id="sub_77",
        stripe_customer_id="cus_of_the_subscription",
    )
    assert landed(staff, text) == person(ada.pk)


@pytest.mark.parametrize("text", ["team-1", "Acme Rockets", "acme", "Acme R"])
def test_a_team_is_found_by(staff: Client, team: Team, text: str) -> None:
    assert landed(staff, text) == reverse("admin:auth_app_team_change", args=[team.pk])


@pytest.mark.parametrize("text", ["evt_123", "evt_12"])
def test_a_transaction_is_found_by_its_key_and_its_id(staff: Client, ada: User, text: str) -> None:
    entry = ledger.grant(ada.pk, 5, operation="pack", idempotency_key="evt_123")
    address = reverse("admin:auth_app_credittransaction_change", args=[entry.id])
    assert landed(staff, text) == address
    assert landed(staff, entry.id) == address


@pytest.mark.parametrize("text", ["wxyz", "sk_l…wxyz", "…wxyz", "...wxyz"])
def test_an_api_key_is_found_by_its_end(staff: Client, ada: User, text: str) -> None:
    key = ApiKeyCreditsFactory.create(user=ada, api_key="sk_live_0123456789_wxyz")
    address = landed(staff, text)
    assert address == keys.address(ada.pk, key.pk)
    assert key.pk not in address
    assert "0123456789" not in staff.get(address).content.decode()


def test_several_are_listed_with_what_they_were_found_by(staff: Client, ada: User) -> None:
    shown = staff.get(reverse("admin:search"), {"q": "bob"}).content.decode()
    assert shown.count("@example.org</a>") == 3
    assert "ada" not in shown


@pytest.mark.parametrize(
    "text", ["", "  ", "nobody", "lovelace", "%", "a_a", "x" * 5000, "'; --", "\\", "\U0010ffff"]
)
def test_nothing_is_found_and_said(staff: Client, ada: User, text: str) -> None:
    shown = staff.get(reverse("admin:search"), {"q": text})
    assert shown.status_code == 200
    assert "It is looked for exactly" in shown.content.decode()


def test_it_is_one_query(ada: User) -> None:
    with counted() as sent:
        assert len(find("bob", lambda _: True)) == 3
    assert [alias for alias, _ in sent] == ["auth"]


def test_nobody_finds_what_they_may_not_see(ada: User) -> None:
    ledger.grant(ada.pk, 5, operation="pack", idempotency_key="ada.1")
    may_see = {"auth_app.view_credittransaction"}
    hits = find("ada", lambda permission: permission in may_see)
    assert [hit.kind for hit in hits] == ["Transaction"]
    assert find("ada", lambda _: False) == ()


@pytest.mark.parametrize(
    ("text", "index"),
    [("ada", "users_email_idx"), ("evt", "credit_transactions_idempotency_key_idx"), ("Acme", "teams_name_idx"), ("wxyz", "api_key_credits_api_key_idx"), ("cus_1", "users_stripe_customer_id_idx")],
)  # fmt: skip
def test_each_way_has_its_index(text: str, index: str) -> None:
    """By the plan of the very statement, told not to read tables where an index could serve."""
    plans: list[str] = []

    def explain(execute, statement, params, many, context):  # type: ignore[no-untyped-def]
        if "UNION ALL" in str(statement):
            with context["connection"].connection.cursor() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off")
                cursor.execute(f"EXPLAIN {statement}", params)
                plans.append("\n".join(str(line) for (line,) in cursor.fetchall()))
        return execute(statement, params, many, context)

    with connections["auth"].execute_wrapper(explain):
        find(text, lambda _: True)
    (plan,) = plans
    assert f"Index Scan using {index}" in plan or f"Bitmap Index Scan on {index}" in plan
    assert "Seq Scan on users" not in plan
    assert "Seq Scan on credit_transactions" not in plan
