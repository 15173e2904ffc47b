"""What an operator does and sees, with the keyboard and the mouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import connections
from django.urls import reverse
from playwright.sync_api import Browser

from auth_app import ledger
from auth_app.models import User, UserCredits
from data_app.models import Dataset
from fltr_project.admin import keys
from tests.browser.conftest import Visit, log_in, somebody
from tests.conftest import Databases, Outcome
from tests.factories import ApiKeyCreditsFactory, DatasetFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.slow


@pytest.fixture
def ada(visit: Visit) -> User:
    dataset: Dataset = DatasetFactory.create(name="Weather of 2025")
    ada = UserFactory.create(email="ada@example.org")
    for click in range(2):
        ledger.consume(
            ada.pk,
            5,
            operation="query.premium",
            resource_id=str(dataset.pk),
            idempotency_key=f"click-{click}",
        )
    return ada


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


def test_nobody_is_kept_out_or_cut_off(
    visit: Visit, ada: User, databases: Databases, run: Callable[..., Outcome]
) -> None:
    """Every page, light and dark, wide and narrow: for screen readers, and under the policy."""
    databases.execute("auth", "ALTER TABLE users DROP CONSTRAINT users_email_unique")
    assert run("backup_database", "--database", "fltr", "--no-proof").code == 0
    key = ApiKeyCreditsFactory.create(
        user=ada, api_key="sk_live_0123456789abcd_wxyz", daily_limit=9
    )
    ledger.grant(ada.pk, 9, operation="fill", api_key=key.pk)
    team = TeamFactory.create(owner=ada)
    bought = ledger.grant(ada.pk, 500, operation="pack", type="purchase", idempotency_key="evt_1")
    ledger.reverse(bought.id, 20)
    held = ledger.hold(ada.pk, 5, operation="answer")
    UserFactory.create(email="adam@example.org")
    pages = [
        "/admin/",
        "/admin/search/?q=ada",
        "/admin/search/?q=nobody",
        "/admin/auth_app/user/",
        "/admin/auth_app/credittransaction/",
        reverse("admin:auth_app_user_change", args=[ada.pk]),
        reverse("admin:auth_app_team_change", args=[team.pk]),
        keys.address(ada.pk, key.pk),
        reverse("admin:auth_app_credittransaction_change", args=[bought.id]),
        reverse("admin:auth_app_credittransaction_release", args=[held.id]),
        reverse("admin:auth_app_user_grant", args=[ada.pk]),
        "/admin/data_app/dataset/",
        "/admin/fltr_project/schemaoperation/",
        "/admin/schemas/",
    ]
    visit.go(pages[-1])
    visit.page.click("text=Verify both databases")
    visit.page.wait_for_selector(".messagelist")
    busy = [pages[0], pages[4], pages[5], pages[-1]]
    found = []
    looks: list[tuple[Literal["light", "dark"], int, list[str]]] = [
        ("light", 1280, pages),
        ("dark", 390, pages),
        ("dark", 1280, busy),
        ("light", 390, busy),
    ]
    for scheme, width, looked_at in looks:
        visit.page.emulate_media(color_scheme=scheme)
        visit.page.set_viewport_size({"width": width, "height": 900})
        for path in looked_at:
            visit.go(path)
            violations = Axe().run(visit.page).response["violations"]
            found += [
                f"{path} {scheme} {width}: {each['id']} {each['nodes'][0]['html'][:150]}"
                for each in violations
            ]
            wide = visit.page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                found.append(f"{path} {scheme} {width}: is {wide} wide")
    assert found == []
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
