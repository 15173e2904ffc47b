"""The house rules that a reader would otherwise have to check by eye."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# By Django, and by Python for named tuples.
DOCUMENTED = {"_meta", "_fields", "_asdict", "_replace"}
ENGINE = ("catalog", "drift", "rebuild", "backup", "postgres")
PRODUCT = sorted(
    path
    for package in ("fltr_project", "auth_app", "data_app")
    for path in (ROOT / package).rglob("*.py")
)


def test_no_file_of_the_engine_is_long() -> None:
    files = [path for room in ENGINE for path in (ROOT / "fltr_project" / room).rglob("*.py")]
    assert len(files) > 30
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {str(path): length for path, length in lengths.items() if length > 350} == {}


def private_attributes(source: str) -> Iterator[str]:
    """Attributes that begin with an underscore, of anything but the object's own class."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Attribute)
            and re.match(r"_[a-z]", node.attr)
            and node.attr not in DOCUMENTED
            and ast.unparse(node.value) not in {"self", "cls", "super()"}
        ):
            yield ast.unparse(node)


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_attribute_is_used(path: Path) -> None:
    assert list(private_attributes(path.read_text(encoding="utf-8"))) == []


def test_a_private_attribute_would_be_seen() -> None:
    source = "connection._prepared._names; self._own; Model._meta; super()._own; self.raw._pgconn; x.__class__"
    assert sorted(private_attributes(source)) == [
        "connection._prepared",
        "connection._prepared._names",
        "self.raw._pgconn",
    ]


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z][a-z0-9 -]*):(?!=)(.*)$", text, re.MULTILINE)
    assert len(targets) > 10
    assert [names for names, rest in targets if "## " not in rest] == []
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert {name for names, _ in targets for name in names.split()} == set(phony.split())


def test_the_changelog_begins_with_the_version() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = re.findall(r'^version = "(.+)"$', project, re.MULTILINE)
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version
