from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import models
from django.test import override_settings
from django.test.utils import isolate_apps

from auth_app.models import User
from fltr_project import checks
from fltr_project.postgres import addresses
from fltr_project.routers import AppRouter, database_of


@contextmanager
def databases(**entries: dict[str, Any]) -> Iterator[None]:
    before = settings.DATABASES
    settings.DATABASES = {**before, **entries}
    try:
        yield
    finally:
        settings.DATABASES = before


def ids(messages: list[Any]) -> list[str]:
    return [message.id for message in messages]


def test_error_e001_an_empty_url() -> None:
    with databases(auth=addresses.parse("AUTH_DATABASE_URL", "")):
        (error,) = checks.check_urls(None)
    assert error.id == "fltr.E001"
    assert error.msg == "AUTH_DATABASE_URL is empty."
    assert error.hint is not None
    assert "postgresql://USER:PASSWORD@HOST:PORT/DATABASE" in error.hint


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("postgresql://db/fltr", "postgresql://db/fltr"),
        ("postgresql://db/fltr", "postgresql://ada@db:5432/fltr?sslmode=require"),
        ("postgresql://localhost/fltr", "postgresql://127.0.0.1/fltr"),
    ],
)
def test_error_e002_two_aliases_on_one_database(first: str, second: str) -> None:
    with databases(auth=addresses.parse("X", first), fltr=addresses.parse("Y", second)):
        assert ids(checks.check_distinct(None)) == ["fltr.E002"]


def test_it_accepts_two_databases_of_one_server() -> None:
    with databases(
        auth=addresses.parse("X", "postgresql://db/fltr_auth"),
        fltr=addresses.parse("Y", "postgresql://db/fltr"),
    ):
        assert checks.check_distinct(None) == []


@isolate_apps("data_app")
def test_error_e003_a_foreign_key_across_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    class Favourite(models.Model):
        user = models.ForeignKey(User, models.DB_CASCADE)

        class Meta:
            app_label = "data_app"

    monkeypatch.setattr(apps, "get_models", lambda **_: [Favourite])
    (error,) = checks.check_relations(None)
    assert error.id == "fltr.E003"
    assert "'auth'" in error.msg
    assert "'fltr'" in error.msg


def test_it_finds_no_foreign_key_across_databases_in_this_project() -> None:
    assert checks.check_relations(None) == []


@override_settings(DEBUG=False, SECRET_KEY="")
def test_error_e004_no_secret_key() -> None:
    assert ids(checks.check_secret_key(None)) == ["fltr.E004"]


@pytest.mark.parametrize(
    ("app_label", "alias"),
    [
        ("auth_app", "auth"),
        ("data_app", "fltr"),
        ("fltr_project", "default"),
        ("auth", "default"),
        ("sessions", "default"),
        ("an_app_of_tomorrow", "default"),
    ],
)
def test_it_answers_for_every_app(app_label: str, alias: str) -> None:
    assert database_of(app_label) == alias
    router = AppRouter()
    migrates = [name for name in settings.DATABASES if router.allow_migrate(name, app_label)]
    assert migrates == [alias]
