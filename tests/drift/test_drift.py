"""Every kind of drift is found, as what it is and as bad as it is; what is no drift is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from fltr_project.catalog import contract
from fltr_project.catalog.facts import KINDS, Setting
from fltr_project.drift.compare import COMPARED, Finding, Severity, compare, counts
from fltr_project.drift.rules import RULES, rule_id
from tests.catalog import contract_words
from tests.conftest import ALIASES

from .conftest import ELSEWHERE, Shared
from .drift import CHANGED, DRIFT, EXTENSION, FOREIGN_KEYS, SAME, Case, Change
from .golden import PATH, golden, states


@contextmanager
def after(shared: Shared, alias: str, statements: str) -> Iterator[list[Finding]]:
    """The findings once the statements have run, in a transaction that is rolled back."""
    connection = shared.open[alias]
    connection.execute("BEGIN")
    try:
        connection.execute(statements)
        yield compare(contract.load(alias), shared.read(alias), ELSEWHERE[alias])
    finally:
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("case", DRIFT, ids=lambda case: case.name)
def test_it_finds(case: Case, shared: Shared) -> None:
    if shared.open[case.alias].info.server_version < case.since * 10000:
        with pytest.raises(psycopg.Error), after(shared, case.alias, case.sql):
            pass
        return
    with after(shared, case.alias, case.sql) as findings:
        assert findings
        assert findings[0].severity == case.severity, findings
        assert [
            finding
            for finding in findings
            if finding.severity == case.severity
            and finding.kind == case.kind
            and case.object in finding.object
        ], findings
        for finding in findings:
            assert finding.expected != finding.found, finding
            assert finding.meaning.endswith("."), finding
        assert len({finding.id for finding in findings}) == len(findings)


@pytest.mark.parametrize("change", CHANGED, ids=lambda change: change.name)
def test_it_finds_what_only_the_expected_database_has(change: Change, shared: Shared) -> None:
    if shared.open["auth"].info.server_version < change.since * 10000:
        with pytest.raises(psycopg.Error), after(shared, "auth", change.after):
            pass
        return
    with after(shared, "auth", change.before):
        expected = shared.read("auth")
    with after(shared, "auth", change.after):
        findings = compare(expected, shared.read("auth"))
    assert findings
    assert {finding.severity for finding in findings} == {change.severity}
    assert {finding.kind for finding in findings} == {change.kind}
    assert change.object in findings[0].object


def test_ids_and_rules_are_as_before(shared: Shared) -> None:
    """The ids stand in files of decisions. A new case has its lines written with FLTR_WRITE_GOLDEN=1."""
    made = list(states(shared.open))
    lines = [line for case in made for line in case.lines()]
    if os.environ.get("FLTR_WRITE_GOLDEN"):
        assert len(made) == len(DRIFT) + len(SAME) + len(CHANGED), "needs the newest PostgreSQL"
        PATH.write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = {case.name for case in made}
    assert lines == [line for line in golden() if line.partition(":")[0] in names]


def test_every_field_has_a_rule_and_every_rule_a_field() -> None:
    needed = {(kind, field) for kind, fields in COMPARED.items() for field in fields}
    whole = {(kind, on) for kind in KINDS for on in ("missing", "extra") if kind is not Setting}
    assert set(RULES) == needed | whole


def test_every_rule_has_a_case() -> None:
    # "name: severity rule id", of every case.
    judged = {words[2] for line in golden() if len(words := line.split()) == 4}
    without = {rule_id(kind, on) for kind, on in RULES} - judged
    assert sorted(without) == []


@pytest.mark.parametrize(
    ("alias", "sql"), [pytest.param(alias, sql, id=name) for alias, name, sql in SAME]
)
def test_it_is_silent_about(alias: str, sql: str, shared: Shared) -> None:
    with after(shared, alias, sql) as findings:
        assert [each for each in findings if each.severity is not Severity.NOTE] == []


def test_an_extra_sequence_is_found_beside_one_whose_name_holds_its_own(shared: Shared) -> None:
    sql = (
        "CREATE SCHEMA other; CREATE SEQUENCE other.numbers; CREATE SEQUENCE numbers;"
        'CREATE SEQUENCE invoice_numbers; CREATE SEQUENCE "of ""1""";'
        "ALTER TABLE teams ALTER credits SET DEFAULT nextval('invoice_numbers');"
        "ALTER TABLE user_credits ALTER credits SET DEFAULT nextval('other.numbers');"
        'ALTER TABLE api_key_credits ALTER credits SET DEFAULT nextval(\'"of ""1"""\')'
    )
    with after(shared, "auth", sql) as findings:
        assert [each.object for each in findings if each.kind == "sequence"] == ["sequence numbers"]


