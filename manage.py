#!/usr/bin/env python3
"""Django's command line, with one sentence in place of a traceback for a user's mistake."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback

from fltr_project.streams import guarded


def main() -> None:
    # What a command imports stays to its end. Looking among it for garbage, while it is imported and again
    # when Python ends, was a quarter of the processor time of a short command.
    gc.set_threshold(500_000)
    try:
        with guarded():
            run_or_be_interrupted()
    finally:
        gc.freeze()


def run_or_be_interrupted() -> None:
    try:
        run()
    except KeyboardInterrupt as interrupt:
        # A command that cleans up after another signal names that one.
        number = interrupt.args[0] if interrupt.args else signal.SIGINT
        sys.stderr.write("Interrupted.\n" if number == signal.SIGINT else "Ended.\n")
        # 128 and the number of the signal, as shells have it.
        sys.exit(128 + number)


def run() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fltr_project.settings")
    if os.environ.get("NO_COLOR"):
        # Django 6.1 knows only its own variable (no-color.org).
        os.environ.setdefault("DJANGO_COLORS", "nocolor")
    try:
        from django.core.management import execute_from_command_line
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{error}. Run `make setup`, then `.venv/bin/python manage.py`.\n")
        sys.exit(2)
    try:
        execute_from_command_line(sys.argv)
    except Exception as error:
        from fltr_project.management.advice import explained

        sentence = explained(error)
        if sentence is None or "--traceback" in sys.argv:
            traceback.print_exc()
        else:
            sys.stderr.write(f"{sentence}\n")
        # Python's own exit code for a crash is 1, which here means "a difference was found".
        sys.exit(2)


if __name__ == "__main__":
    main()
