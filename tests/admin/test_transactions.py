from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.urls import reverse

from auth_app import ledger
from auth_app.models import CreditTransaction
from fltr_project.admin import pages
from fltr_project.postgres.search_path import pinned
from tests.admin.conftest import counted
from tests.factories import ApiKeyCreditsFactory, DatasetFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "auth", "fltr"])

LIST = "/admin/auth_app/credittransaction/"


def make_rows(user_id: str, count: int, **fields: Any) -> None:
    """Rows one second apart, the last one now."""
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)
    CreditTransaction.objects.bulk_create(
        CreditTransaction(
            **{"user_id": user_id, "amount": -1 - n % 7, "type": "usage", "operation": "query"}
            | fields,
            created_at=now - timedelta(seconds=count - n),
        )
        for n in range(count)
    )


def page(*arguments: Any, **options: Any) -> pages.Page:
    with pinned(connections["auth"]) as cursor:
        return pages.page(cursor, *arguments, **options)


@pytest.fixture
def rows() -> str:
    user = UserFactory.create(email="ada@example.org")
    team = TeamFactory.create(owner=user)
    make_rows(user.pk, 130)
    make_rows(user.pk, 3, operation="signup", type="bonus", amount=500)
    make_rows(user.pk, 4, payer="team", team_id=team.pk, operation="team")
    # Many of one moment, as a batch writes them.
    moment = datetime(2026, 11, 1, 11, 58, 30, tzinfo=UTC)
    CreditTransaction.objects.bulk_create(
        CreditTransaction(user=user, amount=-5, type="usage", operation="batch", created_at=moment)
        for _ in range(25)
    )
    return str(user.pk)


FILTERS = [
    {},
    {"type": "usage"},
    {"type": "bonus"},
    {"operation": "query"},
    {"operation": "signup", "type": "bonus"},
    {"payer": "team"},
    {"least": 5},
    {"least": 2, "most": 3, "operation": "query"},
    {"since": date(2026, 11, 1), "until": date(2026, 11, 1)},
    {"until": date(2026, 10, 31)},
    {"user": "theirs"},
    {"user": "theirs", "type": "usage", "least": 7},
]


@pytest.mark.parametrize("fields", FILTERS, ids=str)
@pytest.mark.parametrize("window", [pages.WINDOW, 10])
def test_its_pages_have_each_row_of_the_filter_once_and_in_order(
    rows: str, fields: dict[str, Any], window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "WINDOW", window)
    monkeypatch.setattr(pages, "PAGE", 20)
    monkeypatch.setattr(pages, "BATCH", 30)
    if "user" in fields:
        fields = fields | {"user": rows}
    filter_ = pages.Filter(**fields)

    def fits(entry: CreditTransaction) -> bool:
        day = entry.created_at.date()
        return (
            all(
                getattr(entry, {"user": "user_id"}.get(name, name)) == value
                for name, value in fields.items()
                if name in {"type", "operation", "payer", "user"}
            )
            and (filter_.since or day) <= day <= (filter_.until or day)
            and (filter_.least or 0) <= abs(entry.amount) <= (filter_.most or 10**6)
        )

    entries = CreditTransaction.objects.order_by("-created_at", "-id")
    expected = [entry.pk for entry in entries if fits(entry)]
    if fields.keys().isdisjoint({"until"}) or "since" in fields:
        assert expected
    # Without a window of ten rows the pages are full; with it the same rows come on more pages.
    found, at = [], page(filter_)
    for _ in range(40):
        found += [row.id for row in at.rows]
        if at.older is None:
            break
        at = page(filter_, before=at.older)
    assert found == expected
    assert [row.id for row in pages.everything(filter_)] == expected
    # And back from the oldest.
    found, at = [], page(filter_, oldest=True)
    for _ in range(40):
        found = [row.id for row in at.rows] + found
        if at.newer is None:
            break
        at = page(filter_, after=at.newer)
    assert found == expected


