from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import Group
from django.contrib.auth.models import User as StaffUser
from django.core.cache import cache
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from auth_app import ledger
from auth_app.models import ApiKeyCredits, CreditTransaction, UserCredits
from fltr_project.admin import dashboard, keys
from fltr_project.postgres import environment_mark
from tests.admin.conftest import counted
from tests.factories import ApiKeyCreditsFactory, UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "auth", "fltr"])


def shown(client: Client) -> str:
    response = client.get(reverse("admin:index"))
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_an_empty_one_says_what_to_do(staff: Client) -> None:
    page = shown(staff)
    assert "No credits have moved in 30 days." in page
    assert "Nobody has looked yet." in page
    assert "not marked" in page


def test_it_says_what_moved_and_who_ran_out(staff: Client) -> None:
    ada, bob = UserFactory.create(email="ada@example.org"), UserFactory.create()
    spent = ledger.consume(ada.pk, 100, operation="query.premium")
    ledger.consume(bob.pk, 95, operation="document")
    ledger.refund(ledger.consume(bob.pk, 3, operation="document").id, 3)
    ledger.hold(bob.pk, 2, operation="answer")
    ledger.grant(bob.pk, 50, operation="pack", type="purchase")
    key = ApiKeyCreditsFactory.create(daily_limit=5)
    ledger.grant(key.user_id, 5, operation="fill", api_key=key.pk)
    ledger.consume(key.user_id, 5, operation="query", api_key=key.pk)
    environment_mark.write(connections["auth"], "staging")
    page = shown(staff)
    # Three sign-ups, a pack, and what the key was filled with; as much today as in the month.
    row = '<td class="number">355</td><td class="number">203</td><td class="number">3</td><td class="number">2</td>'
    assert page.count(row) == 2
    assert "355 granted, above the line, and 203 spent, hatched below it" in page
    assert page.index("query.premium") < page.index("document")
    assert '<span class="big">1</span> without credits' in page
    assert '<span class="big">1</span> open hold of 2 credits' in page
    assert '<span class="big">1</span> API key at a limit' in page
    assert "ada@example.org" in page
    assert "staging" in page
    assert spent.id not in page


def test_it_asks_four_times_and_then_not_for_a_minute(staff: Client) -> None:
    for count in (1, 30):
        cache.clear()
        for user in UserFactory.create_batch(count):
            ledger.consume(user.pk, 1, operation=f"operation-{count}")
        with counted() as sent:
            shown(staff)
        asked = [alias for alias, _ in sent]
        assert [asked.count(alias) for alias in ("auth", "fltr")] == [2, 1]
        # The session, the person, two for the permissions, and when somebody looked.
        assert asked.count("default") == 5
    with counted() as sent:
        shown(staff)
    assert [alias for alias, _ in sent] == ["default"] * 4


def test_days_that_are_over_are_added_up_once_an_hour(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = UserFactory.create()
    long_ago = timezone.now() - timedelta(days=3)

    def spent_on(moment: datetime, amount: int) -> None:
        CreditTransaction.objects.create(
            user=ada, amount=-amount, type="usage", operation="query", created_at=moment
        )

    def seen(now: datetime) -> tuple[int, int, list[int]]:
        dashboard.forget()
        monkeypatch.setattr(timezone, "now", lambda: now)
        found = dashboard.dashboard().ledger
        assert found
        return found.today.spent, found.month.spent, [each["total"] for each in found.operations]

    noon = timezone.now().replace(hour=12)
    spent_on(long_ago, 7)
    spent_on(noon, 2)
    assert seen(noon) == (2, 9, [9])
    # Of today everything is looked at anew, of the days before nothing for an hour.
    spent_on(long_ago, 20)
    spent_on(noon, 1)
    assert seen(noon) == (3, 10, [10])
    # A minute after midnight today is another day, and yesterday is still looked at.
    midnight = (noon + timedelta(days=1)).replace(hour=0, minute=1)
    spent_on(noon, 4)
    spent_on(midnight, 100)
    assert seen(midnight) == (100, 134, [134])
    spent_on(noon, 1)
    assert seen(midnight) == (100, 135, [135])
    # An hour later it is over.
    assert seen(midnight + timedelta(hours=1)) == (100, 135, [135])
    spent_on(noon, 1)
    spent_on(midnight, 1)
    assert seen(midnight + timedelta(hours=2)) == (101, 136, [136])


def test_drift_is_looked_at_when_somebody_asks(staff: Client) -> None:
    ada = UserFactory.create()
    key = ApiKeyCreditsFactory.create(user=ada, api_key="sk_live_0123456789abcd_wxyz")
    UserCredits.objects.filter(pk=ada.pk).update(credits=130)
    ApiKeyCredits.objects.filter(pk=key.pk).update(credits=4)
    shown(staff)
    page = staff.post(reverse("admin:look_at_credits"), follow=True).content.decode()
    page = " ".join(page.split())
    assert "2 accounts drift</span> looked at" in page
    assert "balance 130, ledger 100 (+30)" in page
    assert "balance 4, ledger 0 (+4)" in page
    assert keys.address(ada.pk, key.pk) in page
    assert key.pk not in page
    assert "reconcile_credits --repair" in page


def test_each_role_sees_its_part(client: Client) -> None:
    person = StaffUser.objects.create_user("operates", is_staff=True)
    person.groups.set(Group.objects.filter(name="operator"))
    client.force_login(person)
    user = UserFactory.create(email="ada@example.org")
    ledger.consume(user.pk, 100, operation="query")
    page = shown(client)
    assert "Databases" in page
    for words in ("ada@example.org", "Spent", "Accounts"):
        assert words not in page
    assert client.post(reverse("admin:look_at_credits")).status_code == 403
