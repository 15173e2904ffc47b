"""A self-test of the verification, for people and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.color import Style

from fltr_project.drift.self_test import Planted
from fltr_project.postgres.target import Target
from fltr_project.words import counted

type Results = Sequence[tuple[Target, Sequence[Planted]]]


def lines(results: Results, style: Style, verbosity: int) -> Iterator[str]:
    """The checklist, and the verdict of each database."""
    for target, planted in results:
        for each in planted:
            mark = style.SUCCESS("[ok]") if each.seen else style.ERROR("[!!]")
            other = f" (found {', '.join(each.found) or 'nothing'})"
            detail = other if verbosity >= 2 or not each.seen else ""
            yield f"{mark} {target.database}  {each.name}{detail}"
        blind = [each for each in planted if not each.seen]
        kinds = counted(len(planted), "kinds of drift")
        if blind:
            yield style.ERROR(f"{target}: {len(blind)} of {kinds} were not seen.")
        else:
            yield style.SUCCESS(f"{target}: all {kinds} were planted, seen and rolled back.")


def as_json(results: Results) -> list[dict[str, Any]]:
    """As ``--format json`` prints them; docs/json/verify_schema.schema.json describes it."""
    return [
        {
            **target.as_json(),
            "planted": [
                {"name": each.name, "seen": each.seen, "found": list(each.found)}
                for each in planted
            ],
        }
        for target, planted in results
    ]
