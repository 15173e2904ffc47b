"""Remove each comparison rule in turn and show that a case of the tests notices.

    python bench/mutate_compare.py            exit code 1 when a rule can go without a red test
    python bench/mutate_compare.py --write    write tests/schema/golden.txt anew instead

The cases of tests/schema/drift.py are made once on scratch databases of the project's server; then
every rule, pairing and equivalence is taken out and all of them are compared again.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django

django.setup()

from django.core.management import call_command  # noqa: E402

from fltr_project.schema import compare, equivalences, rules  # noqa: E402
from tests.conftest import ALIASES, Databases, _reaching, _server  # noqa: E402
from tests.schema.golden import PATH, State, golden, states  # noqa: E402


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


def mutations() -> list[tuple[str, dict[Any, Any], Any]]:
    """Everything that the comparison is made of: a name, the table that holds it, and its key."""
    removable: list[tuple[str, dict[Any, Any], Any]] = [
        (rules.rule_id(*key), rules.RULES, key) for key in rules.RULES
    ]
    for word, table in (
        ("pairing", equivalences.PAIRINGS),
        ("equivalence", equivalences.EQUIVALENCES),
        ("same effect", compare.SAME_EFFECT),
    ):
        removable += [(f"{word} {key!r}", table, key) for key in table]
    return removable


def main(arguments: list[str]) -> int:
    with ExitStack() as stack, scratch() as databases:
        connections = {alias: stack.enter_context(databases.connect(alias)) for alias in ALIASES}
        cases = list(states(connections))
    if "--write" in arguments:
        PATH.write_text("\n".join(found(cases)) + "\n", encoding="utf-8")
        print(f"Wrote {PATH.name}: {len(cases)} cases.")
        return 0
    expected = golden()
    if found(cases) != expected:
        print("The cases do not give what golden.txt says; run the tests first.")
        return 2
    survivors = []
    for name, table, key in mutations():
        kept = dict(table)
        del table[key]
        noticed = found(cases) != expected
        # Order is part of a table of pairings.
        table.clear()
        table.update(kept)
        if not noticed:
            survivors.append(name)
    for name in survivors:
        print(f"survives: {name}")
    total = len(mutations())
    print(f"{total - len(survivors)} of {total} removed rules are noticed, by {len(cases)} cases.")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
