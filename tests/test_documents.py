"""Every command explains itself, and the README and `.env.example` leave nothing out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from fltr_project.postgres import addresses
from fltr_project.settings import VARIABLES
from tests.conftest import ROOT, Outcome

OURS = sorted(
    name for name, app in get_commands().items() if app in {"fltr_project", "auth_app", "data_app"}
)


@pytest.mark.parametrize("name", OURS)
def test_it_has_help_with_examples(name: str, run: Callable[..., Outcome]) -> None:
    outcome = run("help", name)
    assert outcome.code == 0
    assert f"manage.py {name}" in outcome.out.split("examples:")[1]
    command = load_command_class(get_commands()[name], name)
    parser = command.create_parser("manage.py", name)
    # Django's own options are the first; each of ours says what it does.
    assert all(action.help for action in parser._actions if action.dest != "arguments")


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in OURS:
        assert f"`{name}" in readme or f"manage.py {name}" in readme, name


def test_the_example_environment_lists_every_variable() -> None:
    settings = (ROOT / "fltr_project" / "settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r'environment\.\w+\(\s*"([A-Z_]+)"', settings))
    assert read | addresses.VARIABLES == VARIABLES
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    listed = set(re.findall(r"^#? ?([A-Z][A-Z_]+)=", example, re.MULTILINE))
    # Which file to read cannot stand in that file.
    assert listed == VARIABLES
    assert "FLTR_ENV_FILE" in example


def test_the_readme_shows_each_exit_code() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for code in range(8):
        assert re.search(rf"^\| {code} \|", readme, re.MULTILINE), code


def test_no_file_of_the_project_is_named_by_a_path_of_one_machine() -> None:
    files = [path for pattern in ("*.md", "docs/**/*.md") for path in Path(ROOT).glob(pattern)]
    assert files
    for path in files:
        assert not re.search(r"(?<![\w.])/(?:home|root|Users)/", path.read_text(encoding="utf-8"))