def test_it_says_how_many_there_are_without_counting(rows: str) -> None:
    few = page(pages.Filter(type="bonus", user=rows))
    assert (few.exact, few.total) == (True, 4)
    with counted() as sent:
        assert not page(pages.Filter()).exact
    assert [statement for _, statement in sent if "count(" in statement.lower()] == []


def test_it_asks_as_often_whatever_there_is(staff: Client, rows: str) -> None:
    dataset = DatasetFactory.create(name="Weather of 2025")
    make_rows(rows, 60, resource_id=str(dataset.pk), operation="ask")
    for address, auth, fltr in (
        (LIST, 2, 1),
        (f"{LIST}?oldest=1", 2, 0),
        (f"{LIST}?operation=query&type=usage", 3, 0),
        (f"{LIST}?least=3", 3, 1),
    ):
        with counted() as sent:
            shown = staff.get(address)
        assert shown.status_code == 200
        asked = [alias for alias, _ in sent]
        assert (asked.count("auth"), asked.count("fltr")) == (auth, fltr), address
        # The session, the person and two for the person's permissions.
        assert asked.count("default") == 4
    assert "Weather of 2025" in staff.get(LIST).content.decode()


def test_it_shows_what_settles_a_question(staff: Client) -> None:
    key = ApiKeyCreditsFactory.create(api_key="sk_live_0123456789abcdefghij")
    ledger.grant(key.user_id, 9, operation="fill", api_key=key.pk)
    spent = ledger.consume(key.user_id, 30, operation="query", idempotency_key="request-7")
    ledger.refund(spent.id, 10)
    shown = staff.get(LIST).content.decode()
    for words in ("-30", "+10", "request-7", "sk_l…ghij", key.user.email):
        assert words in shown
    assert re.search(r'class="time">\d\d:\d\d:\d\d<', shown)
    assert key.pk not in shown
    one = staff.get(reverse("admin:auth_app_credittransaction_change", args=[spent.id]))
    assert "Given back +10" in one.content.decode()
    (refund,) = CreditTransaction.objects.filter(refund_of=spent.id)
    back = staff.get(reverse("admin:auth_app_credittransaction_change", args=[refund.pk]))
    assert (
        reverse("admin:auth_app_credittransaction_change", args=[spent.id]) in back.content.decode()
    )


def test_it_exports_exactly_what_is_filtered(
    staff: Client, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "BATCH", 50)
    response = staff.get(f"{LIST}export/?operation=query&least=5")
    assert response.streaming
    assert "attachment" in response.headers["Content-Disposition"]
    text = b"".join(response).decode()
    found = list(csv.DictReader(io.StringIO(text)))
    expected = CreditTransaction.objects.filter(operation="query", amount__lte=-5)
    assert [line["id"] for line in found] == list(
        expected.order_by("-created_at", "-id").values_list("pk", flat=True)
    )
    assert {line["email"] for line in found} == {"ada@example.org"}
    assert {line["amount"] for line in found} == {"-5", "-6", "-7"}


def test_no_cell_of_a_file_is_a_formula(staff: Client) -> None:
    user = UserFactory.create()
    ledger.consume(user.pk, 1, operation="=HYPERLINK(1)", idempotency_key="@key")
    text = b"".join(staff.get(f"{LIST}export/?type=usage")).decode()
    assert ",'=HYPERLINK(1)," in text
    assert ",'@key," in text
    assert ",-1," in text


@pytest.mark.parametrize(
    "address",
    ["?before=x", "?before=2026-01-01", "?after=_", "?api_key=sk", "?amount=1", "export/?type=x", "export/?least=-1"],
)  # fmt: skip
def test_error_an_address_that_nobody_links_to(staff: Client, address: str) -> None:
    assert staff.get(LIST + address).status_code == 400


@pytest.mark.parametrize("field", ["type=x", "since=yesterday", "least=x", "most=99999999999"])
def test_error_a_filter_that_cannot_be_read_says_so(staff: Client, field: str) -> None:
    shown = staff.get(f"{LIST}?{field}")
    assert shown.status_code == 200
    assert "errornote" in shown.content.decode()
    assert "Download" not in shown.content.decode()
