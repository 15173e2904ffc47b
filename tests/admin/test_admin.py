from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User as StaffUser
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from auth_app import ledger
from auth_app.models import (
    Account,
    ApiKeyCredits,
    CreditTransaction,
    DrizzleMigration,
    Session,
    Subscription,
    Verification,
)
from data_app.models import Dataset, Document, ProcessingJob
from fltr_project.admin_apps import register_pages
from tests.conftest import ROOT
from tests.factories import ApiKeyCreditsFactory, DatasetFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "auth", "fltr"])

register_pages()
OURS = [
    model for model in admin.site._registry if model._meta.app_label in {"auth_app", "data_app"}
]


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(StaffUser.objects.create_superuser("root", "root@example.org", "password"))
    return client


def test_it_logs_in_and_lists_the_apps(client: Client) -> None:
    StaffUser.objects.create_superuser("root", "root@example.org", "password")
    page = client.post(
        reverse("admin:login"),
        {"username": "root", "password": "password", "next": reverse("admin:index")},
        follow=True,
    )
    for words in ("Users", "User credits", "Credit transactions", "Datasets"):
        assert words in page.content.decode()


@pytest.mark.parametrize(
    "first", ["import fltr_project.wsgi", "import django; django.setup(); call_command('check')"]
)
def test_its_pages_are_there_in_a_process_of_its_own(first: str) -> None:
    """Here they may have been imported by another test, in an order that no program has."""
    names = ("auth_app_user_changelist", "data_app_dataset_changelist", "auth_user_changelist")
    lines = [
        "from django.core.management import call_command",
        "from django.urls import reverse",
        first,
        f"print(*(reverse('admin:' + name) for name in {names}))",
    ]
    printed = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "fltr_project.settings"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.splitlines()[-1].split() == [reverse(f"admin:{name}") for name in names]


def test_it_is_where_the_server_leads_to(client: Client) -> None:
    assert client.get("/").headers["Location"] == reverse("admin:index")


def test_it_shows_users_credits_and_transactions(staff: Client) -> None:
    user = UserFactory.create(email="ada@example.org")
    spent = ledger.consume(user.pk, 30, operation="query", resource_id="dataset-7")
    users = staff.get(reverse("admin:auth_app_user_changelist")).content.decode()
    assert "ada@example.org" in users
    assert ">70<" in users
    balances = staff.get(reverse("admin:auth_app_usercredits_changelist")).content.decode()
    assert "ada@example.org" in balances
    assert ">70<" in balances
    transactions = staff.get(reverse("admin:auth_app_credittransaction_changelist"))
    for words in ("-30", "usage", "dataset-7", "bonus", "signup"):
        assert words in transactions.content.decode()
    one = staff.get(reverse("admin:auth_app_credittransaction_change", args=[spent.id]))
    assert "-30" in one.content.decode()


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_it_shows_every_model_searches_and_changes_none(staff: Client, model: type[Model]) -> None:
    make_one_of_each()
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    page = staff.get(reverse(f"{name}_changelist"), {"q": "a"} if model_is_searched(model) else {})
    assert page.status_code == 200
    assert staff.get(reverse(f"{name}_add")).status_code == 403
    instance = model._default_manager.all()[0]
    shown = staff.get(reverse(f"{name}_change", args=[instance.pk]))
    assert shown.status_code == (403 if model is ApiKeyCredits else 200)
    assert b'name="_save"' not in shown.content
    assert staff.post(reverse(f"{name}_delete", args=[instance.pk])).status_code == 403
    assert not LogEntry.objects.exists()


def make_one_of_each() -> None:
    key = ApiKeyCreditsFactory.create()
    TeamFactory.create(owner=key.user)
    dataset = DatasetFactory.create()
    Document.objects.create(dataset=dataset, filename="a.pdf", object_key="k")
    ProcessingJob.objects.create(dataset=dataset)
    later = "2030-01-01T00:00:00Z"
    Session.objects.create(user=key.user, token="t", expires_at=later)
    Account.objects.create(user=key.user, account_id="1", provider_id="credential")
    Verification.objects.create(identifier="a", value="b", expires_at=later)
    Subscription.objects.create(plan="pro", reference_id=key.user_id)
    DrizzleMigration.objects.create(hash="h", created_at=1)


