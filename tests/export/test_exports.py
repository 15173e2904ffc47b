"""Each export is what it says: run, compared, validated and checked by the programs that it is for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from fltr_project.export.calls import REFUSALS
from fltr_project.export.exports import LANGUAGES, export
from fltr_project.export.indexes import definition
from fltr_project.postgres import programs
from tests.conftest import ALIASES, ROOT, Databases, Outcome
from tests.drift.conftest import emptied
from tests.factories import ApiKeyCreditsFactory, DatasetFactory


@pytest.mark.parametrize("alias", ALIASES)
def test_ddl_makes_an_empty_database_what_the_contract_says(
    databases: Databases, run: Callable[..., Outcome], alias: str
) -> None:
    emptied(databases, alias)
    psql = programs.find("psql", at_least=15)
    assert psql
    done = subprocess.run(
        [
            psql.path,
            "--no-psqlrc",
            "--quiet",
            "-v",
            "ON_ERROR_STOP=1",
            databases.environment()[f"{alias.upper()}_DATABASE_URL"],
        ],
        input=export(alias, "sql"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    outcome = run("verify_schema", "--database", alias, "--format", "json")
    (database,) = json.loads(outcome.out)["databases"]
    # Tables that no migration of Django has made are a note.
    assert {each["severity"] for each in database["findings"]} <= {"note"}, database["findings"]


# --- SQLModel


# A program of its own: SQLModel has one registry of classes.
COMPARES = """
import sys
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel, create_engine
import models
known = set(SQLModel.metadata.tables)
options = {
    "compare_type": True, "compare_server_default": True,
    "include_name": lambda name, kind, parents: kind != "table" or name in known,
}
with create_engine(sys.argv[1]).connect() as connection:
    context = MigrationContext.configure(connection, opts=options)
    for change in compare_metadata(context, SQLModel.metadata):
        print(change)
"""
WRITES = """
import sys
from sqlmodel import Session, create_engine, select
from models import CreditTransaction, User, UserCredits
with Session(create_engine(sys.argv[1])) as session:
    session.add(User(id="u", name="Ada", email="ada@example.org"))
    session.commit()
    user = session.exec(select(User)).one()
    row = session.exec(select(CreditTransaction)).one()
    account = session.exec(select(UserCredits)).one()
    print(user.email_verified, user.created_at.tzinfo, account.credits, row.operation, row.transaction_metadata)
"""

SPENDS = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from credits import CreditError, consume_credits, consume_credits_many, grant_credits, hold_credits, settle_credits
async def main():
    engine = create_async_engine(sys.argv[1])
    async with AsyncSession(engine) as session:
        once = {"user_id": "u", "amount": 5, "operation": "q", "metadata": {"a": [1]}, "idempotency_key": "k"}
        first = await consume_credits(session, **once)
        again = await consume_credits(session, **once)
        print(first.verdict, first.balance, first.metadata, again.verdict, again.id == first.id)
        print(abs(datetime.now(UTC).replace(tzinfo=None) - first.created_at) < timedelta(minutes=1))
        held = await hold_credits(session, user_id="u", amount=20, operation="a", expires_in=timedelta(hours=1))
        settled = await settle_credits(session, hold_id=held.id, used=7)
        print(settled.charged, settled.balance, held.held_until - held.created_at > timedelta(minutes=59))
        given = await grant_credits(session, user_id="u", amount=2, type="bonus", operation="gift")
        print(given.entry.amount, given.entry.created_at.tzinfo)
        items = [{"user_id": "u", "amount": amount, "operation": "x"} for amount in (1, 999)]
        print([each.verdict for each in await consume_credits_many(session, items)])
        try:
            await consume_credits(session, user_id="u", amount=1000, operation="q")
        except CreditError as error:
            print(error.status, error.verdict, error.balance)
        # The transaction goes on.
        print((await consume_credits(session, user_id="u", amount=1, operation="q")).balance)
        await session.commit()
    await engine.dispose()
asyncio.run(main())
"""


