"""What a run left behind that was killed between the commits of its two databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .aside import COMMITTED, Waiting


def interrupted(found: Mapping[str, Sequence[Waiting] | None]) -> dict[str, str]:
    """What is half done, as a sentence by alias; empty when everything is whole. Pure.

    ``found`` holds the schemas that were set aside, by alias; None for a database that could not be
    asked. A run writes into its journals that it is complete as soon as all databases have
    committed; a journal that does not say so, with no schema of the same run elsewhere, is half.
    """
    sentences = {}
    for alias, waiting in found.items():
        for each in waiting or ():
            why = each.journal
            if why is None or why.state != COMMITTED:
                continue
            others = [other for other in why.aliases if other != alias]
            missing = [other for other in others if not _has(found.get(other), why.operation)]
            if not missing or len(missing) < len(others):
                continue
            unknown = [other for other in missing if found.get(other) is None]
            certain = (
                f" {' and '.join(unknown)} could not be asked, so look there first."
                if unknown
                else ""
            )
            sentences[alias] = (
                f"A {why.command} of {' and '.join(why.aliases)} that began at {why.at} was killed "
                f"between its commits: {alias} was rebuilt, {' and '.join(missing)} was not.{certain} "
                f"The old schema of {alias} is {each.name}; "
                f"`nuke_schema --database {alias} --undo` brings it back."
            )
    return sentences


def _has(waiting: Sequence[Waiting] | None, operation: str) -> bool:
    return any(each.journal and each.journal.operation == operation for each in waiting or ())
