"""Datasets, documents and jobs, with their owners, who are in the other database."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.contrib.auth.models import User as StaffUser
from django.test import Client
from django.urls import reverse

from data_app.models import Dataset, Document, ProcessingJob
from tests.admin.conftest import counted
from tests.factories import DatasetFactory, UserFactory

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
