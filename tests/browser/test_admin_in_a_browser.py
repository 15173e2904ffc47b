"""What an operator does and sees, with the keyboard and the mouse."""

from __future__ import annotations

import csv

import pytest
from django.db import connections
from django.urls import reverse
from playwright.sync_api import Browser

from auth_app import ledger
from auth_app.models import Subscription, User, UserCredits
from fltr_project.admin import keys
from tests.browser.conftest import Visit, log_in, somebody
from tests.conftest import Databases
from tests.factories import ApiKeyCreditsFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.slow


def test_a_double_charge_is_found_settled_and_refunded_once(visit: Visit, ada: User) -> None:
    page = visit.page
    visit.go("/admin/")
    # Whoever comes to the first page can type at once.
    assert page.evaluate("document.activeElement.id") == "search-text"
    page.keyboard.type("ada@")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Balance and ledger agree")
    words = visit.words()
    assert words.count("Twice? same minute, another key") == 2
    assert "Weather of 2025" in words
    page.click("text=Refund >> nth=0")
    page.fill("#id_reason", "Charged twice for one click")
    page.click("text=Preview")
    page.wait_for_selector("text=The balance goes from 90 to 95.")
    refund = page.url
    # Twice before the first has an answer, as an impatient hand does.
    twice = "button => { button.click(); button.click() }"
    page.locator("button[name=confirm]").evaluate(twice)
    page.wait_for_selector("text=Given back +5")
    assert ledger.balance(ada.pk) == 95
    # Refused with the ledger's own sentence.
    visit.page.goto(refund)
    page.fill("#id_amount", "1")
    page.fill("#id_reason", "Once more")
    page.click("text=Preview")
    page.click("button[name=confirm]")
    page.wait_for_selector("text=/There is no usage '[-0-9a-f]+' with credits left to refund./")
    # And a bonus, and drift with its repair.
    visit.search("ada@example.org")
    page.click("text=Give credits")
    page.fill("#id_amount", "50")
    page.fill("#id_reason", "Sorry")
    page.click("text=Preview")
    page.click("text=Give 50 credits >> nth=-1")
    page.wait_for_selector("text=The balance is 145.")
    UserCredits.objects.filter(pk=ada.pk).update(credits=200)
    visit.go("/admin/")
    page.click("text=Look now")
    page.wait_for_selector("text=balance 200, ledger 145 (+55)")
    assert visit.messages == []


def test_each_role_logs_in_and_sees_its_part(browser: Browser, root: str) -> None:
    sees = {
        "support": ("Spent by operation", "Databases"),
        "billing": ("Spent by operation", "Databases"),
        "operator": ("Databases",),
    }
    ledger.consume(UserFactory.create(email="ada@example.org").pk, 5, operation="query")
    for role, words in sees.items():
        somebody(role, role)
        with browser.new_context() as context:
            visit = log_in(context.new_page(), root, role)
            assert all(each in visit.words() for each in words)
            assert ("Spent by operation" in visit.words()) is (role != "operator")
            visit.search("ada@")
            assert ("Give credits".upper() in visit.words()) is (role == "billing")
            assert visit.messages == []


def test_drift_is_found_and_its_repair_is_there_to_copy(
    browser: Browser, root: str, databases: Databases
) -> None:
    somebody("operator", "operator")
    databases.execute("auth", "ALTER TABLE users DROP CONSTRAINT users_email_unique")
    with browser.new_context() as context:
        visit = log_in(context.new_page(), root, "operator")
        visit.page.click("text=Schemas, drift, backups and history")
        visit.page.click("text=Verify both databases")
        visit.page.wait_for_selector(".messagelist")
        assert "Schema of auth: drift, 1 finding." in visit.words()
        (repair,) = visit.page.locator("pre").all_inner_texts()
        assert visit.messages == []
    assert "users_email_unique" in repair
    for statement in repair.splitlines():
        databases.execute("auth", statement)
    with browser.new_context() as context:
        visit = log_in(context.new_page(), root, "operator")
        visit.go("/admin/schemas/")
        visit.page.click("text=Verify both databases")
        visit.page.wait_for_selector(".messagelist")
        assert "Schema of auth: as the contract says." in visit.words()


