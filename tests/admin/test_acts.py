from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.contrib.auth.models import User as StaffUser
from django.test import Client
from django.urls import reverse

from auth_app import ledger
from auth_app.models import CreditTransaction, User, UserCredits
from fltr_project.admin import keys
from tests.factories import ApiKeyCreditsFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "auth", "fltr"])


@pytest.fixture
def ada() -> User:
    return UserFactory.create(email="ada@example.org")


def grant_address(user: User) -> str:
    return reverse("admin:auth_app_user_grant", args=[user.pk])


def act_address(name: str, id_: str) -> str:
    return reverse(f"admin:auth_app_credittransaction_{name}", args=[id_])


def form(client: Client, address: str, **fields: Any) -> dict[str, Any]:
    """The form's fields as a browser sends them, with these filled in."""
    page = client.get(address)
    assert page.status_code == 200
    html = page.content.decode()
    found = dict(re.findall(r'name="(token|amount)" value="([^"]*)"', html))
    return {**found, "reason": "They asked for it", **fields}


def confirm(client: Client, address: str, fields: dict[str, Any]) -> str:
    """The page after the act."""
    page = client.post(address, {**fields, "confirm": "1"}, follow=True)
    assert page.status_code == 200
    return " ".join(page.content.decode().split())


def test_credits_are_given_after_a_preview_with_a_reason(staff: Client, ada: User) -> None:
    fields = form(staff, grant_address(ada), amount=50)
    preview = staff.post(grant_address(ada), fields).content.decode()
    assert "The balance goes from 100 to 150." in " ".join(preview.split())
    assert ledger.balance(ada.pk) == 100
    page = confirm(staff, grant_address(ada), fields)
    assert "Give 50 credits: ada@example.org. Done. The balance is 150." in page
    entry = CreditTransaction.objects.get(operation="support.grant")
    assert (entry.type, entry.amount) == ("bonus", 50)
    assert entry.transaction_metadata == {"by": "staff", "reason": "They asked for it"}
    log = LogEntry.objects.get()
    assert log.object_id == entry.pk
    assert log.change_message == "Give 50 credits: ada@example.org. They asked for it"


def test_a_double_click_acts_once(staff: Client, ada: User) -> None:
    fields = form(staff, grant_address(ada), amount=50)
    confirm(staff, grant_address(ada), fields)
    page = confirm(staff, grant_address(ada), fields)
    assert "That was done before, and was not done again." in page
    assert ledger.balance(ada.pk) == 150
    assert LogEntry.objects.count() == 1
    # Another form is another act.
    confirm(staff, grant_address(ada), form(staff, grant_address(ada), amount=50))
    assert ledger.balance(ada.pk) == 200


def test_a_charge_is_refunded_in_part_and_whole(staff: Client, ada: User) -> None:
    spent = ledger.consume(ada.pk, 30, operation="query")
    address = act_address("refund", spent.id)
    assert (
        address in staff.get(reverse("admin:auth_app_user_change", args=[ada.pk])).content.decode()
    )
    fields = form(staff, address)
    assert fields["amount"] == "30"
    confirm(staff, address, {**fields, "amount": 10})
    assert ledger.balance(ada.pk) == 80
    again = form(staff, address)
    assert again["amount"] == "20"
    confirm(staff, address, again)
    assert ledger.balance(ada.pk) == 100
    refunds = CreditTransaction.objects.filter(refund_of=spent.id)
    assert sorted(refund.amount for refund in refunds) == [10, 20]
    written = {str(refund.transaction_metadata) for refund in refunds}
    assert written == {"{'by': 'staff', 'reason': 'They asked for it'}"}


def test_a_refusal_is_in_the_ledgers_own_words(staff: Client, ada: User) -> None:
    spent = ledger.consume(ada.pk, 30, operation="query")
    address = act_address("refund", spent.id)
    page = confirm(staff, address, form(staff, address, amount=31))
    assert f"Of usage &#x27;{spent.id}&#x27; 30 credits are left to refund." in page
    assert ledger.balance(ada.pk) == 70
    assert not LogEntry.objects.exists()


def test_a_purchase_is_reversed_and_what_was_missing_is_told(staff: Client, ada: User) -> None:
    bought = ledger.grant(ada.pk, 500, operation="pack", type="purchase")
    ledger.consume(ada.pk, 550, operation="query")
    address = act_address("reverse", bought.id)
    page = confirm(staff, address, form(staff, address))
    assert "450 credits were missing and are owed." in page
    assert ledger.owed(ada.pk) == 450
    assert ledger.balance(ada.pk) == 0


