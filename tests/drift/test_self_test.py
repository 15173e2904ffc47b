"""`verify_schema --self-test` sees what it plants, says so when it does not, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable

import jsonschema
import pytest
from django.db import connections

from fltr_project.catalog.facts import Column
from fltr_project.drift import rules, self_test
from fltr_project.drift.rules import RULES, rule_id
from tests.conftest import Databases, Outcome, drop_role

from .test_standing import dump
from .test_verify_command import SCHEMA

Run = Callable[..., Outcome]
# Those of notes, and of equivalences.
OTHERS = {"function.overload"}


def test_every_plant_is_seen(databases: Databases, run: Run) -> None:
    databases.execute("auth", "DROP TABLE verifications; ALTER TABLE users ADD COLUMN more text")
    before = dump(databases)
    outcome = run("verify_schema", "--self-test", "--format", "json")
    assert outcome.code == 0, outcome
    document = json.loads(outcome.out)
    jsonschema.validate(document, SCHEMA)
    assert [each["alias"] for each in document["self_test"]] == ["auth", "fltr"]
    for each in document["self_test"]:
        assert len(each["planted"]) == len(self_test.PLANTS) > 60
        assert all(plant["seen"] for plant in each["planted"])
    assert dump(databases) == before


def test_every_plant_is_a_kind_of_its_own() -> None:
    names = [plant.name for plant in self_test.PLANTS]
    assert len(set(names)) == len(names)
    known = {rule_id(kind, on) for kind, on in RULES} | OTHERS
    assert {plant.rule for plant in self_test.PLANTS} <= known


def test_blindness_is_said(databases: Databases, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    without = {key: judge for key, judge in RULES.items() if key != (Column, "type")}
    monkeypatch.setattr(rules, "RULES", without)
    outcome = run("verify_schema", "--database", "auth", "--self-test")
    assert outcome.code == 1
    blind = [line for line in outcome.out.splitlines() if line.startswith("[!!]")]
    assert [line.partition("  ")[2] for line in blind] == [
        "a column has another type (found nothing)",
        "a column is shorter (found nothing)",
    ]
    assert f"2 of {len(self_test.PLANTS)} kinds of drift were not seen." in outcome.out
    document = json.loads(run("verify_schema", "--self-test", "--format", "json").out)
    jsonschema.validate(document, SCHEMA)
    assert (document["verdict"], document["exit_code"]) == ("failed", 1)


def test_a_plain_owner_sees_all_and_others_are_told(databases: Databases, run: Run) -> None:
    role = f"tests_{databases.names['auth']}"
    databases.execute("auth", f"CREATE ROLE {role}")
    options = connections["auth"].settings_dict["OPTIONS"]
    connections["auth"].close()
    options["assume_role"] = role
    try:
        refused = run("verify_schema", "--database", "auth", "--self-test")
        assert refused.code == 2
        assert f"Role {role} may not make tables in schema public" in refused.err
        databases.execute("auth", f'ALTER DATABASE "{databases.names["auth"]}" OWNER TO {role}')
        outcome = run("verify_schema", "--database", "auth", "--self-test")
        assert (outcome.code, outcome.err) == (0, "")
    finally:
        del options["assume_role"]
        connections["auth"].close()
        databases.execute(
            "auth", f'ALTER DATABASE "{databases.names["auth"]}" OWNER TO CURRENT_USER'
        )
        drop_role(databases, role)


def test_it_waits_for_nobody(databases: Databases, run: Run) -> None:
    with databases.connect("auth") as writer, writer.transaction():
        writer.execute("LOCK TABLE users, teams, sessions IN EXCLUSIVE MODE")
        assert run("verify_schema", "--database", "auth", "--self-test").code == 0


def test_it_is_no_format_for_a_build(databases: Databases, run: Run) -> None:
    assert run("verify_schema", "--self-test", "--format", "junit").code == 2
