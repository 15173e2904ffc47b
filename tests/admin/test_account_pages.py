from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.contrib.auth.models import User as StaffUser
from django.test import Client
from django.urls import reverse

from auth_app import ledger
from auth_app.models import Session, Subscription, User, UserCredits
from fltr_project.admin import keys, pages
from tests.admin.conftest import counted
from tests.factories import ApiKeyCreditsFactory, DatasetFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "auth", "fltr"])


def person(user: User) -> str:
    return reverse("admin:auth_app_user_change", args=[user.pk])


def shown(client: Client, address: str) -> str:
    """The page's words, without the spaces between them."""
    response = client.get(address)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


@pytest.fixture
def ada() -> User:
    return UserFactory.create(email="ada@example.org")


def test_a_double_charge_is_settled_by_looking(staff: Client, ada: User) -> None:
    dataset = DatasetFactory.create(name="Weather of 2025")
    one, two = (
        ledger.consume(
            ada.pk, 5, operation="query", resource_id=str(dataset.pk), idempotency_key=f"click-{n}"
        )
        for n in range(2)
    )
    ledger.consume(ada.pk, 5, operation="other")
    ledger.refund(two.id)
    page = shown(staff, person(ada))
    assert page.count("Twice? same minute, another key") == 2
    assert f'href="#row-{one.id}"' in page
    assert f'href="#row-{two.id}"' in page
    # The refund, from the charge and back.
    assert "given back +5" in page
    assert (
        f'{reverse("admin:auth_app_credittransaction_change", args=[two.id])}">of this charge'
        in page
    )
    for words in ("click-0", "click-1", "Weather of 2025"):
        assert words in page


def test_charges_without_a_key_are_called_so(staff: Client, ada: User) -> None:
    for _ in range(2):
        ledger.consume(ada.pk, 5, operation="query")
    assert shown(staff, person(ada)).count("same minute, without a key") == 2


def test_the_balance_runs_by_the_ledger(staff: Client, ada: User) -> None:
    team = TeamFactory.create(owner=ada)
    ledger.grant(ada.pk, 50, operation="pack", team_id=team.pk)
    ledger.consume(ada.pk, 7, operation="mine")
    ledger.consume(ada.pk, 8, operation="theirs", team_id=team.pk)
    page = shown(staff, person(ada))
    for cell in ("-7", "93", "-8"):
        assert f'<td class="number">{cell}</td>' in page
    assert "42 there" in page
    assert "Balance and ledger agree" in page
    of_team = shown(staff, reverse("admin:auth_app_team_change", args=[team.pk]))
    for cell in ("+50", "50", "-8", "42"):
        assert f'<td class="number">{cell}</td>' in of_team


def test_drift_is_seen_with_its_repair(staff: Client, ada: User) -> None:
    UserCredits.objects.filter(pk=ada.pk).update(credits=130)
    page = shown(staff, person(ada))
    assert "Drift: +30" in page
    assert "The balance is 130, the ledger says 100." in page
    assert "reconcile_credits --repair" in page


