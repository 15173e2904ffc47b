"""Datasets, documents and jobs, with their owners, who are in the other database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission
from django.contrib.auth.models import User as StaffUser
from django.test import Client
from django.urls import reverse

from data_app.models import Dataset, Document, ProcessingJob
from fltr_project.admin import lists
from tests.admin.conftest import counted
from tests.factories import DatasetFactory, UserFactory

START = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.django_db(databases=["default", "auth", "fltr"])


def made(count: int) -> list[Dataset]:
    """Datasets of as many people, each with a document, a job that worked and an older one that did not."""
    found = []
    for number in range(count):
        owner = UserFactory.create()
        dataset: Dataset = DatasetFactory.create(owner_id=owner.pk)
        Document.objects.create(
            dataset=dataset, filename=f"{number}.pdf", object_key=f"{dataset.pk}"
        )
        ProcessingJob.objects.create(
            dataset=dataset, status="failed", error=f"no text in it {'x' * 500}"
        )
        ProcessingJob.objects.create(dataset=dataset, status="succeeded")
        found.append(dataset)
    return found


@pytest.mark.parametrize("name", ["dataset", "document", "processingjob"])
def test_owners_are_found_by_one_query_a_page(staff: Client, name: str) -> None:
    asked = []
    for count in (1, 20):
        made(count)
        with counted() as sent:
            page = staff.get(reverse(f"admin:data_app_{name}_changelist")).content.decode()
        asked.append([alias for alias, _ in sent])
        for user in Dataset.objects.values_list("owner_id", flat=True):
            assert reverse("admin:auth_app_user_change", args=[user]) in page
    assert asked[0] == asked[1]
    assert asked[0].count("auth") == 1


def test_what_failed_comes_first_with_its_error(staff: Client) -> None:
    made(3)
    page = staff.get(reverse("admin:data_app_processingjob_changelist")).content.decode()
    words = [each.split("<")[0] for each in page.split('field-status">')[1:]]
    assert words == ["failed"] * 3 + ["succeeded"] * 3
    assert "no text in it" in page
    assert "x" * 200 not in page


def test_what_failed_comes_first_on_every_page(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """130 jobs, of which every other one of the older 120 has failed: the second page has the last that did."""
    dataset = DatasetFactory.create()
    jobs = [
        ProcessingJob(
            dataset=dataset,
            status="failed" if number < 120 and number % 2 else "queued",
            created_at=START + timedelta(hours=number),
        )
        for number in range(130)
    ]
    ProcessingJob.objects.bulk_create(jobs)
    wanted = sorted(jobs, key=lambda job: (job.status != "failed", -job.created_at.timestamp()))
    address = reverse("admin:data_app_processingjob_changelist")
    asked, shown = [], []
    for page in (1, 2, 3):
        with counted() as sent:
            response = staff.get(f"{address}?p={page}")
        asked.append(len(sent))
        shown += [job.pk for job in response.context["cl"].result_list]
    assert shown == [job.pk for job in wanted]
    # One more where both kinds may be on a page, one more where those before it are counted.
    assert max(asked) - min(asked) <= 2
    # Whoever sorts has it sorted.
    oldest = staff.get(f"{address}?o=7").context["cl"].result_list
    assert [job.pk for job in oldest] == [job.pk for job in jobs[:50]]
    # Of very many only the first are counted and leafed through.
    monkeypatch.setattr(lists, "MOST", 100)
    response = staff.get(f"{address}?p=2")
    assert "The first 100 processing jobs" in " ".join(response.content.decode().split())
    assert [job.pk for job in response.context["cl"].result_list] == [
        job.pk for job in wanted[50:100]
    ]
    assert staff.get(f"{address}?p=3").status_code == 302


def test_one_row_names_its_owner(staff: Client) -> None:
    (dataset,) = made(1)
    job = ProcessingJob.objects.filter(status="failed").get()
    for name, pk in (("dataset", dataset.pk), ("processingjob", job.pk)):
        page = staff.get(reverse(f"admin:data_app_{name}_change", args=[pk])).content.decode()
        assert reverse("admin:auth_app_user_change", args=[dataset.owner_id]) in page


def test_nobody_of_that_id(staff: Client) -> None:
    DatasetFactory.create(owner_id="gone")
    page = staff.get(reverse("admin:data_app_dataset_changelist")).content.decode()
    assert "gone (no such user)" in page


def test_who_may_not_see_people_sees_ids(client: Client) -> None:
    person = StaffUser.objects.create_user("curates", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename="view_dataset"))
    client.force_login(person)
    (dataset,) = made(1)
    with counted() as sent:
        page = client.get(reverse("admin:data_app_dataset_changelist")).content.decode()
    assert dataset.owner_id in page
    assert reverse("admin:auth_app_user_change", args=[dataset.owner_id]) not in page
    assert "auth" not in [alias for alias, _ in sent]
