"""What smoke_credits and smoke_apps have seen, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.core.management.color import Style

from auth_app.smoke.run import CheckResult


def lines(checks: Sequence[CheckResult], unchecked: Sequence[str], style: Style) -> Iterator[str]:
    """A line for each check, with its milliseconds, and one for what could not be looked at."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark = style.SUCCESS("[ok]") if check.ok else style.ERROR("[!!]")
        yield f"{mark} {check.name:<{width}} {check.milliseconds:>5} ms  {check.detail}"
    for reason in unchecked:
        yield f"{style.WARNING('[--]')} not checked: {reason}"