def test_what_an_operator_has_in_hand_leads_to_its_page(visit: Visit, ada: User) -> None:
    """One person for each kind of input, beside others who must not be found."""
    UserFactory.create(email="bob@example.org", stripe_customer_id="cus_Bob")
    User.objects.filter(pk=ada.pk).update(stripe_customer_id="cus_Ada1")
    team = TeamFactory.create(name="Acme Rockets", owner=ada)
    key = ApiKeyCreditsFactory.create(user=ada, api_key="sk_live_0123456789abcd_wxyz")
    paid = ledger.grant(ada.pk, 500, operation="pack", type="purchase", idempotency_key="in_1Nv")
    Subscription.objects.create(plan="pro", reference_id=ada.pk, stripe_subscription_id="sub_77")
    person = reverse("admin:auth_app_user_change", args=[ada.pk])
    bought = reverse("admin:auth_app_credittransaction_change", args=[paid.id])
    leads = {
        "ada@example.org": person,
        "ADA@exam": person,
        ada.pk: person,
        "cus_Ada1": person,
        "sub_77": person,
        "in_1Nv": bought,
        "in_1": bought,
        paid.id: bought,
        team.pk: reverse("admin:auth_app_team_change", args=[team.pk]),
        "acme": reverse("admin:auth_app_team_change", args=[team.pk]),
        "wxyz": keys.address(ada.pk, key.pk),
    }
    visit.go("/admin/")
    for text, address in leads.items():
        visit.search(text)
        visit.page.wait_for_url(f"**{address}")
        assert "0123456789abcd" not in visit.page.content(), text
    # Several are a list, nothing is a sentence, and both begin at the keyboard.
    visit.search("@example.org")
    assert "Nothing" in visit.words()
    UserFactory.create(email="adam@example.org")
    visit.search("ada")
    assert {"ada@example.org", "adam@example.org"} <= set(visit.words().split())
    assert visit.messages == []


def test_a_purchase_is_reversed_as_far_as_it_is_there(visit: Visit, ada: User) -> None:
    page = visit.page
    ledger.grant(ada.pk, 500, operation="pack", type="purchase", idempotency_key="in_1Nv")
    ledger.consume(ada.pk, 400, operation="query")
    visit.go("/admin/")
    visit.search("in_1Nv")
    page.click("ul.object-tools >> text=Reverse")
    assert page.input_value("#id_amount") == "500"
    page.fill("#id_reason", "Disputed")
    page.click("text=Preview")
    page.wait_for_selector("text=The balance goes from 190 to 0.")
    page.click("button[name=confirm]")
    page.wait_for_selector("text=310 credits were missing and are owed.")
    assert ledger.balance(ada.pk) == 0
    page.wait_for_selector("text=Missing +310")
    page.click("text=Reversed -500")
    page.wait_for_selector("text=Takes back a purchase")
    assert '"reason": "Disputed"' in page.inner_text("pre")
    assert visit.messages == []


def test_a_hold_is_released(visit: Visit, ada: User) -> None:
    page = visit.page
    held = ledger.hold(ada.pk, 30, operation="answer")
    visit.go("/admin/")
    visit.search(held.id)
    page.click("ul.object-tools >> text=Release")
    page.fill("#id_reason", "The worker is gone")
    page.click("text=Preview")
    page.wait_for_selector("text=The balance goes from 60 to 90.")
    page.click("button[name=confirm]")
    page.wait_for_selector("text=The balance is 90.")
    assert ledger.balance(ada.pk) == 90
    assert visit.messages == []


def test_what_is_filtered_is_what_is_exported(visit: Visit, ada: User) -> None:
    page = visit.page
    ledger.grant(ada.pk, 500, operation="pack", type="purchase")
    visit.go("/admin/auth_app/credittransaction/")
    page.select_option("#id_type", "usage")
    page.click("button:has-text('Filter')")
    page.wait_for_url("**type=usage**")
    shown = page.locator("tbody tr").count()
    with page.expect_download() as started:
        page.click("text=CSV")
    with started.value.path().open(encoding="utf-8", newline="") as file:
        exported = list(csv.DictReader(file))
    assert [row["amount"] for row in exported] == ["-5", "-5"]
    assert len(exported) == shown
    assert started.value.suggested_filename.endswith(".csv")
    assert visit.messages == []


def test_a_database_that_is_down_leaves_the_rest(visit: Visit, ada: User) -> None:
    settings = connections["fltr"].settings_dict
    name = settings["NAME"]
    connections["fltr"].close()
    settings["NAME"] = "there_is_no_such_database"
    engine, settings["ENGINE"] = settings["ENGINE"], "fltr_project.postgres.backend"
    try:
        visit.go("/admin/data_app/dataset/")
        assert "fltr, with datasets and jobs does not answer" in visit.words()
        visit.go("/admin/schemas/")
        assert "there_is_no_such_database does not answer".upper() in visit.words().upper()
        visit.go("/admin/")
        visit.search("ada@")
        # Without the name of the dataset.
        assert "Balance and ledger agree" in visit.words()
    finally:
        settings["NAME"], settings["ENGINE"] = name, engine


def test_a_database_that_hangs_is_named_and_leaves_the_rest(
    visit: Visit, ada: User, databases: Databases
) -> None:
    with databases.connect("auth") as other, other.transaction():
        other.execute("LOCK TABLE public.users")
        visit.go("/admin/auth_app/user/")
        assert "with people and credits does not answer" in visit.words()
        # What the other database answers is there.
        visit.go("/admin/data_app/dataset/")
        assert "Weather of 2025" in visit.words()
    visit.go("/admin/auth_app/user/")
    assert ada.email in visit.words()
    # The page that could not be shown is the only thing that the console has to say.
    assert [message for message in visit.messages if "503" not in message] == []
