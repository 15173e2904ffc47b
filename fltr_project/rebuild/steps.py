"""What a run does, step by step, with the time that each took: for a report while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fltr_project.errors import explain
from fltr_project.postgres.target import Target

from .endings import Standings


@dataclass(frozen=True)
class Step:
    """One thing that was done to one database, and how it went."""

    name: str
    target: Target
    milliseconds: int
    ok: bool
    detail: str


class Detail(list[str]):
    """What is told of a step; ``ok`` is False where it failed without failing the run."""

    ok = True


@dataclass
class Steps:
    """Collects the steps and tells a listener when one begins and when it has ended."""

    began: Callable[[str, Target], None] = lambda name, target: None
    ended: Callable[[Step], None] = lambda step: None
    done: list[Step] = field(default_factory=list)
    # Where the databases stand meanwhile.
    standings: Standings = field(default_factory=Standings)

    @contextmanager
    def step(self, name: str, target: Target) -> Iterator[Detail]:
        """Time the block; what it appends to the list is the step's detail."""
        self.began(name, target)
        detail = Detail()
        start, ok = time.perf_counter(), False
        try:
            yield detail
            ok = detail.ok
        except Exception as error:
            detail.append(sentence(error))
            raise
        finally:
            elapsed = round((time.perf_counter() - start) * 1000)
            self.add(Step(name, target, elapsed, ok, ", ".join(detail)))

    def add(self, step: Step) -> None:
        """One that has been timed elsewhere."""
        self.done.append(step)
        self.ended(step)


def sentence(error: BaseException) -> str:
    """One sentence for any error, whosever fault it is."""
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted."
    text = explain(error) or f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if text.endswith(".") else f"{text}."
