"""The page of both schemas: what they are, what was found, what is kept, and what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.auth.models import User as StaffUser
from django.db import connections
from django.test import Client
from django.urls import reverse

from fltr_project.catalog.aside import OperationRecord
from fltr_project.models import Observation, SchemaOperation
from tests.admin.conftest import counted
from tests.admin.test_safety import elsewhere
from tests.conftest import Databases, Outcome


@pytest.fixture
def operator(databases: Databases, client: Client) -> Iterator[Client]:
    person = StaffUser.objects.create_user("operates", is_staff=True)
    person.groups.set(Group.objects.filter(name="operator"))
    client.force_login(person)
    # One database of Django's own serves all tests.
    for kept in (Observation, SchemaOperation):
        kept.objects.all().delete()
    yield client
    for kept in (Observation, SchemaOperation):
        kept.objects.all().delete()
    person.delete()


def shown(client: Client) -> str:
    response = client.get(reverse("admin:schemas"))
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def verified(client: Client) -> str:
    page = client.post(reverse("admin:verify_schemas"), follow=True).content.decode()
    return " ".join(page.split())


def test_nobody_has_looked_yet(operator: Client) -> None:
    page = shown(operator)
    assert page.count("Nobody has verified it here yet.") == 2
    assert page.count("not marked, so protected") == 2
    assert "No command has changed a schema yet." in page
    assert "nuke_schema --database auth --plan" in page
    assert reverse("admin:schemas") in operator.get(reverse("admin:index")).content.decode()


def test_both_are_as_the_contract_says(operator: Client) -> None:
    page = verified(operator)
    assert page.count('<span class="badge good">as the contract says</span>') == 2
    assert "by operates" in page
    assert "Schema of auth: as the contract says." in page


def test_drift_is_shown_with_its_meaning_and_repair(operator: Client, databases: Databases) -> None:
    databases.execute("auth", "ALTER TABLE users DROP CONSTRAINT users_email_unique")
    page = verified(operator)
    assert '<span class="badge bad">drift</span>' in page
    assert '<span class="badge bad">error</span>' in page
    assert "ADD CONSTRAINT" in page
    assert "users_email_unique" in page
    assert "verify_schema --database auth --sql" in page
    databases.execute("auth", "ALTER TABLE users ADD CONSTRAINT users_email_unique UNIQUE (email)")
    # Until somebody looks again, it says when it was looked at.
    assert '<span class="badge bad">drift</span>' in shown(operator)
    assert "drift</span>" not in verified(operator)


def test_an_empty_database_says_what_to_do(operator: Client, databases: Databases) -> None:
    databases.execute("fltr", "DROP SCHEMA public CASCADE")
    page = verified(operator)
    assert '<span class="badge doubt">not verified</span>' in page
    assert "clean_slate --database fltr" in page


def test_what_is_set_aside_and_what_is_half_done(operator: Client, databases: Databases) -> None:
    record = OperationRecord.begin("clean_slate", "0123", ("auth", "fltr"))
    name = "public_aside_20260102_030405_000006"
    databases.execute("auth", f"CREATE SCHEMA {name}")
    databases.execute("auth", f"COMMENT ON SCHEMA {name} IS $${record.as_comment()}$$")
    page = shown(operator)
    assert f"<code>{name}</code>" in page
    assert "was killed between its commits: auth was rebuilt, fltr was not" in page
    assert "nuke_schema --database auth --undo" in page
    assert page.count("Schemas that were set aside") == 1


def test_backups_have_their_proof(
    operator: Client, tmp_path: Path, settings: Any, run: Callable[..., Outcome]
) -> None:
    settings.BACKUP_DIR = tmp_path / "backups"
    assert run("backup_database", "--database", "fltr", "--proof").code == 0
    assert run("backup_database", "--database", "auth", "--no-proof").code == 0
    page = shown(operator)
    assert page.count('<span class="badge good">proven</span>') == 1
    assert "and found equal" in page
    assert page.count("read, not proven") == 1
    (manifest,) = settings.BACKUP_DIR.glob("cs_auth*.json")
    manifest.write_text("{}")
    assert "unreadable" in shown(operator)


def test_history_has_its_evidence(operator: Client) -> None:
    SchemaOperation.objects.create(
        at=datetime.now(UTC),
        operation="0123",
        event="done",
        command="clean_slate",
        databases="fltr_auth, fltr",
        person="ada@desk",
        exit_code=0,
        detail="rebuilt, verified and proven",
        backups=["f" * 64],
    )
    page = shown(operator)
    assert "rebuilt, verified and proven" in page
    assert f"backup {'f' * 12}<" in page


def test_its_queries_are_fixed(operator: Client, databases: Databases) -> None:
    for number in range(2):
        databases.execute("auth", f"CREATE TABLE more_{number} (id int)")
        with counted() as sent:
            shown(operator)
        asked = [alias for alias, _ in sent]
        assert [asked.count(alias) for alias in ("auth", "fltr")] == [2, 2]
        # The session, the person, two for the permissions, what was found, and the history.
        assert asked.count("default") == 6


def test_one_that_is_down_leaves_the_other(operator: Client) -> None:
    with elsewhere("auth", 1):
        page = shown(operator)
        assert page.count("does not answer") == 1
        assert "PostgreSQL" in page
        page = verified(operator)
        assert '<span class="badge good">as the contract says</span>' in page
        assert "Schema of auth: not verified" in page
    connections["auth"].close()


def test_only_operators(client: Client, databases: Databases) -> None:
    person = StaffUser.objects.create_user("bills", is_staff=True)
    person.groups.set(Group.objects.filter(name="billing"))
    client.force_login(person)
    try:
        assert client.get(reverse("admin:schemas")).status_code == 403
        assert client.post(reverse("admin:verify_schemas")).status_code == 403
        assert reverse("admin:schemas") not in client.get(reverse("admin:index")).content.decode()
    finally:
        person.delete()
