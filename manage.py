#!/usr/bin/env python3
"""Django's command line, with one sentence in place of a traceback for a user's mistake."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fltr_project.settings")
    try:
        from django.core.management import execute_from_command_line
    except ModuleNotFoundError as error:
        sys.exit(f"{error}. Run `make setup`, then `.venv/bin/python manage.py`.")
    from fltr_project.errors import explain

    try:
        execute_from_command_line(sys.argv)
    except Exception as error:
        sentence = explain(error)
        if sentence is None or "--traceback" in sys.argv:
            raise
        sys.stderr.write(f"{sentence}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
