"""`release`: one command for a deploy, whoever has started first; and `verify_schema --wait` for the others."""

from __future__ import annotations

import json
import re
import shlex
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import get_commands, load_command_class

from tests.auth_app.drizzle_folders import TABLES, USERS, journal
from tests.conftest import ALIASES, ROOT, Databases, Outcome
from tests.drift.conftest import emptied
from tests.rebuild.test_adoption import BETTER_AUTH, DRIZZLES, SQLMODELS, process

Run = Callable[..., Outcome]
# Without the rows.
BETTER_AUTH_EMPTY = BETTER_AUTH.partition("INSERT")[0]


@pytest.fixture
def empty(databases: Databases) -> Databases:
    for alias in ALIASES:
        emptied(databases, alias)
    return databases


def test_it_builds_what_is_empty_and_may_run_again(empty: Databases, run: Run) -> None:
    first = run("release")
    assert (first.err, first.code) == ("", 0), first
    assert "auth_app.0001_initial and auth_app.0002_functions applied" in first.out
    assert "no other program is told" in first.out
    assert "credit checks passed" in first.out
    assert first.out.splitlines()[-1] == "Release: all of it is as it should be."
    again = run("release", "--format", "json")
    steps = json.loads(again.out)["steps"]
    assert [(each["step"], each["alias"]) for each in steps] == [
        *((step, "auth") for step in ("migrate", "tell", "verify", "prove")),
        *((step, "fltr") for step in ("migrate", "verify")),
    ]
    assert {each["detail"] for each in steps if each["step"] == "migrate"} == {"nothing to apply"}


def test_it_completes_what_others_have_left_without_rows(empty: Databases, run: Run) -> None:
    """The other programs were first: a failed Drizzle build, half a schema, SQLModel's tables."""
    for leftovers in (DRIZZLES, BETTER_AUTH_EMPTY, f"{DRIZZLES}; {BETTER_AUTH_EMPTY}"):
        emptied(empty, "auth")
        emptied(empty, "fltr")
        empty.execute("auth", leftovers)
        empty.execute("fltr", SQLMODELS)
        outcome = run("release")
        assert (outcome.err, outcome.code) == ("", 0), outcome
        assert run("verify_schema", "--strict").code == 0
        assert "nothing to apply" in run("release").out


def test_error_rows_of_others_are_for_a_person(empty: Databases, run: Run) -> None:
    empty.execute("auth", BETTER_AUTH)
    outcome = run("release")
    assert outcome.code == 2
    assert "Run `manage.py adopt --database auth`" in outcome.err
    assert empty.execute("auth", "SELECT count(*) FROM public.users") == [(1,)]


def test_it_fails_where_a_check_does(databases: Databases, run: Run) -> None:
    databases.execute("auth", "DROP TRIGGER users_open_credit_account ON public.users")
    outcome = run("release", "--format", "json")
    document = json.loads(outcome.out)
    assert (outcome.code, document["verdict"]) == (1, "failed")
    assert {each["step"] for each in document["steps"] if not each["ok"]} == {"verify", "prove"}


def test_it_tells_drizzle_and_stops_where_it_must_not(
    empty: Databases, run: Run, tmp_path: Path, settings: LazySettings
) -> None:
    settings.DRIZZLE_FOLDER = str(journal(tmp_path / "drizzle"))
    assert "2 migrations of DRIZZLE_FOLDER recorded" in run("release").out
    tables = {**TABLES, "users": {**USERS, "nickname": "text"}}
    settings.DRIZZLE_FOLDER = str(journal(tmp_path / "ahead", tables))
    outcome = run("release")
    assert outcome.code == 3
    assert "column users.nickname" in outcome.err


@pytest.mark.slow
def test_two_at_once_are_both_right(empty: Databases) -> None:
    started = [process(empty, "release") for _ in range(2)]
    for each in started:
        out, err = each.communicate(timeout=120)
        assert each.returncode == 0, out + err


@pytest.mark.slow
def test_who_waits_sees_the_end_of_a_release(empty: Databases, run: Run) -> None:
    assert run("verify_schema", "--wait", "0.1").code == 1
    outcomes: list[Outcome] = []
    waiting = process(empty, "verify_schema", "--wait", "60")
    thread = threading.Thread(target=lambda: outcomes.append(finished(waiting)))
    thread.start()
    assert run("release").code == 0
    thread.join()
    assert outcomes[0].code == 0, outcomes


def finished(started: object) -> Outcome:
    out, err = started.communicate(timeout=120)  # type: ignore[attr-defined]
    return Outcome(out, err, started.returncode)  # type: ignore[attr-defined]


def test_error_no_time_mends_an_address(run: Run, settings: LazySettings) -> None:
    settings.DATABASES["auth"]["PROBLEM"] = "AUTH_DATABASE_URL is empty."
    try:
        outcome = run("verify_schema", "--wait", "600")
    finally:
        del settings.DATABASES["auth"]["PROBLEM"]
    assert (outcome.code, "is empty" in outcome.err) == (2, True)


def test_every_command_in_the_page_about_releases_can_be_given() -> None:
    page = (ROOT / "docs" / "release.md").read_text(encoding="utf-8")
    lines = re.findall(r"manage\.py (\w[^\n`|&;>\"\]]*)", page)
    assert len(lines) > 5
    for line in lines:
        name, *arguments = shlex.split(line, comments=True)
        if name not in get_commands():
            continue
        command = load_command_class(get_commands()[name], name)
        command.create_parser("manage.py", name).parse_args(arguments)


def test_the_snippet_for_python_waits(databases: Databases) -> None:
    page = (ROOT / "docs" / "release.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    scope: dict[str, object] = {"DATABASE_URL": databases.environment()["AUTH_DATABASE_URL"]}
    emptied(databases, "auth")
    exec(snippet.partition("while")[0], scope)  # noqa: S102 - of our own page
    ready = scope["is_ready"]
    assert callable(ready)
    assert ready() is False
    databases.execute(
        "auth",
        "CREATE TABLE public.django_migrations (app text, name text);"
        "INSERT INTO public.django_migrations VALUES ('auth_app', '0002_functions')",
    )
    assert ready() is True
    exec(snippet, scope)  # noqa: S102
