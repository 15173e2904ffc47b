"""Remove each comparison rule in turn and show that a case of the tests notices.

    python bench/mutate_compare.py            exit code 1 when a rule can go without a red test

The cases of tests/drift/drift.py are made once on scratch databases of the project's server; then
every rule, pairing and equivalence is taken out and all of them are compared again.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from fltr_project.drift import compare, equivalences, rules  # noqa: E402
from tests.conftest import ALIASES, Databases, _reaching, _server  # noqa: E402
from tests.drift.golden import State, golden, states  # noqa: E402


@contextmanager
def scratch() -> Iterator[Databases]:
    """A migrated pair of databases that is dropped afterwards."""
    run_id = uuid.uuid4().hex[:8]
    names = {alias: f"cs_mutate_{alias}_{run_id}" for alias in ALIASES}
    try:
        for name in names.values():
            _server("auth", "CREATE DATABASE {} TEMPLATE template0", name)
        with _reaching(names):
            for alias in ALIASES:
                call_command("migrate", database=alias, verbosity=0)
            yield Databases(names)
    finally:
        for name in names.values():
            _server("auth", "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def found(cases: list[State]) -> list[str]:
    return [line for case in cases for line in case.lines()]


def mutations() -> Iterator[tuple[str, AbstractContextManager[object]]]:
    """Each part of the comparison by name, with a context in which it is taken out."""
    for rule in rules.RULES:
        fewer = {key: judge for key, judge in rules.RULES.items() if key != rule}
        yield rules.rule_id(*rule), mock.patch.object(rules, "RULES", fewer)
    for name in ("PAIRINGS", "EQUIVALENCES"):
        functions = getattr(equivalences, name)
        for each in functions:
            rest = tuple(other for other in functions if other is not each)
            yield f"{name} {each.__name__}", mock.patch.object(equivalences, name, rest)
    for name, nothing in (("NAMED", ()), ("EXPRESSIONS", frozenset())):
        yield name, mock.patch.object(compare, name, nothing)


def main() -> int:
    with ExitStack() as stack, scratch() as databases:
        connections = {alias: stack.enter_context(databases.connect(alias)) for alias in ALIASES}
        cases = list(states(connections))
    expected = golden()
    if found(cases) != expected:
        print("The cases do not give what golden.txt says; run the tests first.")
        return 2
    survivors = []
    total = 0
    for name, taken_out in mutations():
        total += 1
        with taken_out:
            if found(cases) == expected:
                survivors.append(name)
    for name in survivors:
        print(f"survives: {name}")
    print(f"{total - len(survivors)} of {total} removed rules are noticed, by {len(cases)} cases.")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
