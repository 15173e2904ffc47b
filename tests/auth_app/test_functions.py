"""Each SQL function has one living text, and that is what a migrated database runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from auth_app.ledger.freeze import LIVING, MIGRATIONS, main
from fltr_project.postgres import functions
from tests.conftest import Databases

FILES = sorted(LIVING.glob("*.sql"))
INSTALLED = """
    SELECT proname, pg_get_functiondef(p.oid), array(
        SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t
        WHERE t.tgfoid = p.oid AND NOT tgisinternal ORDER BY 1)
    FROM pg_proc p WHERE pronamespace = 'public'::regnamespace ORDER BY 1
"""


def test_a_migrated_database_runs_the_living_texts(databases: Databases) -> None:
    migrated = databases.execute("auth", INSTALLED)
    assert [name for name, _, _ in migrated] == [file.stem for file in FILES]
    for file in FILES:
        databases.execute("auth", file.read_text())
    assert databases.execute("auth", INSTALLED) == migrated


def test_a_body_that_is_not_frozen_would_be_seen(databases: Databases) -> None:
    before = databases.execute("auth", INSTALLED)
    text = (LIVING / "uuid7_text.sql").read_text()
    databases.execute("auth", text.replace("4096000", "4096001"))
    assert databases.execute("auth", INSTALLED) != before


def test_every_living_text_is_frozen() -> None:
    assert functions.unfrozen(LIVING, MIGRATIONS) == []


def test_nothing_is_frozen_again_that_is_as_before() -> None:
    before: dict[str, bytes] = {}
    for file in sorted(MIGRATIONS.glob("sql/*/*.sql")):
        text = file.read_bytes()
        assert before.get(file.name) != text, file
        before[file.name] = text


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_is_one_function_with_its_triggers(file: Path) -> None:
    text = file.read_text()
    assert re.findall(r"CREATE OR REPLACE FUNCTION public\.(\w+)", text) == [file.stem]
    assert "DROP" not in text.split("AS $$")[0]


@pytest.fixture
def app(tmp_path: Path) -> tuple[Path, Path]:
    """An app's living folder and its migrations, of which the first installs one function."""
    living, migrations = tmp_path / "living", tmp_path / "migrations"
    frozen = migrations / "sql" / "0001_initial"
    for folder in (living, frozen):
        folder.mkdir(parents=True)
        (folder / "one.sql").write_text("CREATE OR REPLACE FUNCTION public.one() first text;")
    (migrations / "0001_initial.py").write_text("")
    return living, migrations


def test_it_freezes_what_has_changed_and_nothing_else(app: tuple[Path, Path]) -> None:
    living, migrations = app
    assert functions.freeze("an_app", living, migrations, "nothing") is None
    (living / "one.sql").write_text("CREATE OR REPLACE FUNCTION public.one() second text;")
    (living / "two.sql").write_text(
        "CREATE OR REPLACE FUNCTION public.two() ...;\n"
        "CREATE OR REPLACE TRIGGER t AFTER INSERT ON public.users EXECUTE FUNCTION public.two();"
    )
    made = functions.freeze("an_app", living, migrations, "more")
    assert made == migrations / "0002_more.py"
    assert 'dependencies = [("an_app", "0001_initial")]' in made.read_text()
    one, two = functions.install(str(made))
    assert ("second" in str(one.sql), "first" in str(one.reverse_sql)) == (True, True)
    assert two.reverse_sql == "DROP TRIGGER t ON public.users;\nDROP FUNCTION public.two;"
    assert functions.freeze("an_app", living, migrations, "again") is None


def test_what_is_frozen_is_never_changed(app: tuple[Path, Path]) -> None:
    living, migrations = app
    (living / "one.sql").write_text("another text")
    (migrations / "sql" / "0002_more").mkdir()
    with pytest.raises(FileExistsError):
        functions.freeze("an_app", living, migrations, "more")
    assert not (migrations / "0002_more.py").exists()


def test_what_a_killed_freeze_has_left_is_not_frozen(app: tuple[Path, Path]) -> None:
    living, migrations = app
    (living / "one.sql").write_text("another text")
    (migrations / "sql" / "0002_more").mkdir()
    (migrations / "sql" / "0002_more" / "one.sql").write_text("another text")
    assert functions.unfrozen(living, migrations) == [living / "one.sql"]


def test_the_command_says_when_there_is_nothing_to_freeze(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main("nothing")
    assert capsys.readouterr().out == "No function has changed.\n"
