"""The options of commands that repair, without what they import to do so."""

from __future__ import annotations

from argparse import ArgumentParser, _ActionsContainer

from fltr_project.drift.repair.statement import Hazard


def add_trial(parser: ArgumentParser, where: str = "") -> None:
    """What may be run and whether it is tried first; ``where`` says with which options that counts."""
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        choices=[str(hazard) for hazard in Hazard],
        metavar="HAZARD",
        help=f"{where}run also what may do this besides the repair "
        f"({', '.join(Hazard)}); may be repeated. Everything else of that kind is a comment",
    )
    parser.add_argument(
        "--no-trial",
        action="store_false",
        dest="trial",
        help=f"{where}do not run the repair first in a transaction that is rolled back, "
        "in which others wait as they do for the repair",
    )
    parser.add_argument(
        "--trial-timeout",
        type=float,
        metavar="SECONDS",
        help="how long that may take (default: 10)",
    )


def add_lock_timeout(parser: _ActionsContainer) -> None:
    parser.add_argument(
        "--lock-timeout",
        type=float,
        metavar="SECONDS",
        help="how long a statement may wait for other sessions before it gives up with exit code 5 "
        "(default: 5, and 60 for those that let the others work meanwhile)",
    )