def program(databases: Databases, alias: str, code: str, folder: Path) -> str:
    """What a program beside the exported models.py prints."""
    (folder / "models.py").write_text(export(alias, "sqlmodel"))
    (folder / "credits.py").write_text(export("auth", "credits-python"))
    url = databases.environment()[f"{alias.upper()}_DATABASE_URL"]
    done = subprocess.run(
        [sys.executable, "-c", code, url.replace("postgresql://", "postgresql+psycopg://")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("alias", ALIASES)
def test_alembic_finds_nothing_to_do(databases: Databases, tmp_path: Path, alias: str) -> None:
    assert program(databases, alias, COMPARES, tmp_path) == ""
    # It would be seen.
    table, column = {"auth": ("users", "image"), "fltr": ("datasets", "category")}[alias]
    databases.execute(alias, f"ALTER TABLE {table} DROP COLUMN {column}")
    assert "add_column" in program(databases, alias, COMPARES, tmp_path)


def test_rows_are_written_and_read_by_the_models(databases: Databases, tmp_path: Path) -> None:
    assert program(databases, "auth", WRITES, tmp_path) == "False None 100 signup None\n"


def test_credits_are_spent_over_sqlalchemy(databases: Databases, tmp_path: Path) -> None:
    databases.execute("auth", "INSERT INTO users (id, name, email) VALUES ('u', 'U', 'u')")
    assert program(databases, "auth", SPENDS, tmp_path).splitlines() == [
        "done 95 {'a': [1]} replayed True",
        "True",
        "7 88 True",
        "2 None",
        "['done', 'insufficient']",
        "402 insufficient 89",
        "88",
    ]


def test_every_refusal_has_a_status(databases: Databases) -> None:
    """The verdicts that the functions' bodies name."""
    [(bodies,)] = databases.execute(
        "auth",
        "SELECT string_agg(prosrc, ' ') FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND proname IN ('raise_credit_refusal')",
    )
    named = set(re.findall(r"WHEN '(\w+)' THEN 'LC", bodies))
    assert named == REFUSALS.keys() - {"overflow"}


@pytest.mark.slow
def test_mypy_is_content_with_the_models(tmp_path: Path) -> None:
    (tmp_path / "credits.py").write_text(export("auth", "credits-python"))
    for alias in ALIASES:
        (tmp_path / f"{alias}_models.py").write_text(export(alias, "sqlmodel"))
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--cache-dir",
            str(ROOT / ".mypy_cache"),
            tmp_path,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


# --- JSON Schema and Mermaid


def test_rows_are_what_the_json_schema_says(databases: Databases) -> None:
    key = ApiKeyCreditsFactory.create()
    DatasetFactory.create(owner_id=key.user_id)
    seen = 0
    for alias in ALIASES:
        schema = json.loads(export(alias, "json-schema"))
        jsonschema.Draft202012Validator.check_schema(schema)
        for table, row in schema["$defs"].items():
            for (found,) in databases.execute(
                alias, f"SELECT row_to_json(t) FROM public.{table} t LIMIT 5"
            ):
                jsonschema.validate(found, row)
                seen += 1
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({}, row)
    assert seen >= 4


def test_the_diagram_has_every_table_and_reference() -> None:
    text = export("auth", "mermaid")
    assert 'users ||--o{ accounts : "user_id"' in text
    assert 'users ||--o| user_credits : "user_id"' in text
    assert "text id PK" in text
    assert "text user_id PK, FK" in text
    assert "text email UK" in text


def test_an_index_is_taken_apart() -> None:
    plain = definition("btree (a, b text_pattern_ops)")
    assert [(each.column, each.operators) for each in plain.members] == [
        ("a", None),
        ("b", "text_pattern_ops"),
    ]
    whole = definition("gin (COALESCE(a, ', (b)'::text), \"C\") WHERE ((a IS NOT NULL) AND b)")
    assert [each.text for each in whole.members] == ["COALESCE(a, ', (b)'::text)", '"C"']
    assert (whole.method, whole.where) == ("gin", "((a IS NOT NULL) AND b)")
    with pytest.raises(ValueError, match="no definition"):
        definition("nonsense")


# --- the command


@pytest.mark.parametrize("to", sorted(LANGUAGES))
def test_a_file_is_written_and_checked(
    run: Callable[..., Outcome], tmp_path: Path, to: str
) -> None:
    file = tmp_path / "out"
    words = ("export_schema", "--to", to, "--database", "auth")
    named = (*words, "--output", str(file))
    missing = run(*named, "--check")
    assert (missing.out, missing.code) == (f"{file} is not there.\n", 1)
    assert run(*named).out == f"{file} is written.\n"
    assert file.read_text() == run(*words).out
    assert run(*named, "--check").code == 0
    assert run(*named).out == f"{file} was as it should be.\n"
    file.write_text(file.read_text().replace("user", "u_ser"))
    changed = run(*named, "--check")
    assert changed.code == 1
    assert "u_ser" in changed.out
    assert "without --check it is written anew" in changed.out
    assert "u_ser" in file.read_text()


def test_error_what_cannot_be_exported(run: Callable[..., Outcome], tmp_path: Path) -> None:
    words = ("export_schema", "--to", "mermaid", "--database", "auth")
    assert "Name it with --output." in run(*words, "--check").err
    gone = run(*words, "--output", str(tmp_path / "no" / "file"))
    assert (gone.code, "cannot be written: No such file or directory." in gone.err) == (2, True)
    folder = run(*words, "--output", str(tmp_path))
    assert (folder.code, "cannot be read: Is a directory." in folder.err) == (2, True)
    assert run("export_schema", "--to", "mermaid", "--database", "default").code == 2
    none = run("export_schema", "--to", "credits-python", "--database", "fltr")
    assert (none.code, "has no credit functions" in none.err) == (2, True)


def test_json(run: Callable[..., Outcome], tmp_path: Path) -> None:
    words = ("export_schema", "--to", "mermaid", "--database", "auth", "--format", "json")
    assert json.loads(run(*words).out)["text"].startswith("%% The tables of auth")
    file = tmp_path / "out"
    told = run(*words, "--output", str(file), "--check")
    assert (told.code, json.loads(told.out)["verdict"]) == (1, "differs")


@pytest.mark.parametrize(
    ("to", "alias"), [("drizzle", "auth"), ("sqlmodel", "fltr"), ("sql", "auth")]
)
def test_without_a_database_it_is_whose_application_speaks_it(
    run: Callable[..., Outcome], to: str, alias: str
) -> None:
    outcome = run("export_schema", "--to", to)
    assert (outcome.out, outcome.code) == (export(alias, to), 0)