def test_names_of_foreign_keys_are_no_difference(shared: Shared) -> None:
    name = FOREIGN_KEYS["auth"]["sessions", "user_id"]
    sql = f"ALTER TABLE sessions RENAME CONSTRAINT {name} TO sessions_user_id_fkey"
    with after(shared, "auth", sql) as findings:
        assert findings == []


@pytest.mark.parametrize("alias", ALIASES)
def test_it_finds_nothing_on_a_migrated_database(alias: str, shared: Shared) -> None:
    with after(shared, alias, "SELECT") as findings:
        assert findings == []


def test_it_counts_what_it_has_checked(shared: Shared) -> None:
    for alias in ALIASES:
        tables, keys = contract_words.numbers(alias)
        with after(shared, alias, "SELECT"):
            checked = counts(shared.read(alias))
        assert checked["tables"] == tables
        assert checked["foreign keys"] == keys
        assert all(checked.values())


def test_it_counts_the_objects_of_extensions_and_leaves_them_alone(shared: Shared) -> None:
    with after(shared, "auth", EXTENSION) as findings:
        assert [finding.object for finding in findings] in (
            ["extension vector"],
            ["extension pg_trgm"],
        )
        assert counts(shared.read("auth"))["extension objects"] > 10


def test_it_names_the_database_that_a_table_belongs_to(shared: Shared) -> None:
    with after(shared, "fltr", "CREATE TABLE users (id text PRIMARY KEY)") as findings:
        assert [finding.object for finding in findings] == ["users"]
        assert "users belongs to database auth" in findings[0].meaning


def test_a_schema_public_that_was_made_again_gives_nobody_usage(shared: Shared) -> None:
    with after(shared, "fltr", "DROP SCHEMA public CASCADE; CREATE SCHEMA public") as findings:
        grants = [finding for finding in findings if finding.kind == "grant"]
    assert [(finding.object, finding.found) for finding in grants] == [
        ("grants on schema public to PUBLIC", "REVOKE USAGE")
    ]


@pytest.mark.parametrize(
    ("name", "meanings"),
    [
        (
            "teams_credits_check",
            [
                "teams may accept or refuse other rows than it should: the two conditions could not "
                "be shown to say the same."
            ],
        ),
        (
            "other",
            [
                "It may refuse rows of teams that the contract accepts: it could not be shown to say "
                "what a check of the contract says.",
                "Values that the contract refuses can be written to teams, unless another check "
                "refuses them.",
            ],
        ),
    ],
)
def test_it_claims_no_more_of_a_check_than_it_can_show(
    shared: Shared, name: str, meanings: list[str]
) -> None:
    """The condition of the contract, in words that are too far from it."""
    sql = (
        "ALTER TABLE teams DROP CONSTRAINT teams_credits_check,"
        f"ADD CONSTRAINT {name} CHECK (credits + 0 >= 0)"
    )
    with after(shared, "auth", sql) as findings:
        assert [finding.meaning for finding in findings] == meanings


def test_it_says_when_a_trigger_runs(shared: Shared) -> None:
    change = "ALTER TABLE users {} TRIGGER users_open_credit_account"
    runs = "On writes to users it runs {}; the contract has it run in ordinary sessions only."
    for word, found, meaning in (
        ("DISABLE", "disabled", "Users who sign up by another client than Django get no credits."),
        ("ENABLE ALWAYS", "enabled always", runs.format("in all sessions")),
        (
            "ENABLE REPLICA",
            "enabled on replicas only",
            runs.format("only where replication applies changes"),
        ),
    ):
        with after(shared, "auth", change.format(word)) as (finding,):
            assert (finding.expected, finding.found) == ("enabled", found)
            assert finding.meaning == meaning
