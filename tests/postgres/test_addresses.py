from __future__ import annotations

from typing import Any

import pytest

from fltr_project.postgres import addresses


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada@db.example.org:5433/fltr_auth",
        "postgresql://ada@db.example.org/fltr_auth",
        "postgresql://ada@/fltr_auth?host=/run/postgresql",
        "postgresql://ada@/fltr_auth?host=/run/postgresql&port=5433",
        "postgresql:///fltr_auth",
        "postgresql://ada@[::1]:5432/fltr_auth",
        "postgresql://ada%40home@db/odd%20name",
        "postgresql://ada@db/fltr_auth?sslmode=require",
    ],
)
def test_it_gives_back_the_url_it_has_read(url: str) -> None:
    assert addresses.url_of(addresses.parse("X", url)) == url


def test_it_reads_every_part() -> None:
    settings = addresses.parse(
        "X", "postgres://ada:p%40ss@db:5433/fltr_auth?sslmode=require&conn_max_age=60"
    )
    expected = {
        "ENGINE": addresses.POSTGRESQL,
        "NAME": "fltr_auth",
        "USER": "ada",
        "PASSWORD": "p@ss",
        "HOST": "db",
        "PORT": 5433,
        "CONN_MAX_AGE": 60,
    }
    assert {key: settings[key] for key in expected} == expected
    assert settings["OPTIONS"]["sslmode"] == "require"
    assert "p@ss" not in addresses.url_of(settings)


def test_it_bounds_the_wait_for_a_connection_unless_told_otherwise() -> None:
    assert addresses.parse("X", "postgresql://db/a")["OPTIONS"]["connect_timeout"] == 10
    told: dict[str, Any] = addresses.parse("X", "postgresql://db/a?connect_timeout=3")
    assert told["OPTIONS"]["connect_timeout"] == 3
