"""Timestamps hold UTC whatever a session's TimeZone is, and ids sort by time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import connections
from django.utils import timezone as django_timezone

from auth_app.models import CreditTransaction, Session, User
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(databases=["auth"])

TOKYO = timezone(timedelta(hours=9))
NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def session_in(zone: str) -> None:
    with connections["auth"].cursor() as cursor:
        cursor.execute("SELECT set_config('TimeZone', %s, true)", [zone])


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize("value", [NOON, NOON.astimezone(TOKYO)])
def test_it_stores_and_reads_utc_in_every_session(zone: str, value: datetime) -> None:
    session_in(zone)
    user = UserFactory.create()
    session = Session.objects.create(user=user, token="t", expires_at=value)
    with connections["auth"].cursor() as cursor:
        cursor.execute("SELECT expires_at::text FROM sessions")
        assert cursor.fetchone() == ("2026-07-01 12:00:00",)
    session.refresh_from_db()
    assert session.expires_at == NOON
    assert session.expires_at.tzinfo is UTC
    assert Session.objects.filter(expires_at=value).exists()
    assert Session.objects.filter(expires_at__lt=NOON + timedelta(seconds=1)).exists()
    assert not Session.objects.filter(expires_at__lt=NOON).exists()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_it_defaults_to_the_present_in_utc(zone: str) -> None:
    session_in(zone)
    user = UserFactory.create()
    user.refresh_from_db()
    for value in (user.created_at, user.updated_at):
        assert abs(django_timezone.now() - value) < timedelta(minutes=1)


def test_it_updates_updated_at_only() -> None:
    user = UserFactory.create()
    User.objects.update(created_at=NOON, updated_at=NOON)
    user.refresh_from_db()
    user.name = "Ada"
    user.save()
    user.refresh_from_db()
    assert user.created_at == NOON
    assert user.updated_at > NOON


def test_it_makes_ids_that_sort_by_time() -> None:
    user = UserFactory.create()
    made = [
        CreditTransaction.objects.create(user=user, amount=1, type="bonus").pk for _ in range(50)
    ]
    pattern = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(pattern.fullmatch(id_) for id_ in made)
    assert made == sorted(made)
    milliseconds = int(made[0].replace("-", "")[:12], 16)
    assert abs(milliseconds / 1000 - django_timezone.now().timestamp()) < 60
