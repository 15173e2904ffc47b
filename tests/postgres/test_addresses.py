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
        "postgresql://ada@db/fltr_auth?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql://ada@one:5432,two:5433/fltr_auth?target_session_attrs=read-write",
        "postgresql://db/fltr_auth?options=-c%20search_path%3Dpublic",
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


@pytest.mark.parametrize(
    ("given", "same_as"),
    [
        ("postgresql://db/fltr_auth?dbname=fltr", "postgresql://db/fltr"),
        ("postgresql://db/fltr?user=ada&password=secret", "postgresql://ada@db/fltr"),
        (
            "postgresql://ada@%2Frun%2Fpostgresql/fltr",
            "postgresql://ada@/fltr?host=/run/postgresql",
        ),
    ],
)
def test_it_knows_every_spelling_of_an_address(given: str, same_as: str) -> None:
    assert addresses.url_of(addresses.parse("X", given)) == same_as


@pytest.mark.parametrize("option", ["foo=bar", "TIME_ZONE=Asia/Tokyo", "AUTOCOMMIT=0", "ENGINE=x"])
def test_error_an_option_that_nobody_knows(option: str) -> None:
    problem = addresses.parse("X", f"postgresql://db/fltr?{option}")["PROBLEM"]
    assert problem.startswith(f"X has the option {option.split('=')[0]!r}")


@pytest.mark.parametrize("option", ["connect_timeout=abc", "conn_max_age=abc", "sslmode"])
def test_error_an_option_that_cannot_be_read(option: str) -> None:
    problem = addresses.parse("X", f"postgresql://db/fltr?{option}")["PROBLEM"]
    assert problem.startswith("X is malformed")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:se@cret@db/fltr",
        "postgresql://ada:12/cret@db/fltr",
        "postgresql://ada:12?cret@db/fltr",
        "postgresql://ada:12?cret=@db/fltr",
        "postgresql://ada:se%zzcret@db/fltr",
        "postgresql://ada:se cret@db/fltr",
        "postgresql://ada:se%ffcret@db/fltr",
        "postgresql://ada:cret@db:port/fltr",
        "postgresql://ada:cret@db:5432,two:x/fltr",
        "postgresql://ada:cret@[::1/fltr",
        "postgresql://ada:cret@db/fltr?sslmode",
        "postgresql://ada:cret\udcff@db/fltr",
    ],
)
def test_error_a_password_with_a_special_character_is_not_shown(url: str) -> None:
    settings = addresses.parse("X", url)
    assert settings["PROBLEM"].startswith("X is malformed")
    assert "cret" not in repr(settings)


def test_it_gives_no_secret_back() -> None:
    url = "postgresql://ada:one@db/fltr?sslkey=/key.pem&sslpassword=two&password=three"
    assert addresses.url_of(addresses.parse("X", url)) == "postgresql://ada@db/fltr?sslkey=/key.pem"


def test_it_takes_a_special_character_as_it_is_where_it_may_stand() -> None:
    settings = addresses.parse(
        "X", "postgresql://a+b:p%2F%3F@db/fltr?sslrootcert=/a@b+c.pem&conn_max_age=5"
    )
    assert settings["USER"] == "a+b"
    assert settings["PASSWORD"] == "p/?"
    assert settings["OPTIONS"]["sslrootcert"] == "/a@b+c.pem"
    assert settings["CONN_MAX_AGE"] == 5


def test_it_bounds_the_wait_for_a_connection_unless_told_otherwise() -> None:
    assert addresses.parse("X", "postgresql://db/a")["OPTIONS"]["connect_timeout"] == 10
    told: dict[str, Any] = addresses.parse("X", "postgresql://db/a?connect_timeout=3")
    assert told["OPTIONS"]["connect_timeout"] == 3