def test_a_hold_is_released(staff: Client, ada: User) -> None:
    held = ledger.hold(ada.pk, 12, operation="answer")
    address = act_address("release", held.id)
    fields = form(staff, address)
    confirm(staff, address, fields)
    assert ledger.balance(ada.pk) == 100
    assert "They asked for it" in LogEntry.objects.get().change_message
    assert "done before" in confirm(staff, address, fields)
    settled = ledger.hold(ada.pk, 12, operation="answer")
    address, fields = (
        act_address("release", settled.id),
        form(staff, act_address("release", settled.id)),
    )
    ledger.settle(settled, 5)
    assert "was settled with 5 credits." in confirm(staff, address, fields)


@pytest.mark.parametrize("kind", ["team", "api_key"])
def test_a_teams_and_a_keys_pool_are_given_to(staff: Client, ada: User, kind: str) -> None:
    if kind == "team":
        team = TeamFactory.create(owner=ada)
        address = reverse("admin:auth_app_team_grant", args=[team.pk])
        account = {"team_id": team.pk}
    else:
        key = ApiKeyCreditsFactory.create(user=ada)
        address = reverse("admin:auth_app_apikeycredits_grant", args=[ada.pk, keys.digest(key.pk)])
        account = {"api_key": key.pk}
    confirm(staff, address, form(staff, address, amount=7))
    assert ledger.balance(ada.pk, **account) == 7


def test_an_act_is_offered_only_where_it_can_be_done(staff: Client, ada: User) -> None:
    bought = ledger.grant(ada.pk, 500, operation="pack", type="purchase")
    spent = ledger.consume(ada.pk, 30, operation="query")
    held = ledger.hold(ada.pk, 12, operation="answer")
    back = ledger.refund(spent.id)

    def offered(id_: str) -> list[str]:
        page = staff.get(reverse("admin:auth_app_credittransaction_change", args=[id_]))
        return re.findall(r'href="\.\./(\w+)/"', page.content.decode())

    assert [offered(each) for each in (bought.id, held.id, spent.id, back.id)] == [
        ["reverse"],
        ["release"],
        [],
        [],
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reason": ""}, "This field is required"),
        ({"reason": "x"}, "at least 3 characters"),
        ({"amount": 0}, "greater than or equal to 1"),
        ({"amount": 2**31}, "less than or equal to 2147483647"),
        ({"amount": 2**31 - 1}, "cannot hold 2147483647 credits more"),
        ({"reason": "a\0b"}, "Null characters are not allowed"),
    ],
)
def test_error_a_form_that_is_not_filled_in(
    staff: Client, ada: User, fields: dict[str, Any], said: str
) -> None:
    page = confirm(staff, grant_address(ada), form(staff, grant_address(ada), amount=5) | fields)
    assert said in page
    assert ledger.balance(ada.pk) == 100
    assert not LogEntry.objects.exists()


def test_error_whoever_only_looks_cannot_act(client: Client, ada: User) -> None:
    person = StaffUser.objects.create_user("looks", is_staff=True)
    person.groups.set(Group.objects.filter(name="support"))
    client.force_login(person)
    bought = ledger.grant(ada.pk, 5, operation="pack", type="purchase")
    spent = ledger.consume(ada.pk, 5, operation="query")
    held = ledger.hold(ada.pk, 1, operation="answer")
    fields = {"token": "0" * 32, "reason": "Because", "amount": 1, "confirm": "1"}
    for address in (
        grant_address(ada),
        act_address("refund", spent.id),
        act_address("reverse", bought.id),
        act_address("release", held.id),
    ):
        assert client.get(address).status_code == 403
        assert client.post(address, fields).status_code == 403
    page = client.get(reverse("admin:auth_app_user_change", args=[ada.pk])).content.decode()
    assert "Give credits" not in page
    assert ">Refund<" not in page
    assert ledger.balance(ada.pk) == 99


def test_error_a_post_from_elsewhere(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(StaffUser.objects.create_superuser("root"))
    fields = {"token": "0" * 32, "reason": "Because", "amount": 1, "confirm": "1"}
    assert client.post(grant_address(ada), fields).status_code == 403
    assert UserCredits.objects.get(pk=ada.pk).credits == 100
