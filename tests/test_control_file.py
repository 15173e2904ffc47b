"""The file with the staff's accounts and sessions is nobody else's to read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import OperationalError
from pytest_django.plugin import DjangoDbBlocker

from fltr_project.control_file.base import DatabaseWrapper
from fltr_project.postgres import addresses

pytestmark = pytest.mark.usefixtures("_unblocked")


@pytest.fixture
def _unblocked(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


def opened(path: Path) -> DatabaseWrapper:
    defaults = settings.DATABASES["default"]
    connection = DatabaseWrapper({**defaults, "NAME": path, "OPTIONS": {}}, "default")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    return connection


@pytest.mark.parametrize("before", [None, 0o644, 0o660])
def test_the_file_is_the_owners_alone(tmp_path: Path, before: int | None) -> None:
    path = tmp_path / "control.sqlite3"
    if before is not None:
        path.touch(before)
        path.chmod(before)
    opened(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_clone_has_no_directory_for_it(tmp_path: Path) -> None:
    opened(tmp_path / "var" / "control.sqlite3").close()


def test_error_where_it_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperationalError, match="unable to open database file"):
        opened(tmp_path / "file" / "control.sqlite3")


def test_it_is_the_default() -> None:
    default = addresses.databases({}, Path("/var"))["default"]
    assert default == {"ENGINE": addresses.CONTROL_FILE, "NAME": Path("/var/control.sqlite3")}
