"""Standard streams that are closed or full. Nothing stops half-way for them, and the end of the program says so."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Output(io.TextIOWrapper):
    """A stream that may fail: ``problem`` is the first error, and what is written from then on goes nowhere."""

    problem: OSError | None = None
    is_told = False

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.problem = self.problem or error
        # What is in the buffer still would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


@contextmanager
def guarded() -> Iterator[None]:
    """Let the block write to whatever its standard streams are.

    When they could not be written the program ends with 2, or the code of its own, and says why. A reader that
    has seen enough (``| head``) is no error.
    """
    _open()
    code: str | int | None = None
    try:
        yield
    except SystemExit as ending:
        code = ending.code
    if sentence := lost():
        sys.stderr.write(f"{sentence} What the command did stands, only its report is lost.\n")
        code = code or 2
    if isinstance(sys.stderr, Output):
        sys.stderr.flush()
        code = code or (2 if sys.stderr.problem else None)
    if code:
        raise SystemExit(code)


def lost() -> str:
    """Why standard output could not be written, as a sentence, once; empty where all of it could."""
    if not isinstance(sys.stdout, Output):
        return ""
    sys.stdout.flush()
    problem = sys.stdout.problem
    if problem is None or isinstance(problem, BrokenPipeError) or sys.stdout.is_told:
        return ""
    sys.stdout.is_told = True
    return f"Standard output could not be written: {problem.strerror}."


def _open() -> None:
    """Have all three streams: the next file or connection would take the number of one that is closed."""
    # Closed for writing still, so that what is written there fails; but nobody hears what goes to stderr.
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, mode), number)
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _output(1, sys.stdout)
    sys.stderr = _output(2, sys.stderr)


def _output(number: int, stream: TextIO) -> Output:
    if not isinstance(stream, io.TextIOWrapper):
        return Output(open(number, "wb", closefd=False), encoding="utf-8")
    return Output(
        stream.buffer,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
