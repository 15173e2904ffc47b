"""Run a command that is struck down at one point of its work.

    python -m tests.rebuild.crash kill "statement ALTER SCHEMA" nuke_schema --database auth --no-input

The point is ``statement PATTERN`` (sent to a database), ``step NAME ALIAS`` (of clean_slate) or ``call FUNCTION``
(a public one of ``fltr_project``), and strikes when that has ended. Striking is ``kill`` (of this process),
``terminate`` (of its sessions) or ``stop DIRECTORY`` (of the embedded server there, at once, as when the
machine loses power).
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
from django.core.management import ManagementUtility
from django.db import connections

from fltr_project.management.checklist import Checklist
from fltr_project.postgres.embedded.server import EmbeddedServer
from fltr_project.postgres.target import ALIASES
from fltr_project.rebuild.steps import Step


def strike(how: str) -> None:
    kind, _, argument = how.partition(" ")
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "terminate":
        terminate(*argument.split())
    else:
        # The server's own program, as nothing of this project stops a server like that.
        EmbeddedServer(Path(argument)).postmaster.stop("immediate")


def terminate(*aliases: str) -> None:
    """End the sessions of these aliases as an administrator does, from another session."""
    for alias in aliases:
        raw = connections[alias].connection
        if raw is None:
            continue
        parameters = {
            key: value for key, value in raw.info.get_parameters().items() if key != "options"
        }
        with psycopg.connect(**parameters, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [raw.info.backend_pid])


@contextmanager
def struck(point: str, how: Callable[[], object]) -> Iterator[None]:
    """Call ``how`` once, when the point has been passed for the first time."""
    passed = False

    def once() -> None:
        nonlocal passed
        if not passed:
            passed = True
            how()

    kind, _, what = point.partition(" ")
    with {"statement": _statement, "step": _step, "call": _call}[kind](what, once):
        yield


@contextmanager
def _statement(pattern: str, once: Callable[[], None]) -> Iterator[None]:
    """After a statement that begins with the pattern, on any database, by Django's instrumentation."""

    def execute(execute: Any, statement: Any, params: Any, many: bool, context: Any) -> Any:
        result = execute(statement, params, many, context)
        raw = context["connection"].connection
        text = statement if isinstance(statement, str) else statement.as_string(raw)
        if re.match(pattern, text.strip()):
            once()
        return result

    with ExitStack() as stack:
        for alias in ALIASES:
            stack.enter_context(connections[alias].execute_wrapper(execute))
        yield


@contextmanager
def _step(name_and_alias: str, once: Callable[[], None]) -> Iterator[None]:
    """After a step of clean_slate, as its checklist is told."""
    name, alias = name_and_alias.split()
    original = Checklist.ended

    def ended(self: Checklist, step: Step) -> None:
        original(self, step)
        if (step.name.replace(" ", "_"), step.target.alias) == (name, alias):
            once()

    with patch.object(Checklist, "ended", ended):
        yield


@contextmanager
def _call(path: str, once: Callable[[], None]) -> Iterator[None]:
    """After a call of a public function of the project."""
    module, _, name = f"fltr_project.{path}".rpartition(".")
    owner = importlib.import_module(module)
    original = getattr(owner, name)

    def called(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        once()
        return result

    with patch.object(owner, name, called):
        yield


if __name__ == "__main__":
    _, how, point, *arguments = sys.argv
    import django

    django.setup()
    with struck(point, lambda: strike(how)):
        ManagementUtility(["manage.py", *arguments]).execute()
