from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from django.contrib.auth.models import Group
from django.contrib.auth.models import User as StaffUser
from django.core.cache import cache
from django.db import connections
from django.test import Client


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    """What a page keeps in the process is another test's."""
    cache.clear()


@pytest.fixture
def staff(client: Client) -> Client:
    """Somebody of the role billing, who may look at everything of people and act."""
    person = StaffUser.objects.create_user("staff", password="secret-0123", is_staff=True)
    person.groups.set(Group.objects.filter(name="billing"))
    client.force_login(person)
    return client


@contextmanager
def counted() -> Iterator[list[tuple[str, str]]]:
    """What the block asks the databases: alias and statement, without what only sets a transaction up."""
    sent: list[tuple[str, str]] = []

    def note(execute, statement, params, many, context):  # type: ignore[no-untyped-def]
        text = str(statement).strip()
        if not text.startswith(("SET ", "SAVEPOINT", "RELEASE", "SELECT pg_catalog.")):
            sent.append((context["connection"].alias, text))
        return execute(statement, params, many, context)

    with ExitStack() as stack:
        for connection in connections.all():
            stack.enter_context(connection.execute_wrapper(note))
        yield sent