def test_a_page_of_the_past_has_the_balances_of_then(
    staff: Client, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", 3)
    for n in range(1, 9):
        ledger.consume(ada.pk, n, operation=f"step-{n}")
    oldest = shown(staff, f"{person(ada)}?oldest=1")
    for cell in ("+100", "100", "-1", "99", "-2", "97"):
        assert f'<td class="number">{cell}</td>' in oldest
    assert "Drift" not in oldest


def test_what_is_around_a_person(staff: Client, ada: User) -> None:
    team = TeamFactory.create(name="Rockets", owner=ada)
    UserCredits.objects.filter(pk=ada.pk).update(team=team)
    key = ApiKeyCreditsFactory.create(
        user=ada, api_key="sk_live_0123456789abcd_wxyz", credits=0, daily_limit=20
    )
    ledger.grant(ada.pk, 30, operation="fill", api_key=key.pk)
    ledger.consume(ada.pk, 15, operation="query", api_key=key.pk)
    Session.objects.create(
        user=ada, token="secret-token", expires_at="2030-01-01T00:00:00Z", ip_address="192.0.2.7"
    )
    Subscription.objects.create(plan="pro", reference_id=ada.pk, status="active")
    held = ledger.hold(ada.pk, 12, operation="answer", expires_in=timedelta(hours=1))
    page = shown(staff, person(ada))
    for words in (
        "Rockets",
        "sk_l…wxyz",
        "15 of 20",
        "192.0.2.7",
        "pro, active",
        "Open holds",
        "-12",
    ):
        assert words in page, words
    assert reverse("admin:auth_app_credittransaction_change", args=[held.id]) in page
    assert '<svg class="chart"' in page
    assert "from 0 to 88, at least 0 and at most 88 credits" in page
    of_key = shown(staff, keys.address(ada.pk, key.pk))
    for cell in ("+30", "30", "-15", "15"):
        assert f'<td class="number">{cell}</td>' in of_key
    for secret in (key.pk, "secret-token"):
        assert secret not in page + of_key


def test_it_asks_as_often_whatever_there_is(staff: Client, ada: User) -> None:
    dataset = DatasetFactory.create()
    team = TeamFactory.create(owner=ada)
    key = ApiKeyCreditsFactory.create(user=ada)
    addresses = [
        person(ada),
        reverse("admin:auth_app_team_change", args=[team.pk]),
        keys.address(ada.pk, key.pk),
    ]

    def asked() -> list[dict[str, int]]:
        counts = []
        for address in addresses:
            with counted() as sent:
                assert staff.get(address).status_code == 200
            aliases = [alias for alias, _ in sent]
            counts.append({alias: aliases.count(alias) for alias in ("default", "auth", "fltr")})
        return counts

    few = asked()
    assert few == [
        {"default": 4, "auth": 3, "fltr": 0},
        {"default": 4, "auth": 3, "fltr": 0},
        # And one that finds the key among the user's.
        {"default": 4, "auth": 4, "fltr": 0},
    ]
    for n in range(60):
        spent = ledger.consume(ada.pk, 1, operation="query", resource_id=str(dataset.pk))
        if n % 2:
            ledger.refund(spent.id)
        ledger.hold(ada.pk, 1, operation="hold") if n % 10 == 0 else None
    many = asked()
    assert many[0] == {"default": 4, "auth": 3, "fltr": 1}
    assert many[1:] == few[1:]


def test_a_user_without_an_account_is_told(staff: Client, ada: User) -> None:
    UserCredits.objects.filter(pk=ada.pk).delete()
    assert "no credit account, every charge is refused" in shown(staff, person(ada))


def test_a_team_that_nobody_owns_has_a_page(staff: Client) -> None:
    team = TeamFactory.create(owner=None)
    assert "nobody" in shown(staff, reverse("admin:auth_app_team_change", args=[team.pk]))


@pytest.mark.parametrize("name", ["user", "team", "credittransaction"])
def test_error_nobody_of_that_id(staff: Client, name: str) -> None:
    assert staff.get(reverse(f"admin:auth_app_{name}_change", args=["nobody"])).status_code == 404


def test_error_a_key_of_somebody_else(staff: Client, ada: User) -> None:
    key = ApiKeyCreditsFactory.create()
    assert staff.get(keys.address(ada.pk, key.pk)).status_code == 404


def test_error_without_the_permission(client: Client, ada: User) -> None:
    person_ = StaffUser.objects.create_user("other", is_staff=True)
    client.force_login(person_)
    key = ApiKeyCreditsFactory.create(user=ada)
    spent = ledger.consume(ada.pk, 1, operation="query")
    addresses = [
        person(ada),
        keys.address(ada.pk, key.pk),
        reverse("admin:auth_app_credittransaction_change", args=[spent.id]),
        reverse("admin:auth_app_credittransaction_changelist"),
        reverse("admin:auth_app_credittransaction_export"),
    ]
    for address in addresses:
        assert client.get(address).status_code == 403
    person_.user_permissions.set(Permission.objects.filter(codename="view_user"))
    page = shown(client, person(ada))
    assert "ada@example.org" in page
    # No balance, no ledger, no session.
    for words in (">99<", "<h2>Ledger", '<svg class="chart', "Sessions"):
        assert words not in page
