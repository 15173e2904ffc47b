"""Every page, light and dark, wide and narrow: for screen readers, for a telephone, and under the policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.auth.models import User as StaffUser
from django.db.models import Model
from django.urls import reverse

from auth_app import ledger
from auth_app.models import (
    ApiKeyCredits,
    DrizzleMigration,
    Subscription,
    User,
)
from data_app.models import Document, ProcessingJob
from fltr_project.admin import keys
from tests.browser.conftest import Visit
from tests.conftest import Databases, Outcome
from tests.factories import ApiKeyCreditsFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.slow

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDTHS = (1280, 390)


@pytest.fixture
def things(
    visit: Visit, ada: User, databases: Databases, run: Callable[..., Outcome]
) -> dict[str, str]:
    """A row of every table, drift, and the addresses of pages that no list of models leads to, by what they show."""
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
    spent = ledger.consume(ada.pk, 5, operation="query")
    UserFactory.create(email="adam@example.org")
    Subscription.objects.create(plan="pro", reference_id=ada.pk, stripe_subscription_id="sub_77")
    DrizzleMigration.objects.create(hash="a" * 64, created_at=1)
    for statement in (
        "INSERT INTO public.sessions (user_id, token, expires_at) VALUES (%s, 't', now())",
        "INSERT INTO public.accounts (user_id, account_id, provider_id) VALUES (%s, 'a', 'p')",
        "INSERT INTO public.verifications (identifier, value, expires_at) VALUES (%s, 'v', now())",
    ):
        databases.execute("auth", statement, ada.pk)
    (dataset,) = databases.execute("fltr", "SELECT id FROM public.datasets")
    Document.objects.create(dataset_id=dataset[0], filename="june.csv", object_key="june")
    ProcessingJob.objects.create(dataset_id=dataset[0], status="failed", error="No memory")
    visit.go("/admin/schemas/")
    visit.page.click("text=Verify both databases")
    visit.page.wait_for_selector(".messagelist")

    def of(page: str, id_: str) -> str:
        return reverse(f"admin:auth_app_{page}", args=[id_])

    return {
        "the dashboard": "/admin/",
        "schemas": "/admin/schemas/",
        "several found": "/admin/search/?q=ada",
        "nothing found": "/admin/search/?q=nobody",
        "an API key": keys.address(ada.pk, key.pk),
        "an API key's grant": keys.address(ada.pk, key.pk).replace("/of/", "/grant/"),
        "a user's grant": of("user_grant", ada.pk),
        "a team's grant": of("team_grant", team.pk),
        "a refund": of("credittransaction_refund", spent.id),
        "a reversal": of("credittransaction_reverse", bought.id),
        "a release": of("credittransaction_release", held.id),
        "a filter that finds nothing": "/admin/auth_app/credittransaction/?operation=none",
        "a filter that is none": "/admin/auth_app/credittransaction/?type=other",
        "a new password": "/admin/password_change/",
        "a new account": "/admin/auth/user/add/",
        "a new group": "/admin/auth/group/add/",
    }


def test_nobody_is_kept_out_or_cut_off(visit: Visit, things: dict[str, str]) -> None:
    pages = things | models_pages()
    found = [fault for name, path in pages.items() for fault in faults(visit, name, path)]
    assert not found, "\n".join(found)
    # Chromium has hints for Django's own forms: a user name beside a password, one autofocus.
    djangos = [f"{visit.root}{pages[name]}: " for name in ("a new password", "a new account")]
    assert [said for said in visit.messages if not said.startswith(tuple(djangos))] == []
    # Logged out, and shown no page.
    visit.page.click("text=Log out")
    for name, path in {"logged out": "", "log in": "/admin/login/"}.items():
        found += faults(visit, name, path)
    assert not found, "\n".join(found)


def models_pages() -> dict[str, str]:
    """The list of each model that the admin knows, and the page, history and deletion of one row of it."""
    pages = {}
    for model in admin.site._registry:
        names = f"admin:{model._meta.label_lower.replace('.', '_')}_"
        pages[f"list of {model.__name__}"] = reverse(f"{names}changelist")
        row: Model = model._default_manager.all()[:1].get()
        if model is ApiKeyCredits:
            # Its page has an address of its own.
            continue
        pages[f"a {model.__name__}"] = reverse(f"{names}change", args=[row.pk])
        if model in {StaffUser, Group}:
            pages[f"history of a {model.__name__}"] = reverse(f"{names}history", args=[row.pk])
            pages[f"deletion of a {model.__name__}"] = reverse(f"{names}delete", args=[row.pk])
    return pages


def faults(visit: Visit, name: str, path: str) -> list[str]:
    """What axe has against a page, and whether it is wider than the screen, in each look."""
    found = []
    for scheme in SCHEMES:
        # Before the page is there: colours change slowly.
        visit.page.emulate_media(color_scheme=scheme)
        if path:
            visit.go(path)
        else:
            visit.page.reload()
        for width in WIDTHS:
            visit.page.set_viewport_size({"width": width, "height": 900})
            look = f"{name}, {scheme}, {width}"
            found += [
                f"{look}: {each['id']} {each['nodes'][0]['html'][:150]}"
                for each in Axe().run(visit.page).response["violations"]
            ]
            wide = visit.page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                found.append(f"{look}: is {wide} wide")
    return found
