"""The URL that `postgres url` prints is one that the other programs accept."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import sqlalchemy

from fltr_project.postgres import programs
from tests.conftest import Databases, Outcome


def printed_url(databases: Databases, manage: Callable[..., Outcome], alias: str) -> str:
    outcome = manage("postgres", "url", "--database", alias, **databases.environment())
    assert outcome.code == 0, outcome
    (url,) = outcome.out.splitlines()
    return url


def test_it_prints_a_url_for_psql(databases: Databases, manage: Callable[..., Outcome]) -> None:
    psql = programs.find("psql", at_least=0)
    assert psql is not None
    result = subprocess.run(
        [psql.path, "-XAtc", "SELECT current_database()", printed_url(databases, manage, "fltr")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == f"{databases.names['fltr']}\n"


def test_it_prints_a_url_for_sqlalchemy(
    databases: Databases, manage: Callable[..., Outcome]
) -> None:
    url = printed_url(databases, manage, "auth").replace("postgresql://", "postgresql+psycopg://")
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.text("SELECT current_database()")).scalar_one()
    engine.dispose()
    assert found == databases.names["auth"]


def test_it_runs_psql_with_its_own_arguments(
    databases: Databases, manage: Callable[..., Outcome]
) -> None:
    for database, table in (([], "users"), (["--database", "fltr"], "datasets")):
        arguments = [*database, "--", "-XAt", "-c", f"SELECT count(*) FROM {table}"]
        outcome = manage("postgres", "psql", *arguments, **databases.environment())
        assert (outcome.out, outcome.code) == ("0\n", 0), outcome
    arguments = ["--", "-XAtc", "SELECT nothing FROM nowhere"]
    outcome = manage("postgres", "psql", *arguments, **databases.environment())
    assert outcome.code == 1


def test_error_there_is_no_embedded_server_with_urls(
    databases: Databases, manage: Callable[..., Outcome]
) -> None:
    outcome = manage("postgres", "status", **databases.environment())
    assert outcome.code == 2
    assert "there is no embedded one" in outcome.err
