"""What could not be looked at is said, and is not taken for what it should be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

import jsonschema
import pytest
from django.db import connections

from fltr_project.catalog import contract
from fltr_project.catalog.facts import Catalog, unknown
from fltr_project.postgres import addresses, locks
from fltr_project.postgres.target import connect, identify
from tests.conftest import Databases, Outcome, drop_role

from .test_verify_command import SCHEMA

Run = Callable[..., Outcome]


@pytest.fixture
def reader(databases: Databases) -> Iterator[str]:
    """A role as which the commands connect: it may connect, and nothing more."""
    name = f"reads_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {name}")
    connections["auth"].close()
    connections["auth"].settings_dict["OPTIONS"]["assume_role"] = name
    yield name
    connections["auth"].settings_dict["OPTIONS"].pop("assume_role", None)
    connections["auth"].close()
    drop_role(databases, name)


@pytest.mark.parametrize(
    ("catalog", "kinds"),
    [
        ("pg_policy", ["policies"]),
        ("pg_sequence", ["columns", "constraints", "sequences"]),
        ("pg_trigger", ["triggers"]),
        ("pg_index", ["indexes", "tables"]),
    ],
)
def test_what_a_role_may_not_read_is_unknown(
    databases: Databases, run: Run, reader: str, catalog: str, kinds: list[str]
) -> None:
    databases.execute("auth", f"REVOKE SELECT ON pg_catalog.{catalog} FROM PUBLIC")
    outcome = run("verify_schema", "--database", "auth", "--format", "json")
    document = json.loads(outcome.out)
    jsonschema.validate(document, SCHEMA)
    assert document["exit_code"] == outcome.code == 2
    if "tables" in kinds:
        # Without those nothing can be said.
        assert "permission denied for table pg_index" in document["error"]
        return
    assert document["verdict"] == "unknown"
    (database,) = document["databases"]
    assert sorted(each["what"] for each in database["unknown"]) == kinds
    assert database["findings"] == []
    assert database["checked"]["functions"] > 10
    text = run("verify_schema", "--database", "auth")
    assert text.code == 2
    assert text.out.startswith("UNKNOWN ")
    assert f"  unknown {kinds[0]}: permission denied for table {catalog}" in text.out
    # What can be seen is still drift.
    databases.execute(
        "auth",
        "ALTER TABLE users SET UNLOGGED"
        if "tables" in kinds
        else "DROP FUNCTION open_credit_account",
    )
    assert run("verify_schema", "--database", "auth").code == 1


def test_what_is_unknown_is_in_every_format(databases: Databases, run: Run, reader: str) -> None:
    databases.execute("auth", "REVOKE SELECT ON pg_catalog.pg_policy FROM PUBLIC")
    options = ("verify_schema", "--database", "auth", "--format")
    github = run(*options, "github").out.splitlines()
    assert [line for line in github if line.startswith("::warning title=")]
    junit = ElementTree.fromstring(run(*options, "junit").out)  # noqa: S314
    assert [suite.get("errors") for suite in junit] == ["1"]
    assert junit.find(".//error") is not None
    assert "unknown\n" in run(*options, "markdown").out.partition("- Unknown: policies")[0]
    checked = run("check", "--database", "auth")
    assert checked.code == 1
    assert "fltr.E011" in checked.err


def test_a_kind_that_nobody_knows_is_unknown(databases: Databases, run: Run) -> None:
    databases.execute("auth", "CREATE TYPE shell")
    outcome = run("verify_schema", "--database", "auth")
    assert outcome.code == 2
    assert "  unknown type public.shell: it is of a kind that is not compared\n" in outcome.out


def test_a_server_that_is_too_new_is_unknown(
    databases: Databases, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    major = identify(connect("fltr")).major
    monkeypatch.setattr(unknown, "NEWEST", major - 1)
    outcome = run("verify_schema", "--database", "fltr")
    assert outcome.code == 2
    assert f"PostgreSQL {major} is newer than {major - 1}" in outcome.out


def test_a_comparison_with_nothing_is_none(
    databases: Databases, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**connections["fltr"].settings_dict, "NAME": "template1"}
    against = ("--database", "auth", "--against", addresses.url_of(settings))
    compared = run("verify_schema", *against)
    assert compared.code == 2
    assert "There is nothing to compare " in compared.err
    monkeypatch.setattr(contract, "load", lambda alias: Catalog(()))
    assert run("verify_schema").code == 2


def test_an_operation_at_work_is_busy_and_no_drift(databases: Databases, run: Run) -> None:
    with databases.connect("auth", application_name="clean_slate x") as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(%s)", [locks.OPERATION_KEY])
        assert run("verify_schema", "--database", "auth").code == 0
        databases.execute("auth", "DROP TABLE verifications")
        for options in ((), ("--sql",), ("--format", "json")):
            outcome = run("verify_schema", "--database", "auth", *options)
            assert outcome.code == 5, outcome
            assert "Busy: an operation of this project is at work" in outcome.out + outcome.err
            assert "(clean_slate x)" in outcome.out + outcome.err
    assert run("verify_schema", "--database", "auth").code == 1
