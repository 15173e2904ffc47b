"""Run a command that is struck down at one point of its work.

    python -m tests.schema.crash kill aside._rename nuke_schema --database auth --no-input

The point is a function of ``fltr_project.schema`` or ``step NAME ALIAS``, and strikes when it has
ended. Striking is ``kill`` (of this process), ``terminate`` (of its sessions) or ``stop DIRECTORY``
(of the embedded server there, at once, as when the machine loses power).
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.core.management import ManagementUtility
from django.db import connections

from fltr_project.postgres.embedded import EmbeddedServer


def strike(how: str) -> None:
    kind, _, argument = how.partition(" ")
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "terminate":
        terminate(*argument.split())
    else:
        # The server's own program, as nothing of this project stops a server like that.
        EmbeddedServer(Path(argument))._stop("immediate")


def terminate(*aliases: str) -> None:
    """End the sessions of these aliases as an administrator does, from another session."""
    for alias in aliases:
        raw = connections[alias].connection
        parameters = {
            key: value for key, value in raw.info.get_parameters().items() if key != "options"
        }
        with psycopg.connect(**parameters, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [raw.info.backend_pid])


@contextmanager
def struck(point: str, how: Callable[[], object]) -> Iterator[None]:
    """Call ``how`` once, when the point has been passed for the first time."""
    struck_already = False

    def once() -> None:
        nonlocal struck_already
        if not struck_already:
            struck_already = True
            how()

    if point.startswith("step "):
        _, name, alias = point.split("-") if "-" in point else point.split(" ")
        module = importlib.import_module("fltr_project.schema.rebuild")
        owner, attribute = module.Steps, "step"
        original = owner.step

        @contextmanager
        def step(self: Any, step_name: str, target: Any) -> Iterator[list[str]]:
            with original(self, step_name, target) as detail:
                yield detail
            if (step_name.replace(" ", "_"), target.alias) == (name, alias):
                once()

        replacement: Any = step
    else:
        path, _, attribute = point.rpartition(".")
        owner = importlib.import_module(f"fltr_project.schema.{path}")
        original = getattr(owner, attribute)

        def replacement(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            once()
            return result

    setattr(owner, attribute, replacement)
    try:
        yield
    finally:
        setattr(owner, attribute, original)


if __name__ == "__main__":
    _, how, point, *arguments = sys.argv
    import django

    django.setup()
    with struck(point, lambda: strike(how)):
        ManagementUtility(["manage.py", *arguments]).execute()
