"""A checklist that fills in while the work goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.core.management.color import Style

from fltr_project.postgres.target import Target
from fltr_project.rebuild.steps import Step


class Checklist:
    """One line a step: on a terminal it stands there from the step's beginning."""

    def __init__(self, say: Callable[[str], None], style: Style, terminal: bool) -> None:
        self._say, self._style, self._terminal = say, style, terminal
        self._width = 0

    def targets(self, targets: Sequence[Target]) -> None:
        """Name what the steps are about to be done to."""
        self._width = max(len(target.database) for target in targets)
        for target in targets:
            self._say(f"{target.database:<{self._width}}  {target}, as {target.role}")
        self._say("")

    def began(self, name: str, target: Target) -> None:
        if self._terminal:
            self._print(f"[..] {self._subject(name, target)}", end="")

    def ended(self, step: Step) -> None:
        mark = self._style.SUCCESS("[ok]") if step.ok else self._style.ERROR("[!!]")
        # On a terminal the line of the step's beginning is written over.
        back = "\r\x1b[K" if self._terminal else ""
        subject = self._subject(step.name, step.target)
        self._say(f"{back}{mark} {subject}  {step.milliseconds:>6} ms  {step.detail}".rstrip())

    def _subject(self, name: str, target: Target) -> str:
        return f"{target.database:<{self._width}}  {name:<10}"

    def _print(self, text: str, end: str) -> None:
        print(text, end=end, flush=True)  # noqa: T201 - OutputWrapper has no unended line
