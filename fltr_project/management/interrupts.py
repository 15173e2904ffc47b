"""Signals that end a command as Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """Take these signals for a Ctrl-C, so that what has begun is undone and told: KeyboardInterrupt with the number."""

    def interrupt(number: int, _: object) -> None:
        # `timeout` may send it twice, and the second must not end the undoing.
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.getsignal(each) for each in signals}
    try:
        for each in signals:
            # One that is ignored, as nohup has it, stays so.
            if before[each] is not signal.SIG_IGN:
                signal.signal(each, interrupt)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