def model_is_searched(model: type[Model]) -> bool:
    return bool(admin.site._registry[model].search_fields)


def test_it_never_shows_what_lets_a_reader_in(staff: Client) -> None:
    key = ApiKeyCreditsFactory.create(api_key="sk-live-0123456789abcdef")
    session = Session.objects.create(
        user=key.user, token="session-token-0123", expires_at="2030-01-01T00:00:00Z"
    )
    account = Account.objects.create(
        user=key.user, account_id="1", provider_id="credential", password="scrypt-0123"
    )
    reset = Verification.objects.create(
        identifier="reset-password:token-0123",
        value=key.user_id,
        expires_at="2030-01-01T00:00:00Z",
    )
    for instance, secret in (
        (key, key.api_key),
        (session, "session-token-0123"),
        (account, "scrypt-0123"),
        (reset, "token-0123"),
    ):
        name = f"admin:auth_app_{instance._meta.model_name}"
        shown = staff.get(reverse(f"{name}_changelist")).content.decode()
        assert "1 " in shown
        assert secret not in shown
        one = staff.get(reverse(f"{name}_change", args=[instance.pk]))
        assert secret not in one.content.decode()
    listed = staff.get(reverse("admin:auth_app_apikeycredits_changelist")).content.decode()
    assert "sk-l…" in listed
    assert (
        "reset-password"
        in staff.get(reverse("admin:auth_app_verification_changelist")).content.decode()
    )


def test_it_never_shows_the_key_of_a_transaction(staff: Client) -> None:
    key = ApiKeyCreditsFactory.create(api_key="sk_live_0123456789abcdef")
    granted = ledger.grant(key.user_id, 5, operation="fill", api_key=key.pk)
    for page in ("changelist", "change", "history"):
        arguments = [] if page == "changelist" else [granted.id]
        address = reverse(f"admin:auth_app_credittransaction_{page}", args=arguments)
        shown = staff.get(address)
        assert shown.status_code == 200
        assert key.pk not in shown.content.decode()
        if page == "change":
            assert "sk_l…cdef" in shown.content.decode()


@pytest.mark.parametrize("page", ["change", "delete", "history"])
@pytest.mark.parametrize("known", [True, False])
def test_error_the_address_of_an_api_key(staff: Client, page: str, known: bool) -> None:
    key = ApiKeyCreditsFactory.create().pk if known else "guessed"
    address = reverse(f"admin:auth_app_apikeycredits_{page}", args=[key])
    assert staff.get(address).status_code == 403
    assert staff.post(address).status_code in {403, 405}


@pytest.mark.parametrize(
    "address",
    [
        "credittransaction/?api_key_id__startswith=sk",
        "apikeycredits/?api_key__startswith=sk",
        "apikeycredits/?pk__gt=sk",
        "user/?apikeycredits__api_key__startswith=sk",
        "session/?token__startswith=t",
        "account/?password__startswith=s",
        "verification/?value__startswith=v",
    ],
)
def test_error_a_filter_by_a_secret(staff: Client, address: str) -> None:
    assert staff.get(f"/admin/auth_app/{address}").status_code == 400


def test_it_filters_by_what_it_offers(staff: Client) -> None:
    UserFactory.create()
    page = staff.get("/admin/auth_app/user/?created_at__gte=2020-01-01 00:00:00%2B00:00")
    assert page.status_code == 200
    assert "1 user" in page.content.decode()


def test_it_lists_without_a_query_per_row(
    staff: Client, django_assert_max_num_queries: object
) -> None:
    UserFactory.create_batch(20)
    with django_assert_max_num_queries(4, using="auth"):  # type: ignore[operator]
        staff.get(reverse("admin:auth_app_credittransaction_changelist"))
    with django_assert_max_num_queries(4, using="auth"):  # type: ignore[operator]
        staff.get(reverse("admin:auth_app_user_changelist"))


def test_it_answers_health_checks(client: Client) -> None:
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json() == {"databases": {"default": "ok", "auth": "ok", "fltr": "ok"}}
    assert client.post("/health").status_code == 405


def test_it_keeps_the_databases_apart() -> None:
    assert Dataset.objects.db == "fltr"
    assert CreditTransaction.objects.db == "auth"
    assert StaffUser.objects.db == "default"
