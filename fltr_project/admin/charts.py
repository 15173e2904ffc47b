"""Charts as SVG, drawn on the server: no script, no inline style, readable without colour.

Each has its numbers in words in its title, and every mark has its own on hovering.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 180, 64, 22, 8


@dataclass(frozen=True)
class Bar:
    """A day's amounts, both 0 or more: what came in and what went out."""

    day: date
    up: int
    down: int


def balance_line(days: Mapping[date, int], closing: int, today: date, length: int) -> SafeString:
    """The balance at the end of each of the last ``length`` days, from what each day changed it by."""
    balances, balance = [closing], closing
    for back in range(length - 1):
        balance -= days.get(today - timedelta(days=back), 0)
        balances.append(balance)
    balances.reverse()
    first = today - timedelta(days=length - 1)
    lowest, highest = min(0, *balances), max(1, *balances)
    step = (WIDTH - LEFT) / length

    def y(value: int) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (highest - value) / (highest - lowest), 1)

    points = [f"M{LEFT},{y(balances[0])}"]
    for place, value in enumerate(balances):
        points.append(f"V{y(value)}H{round(LEFT + step * (place + 1), 1)}")
    title = (
        f"Balance at the end of each day from {first} to {today}: from {balances[0]:,} to {closing:,}, "
        f"at least {min(balances):,} and at most {max(balances):,} credits"
    )
    return _framed(
        title,
        format_html('<path class="line" d="{}"/>', "".join(points)),
        first,
        today,
        lowest,
        highest,
    )


def bars(values: Sequence[Bar], title: str) -> SafeString:
    """Two bars a day, what came in above the line and what went out below it, hatched."""
    highest = max(1, *(each.up for each in values))
    lowest = max(1, *(each.down for each in values))
    step = (WIDTH - LEFT) / max(1, len(values))
    inner = HEIGHT - TOP - BOTTOM
    zero = round(TOP + inner * highest / (highest + lowest), 1)
    unit = inner / (highest + lowest)
    marks = format_html_join(
        "",
        '<g><title>{}: +{} −{}</title><rect class="up" x="{}" y="{}" width="{}" height="{}"/>'  # noqa: RUF001
        '<rect class="down" x="{}" y="{}" width="{}" height="{}"/></g>',
        (
            (
                each.day,
                f"{each.up:,}",
                f"{each.down:,}",
                x := round(LEFT + step * place + step * 0.1, 1),
                round(zero - each.up * unit, 1),
                wide := round(step * 0.8, 1),
                round(each.up * unit, 1),
                x,
                zero,
                wide,
                round(each.down * unit, 1),
            )
            for place, each in enumerate(values)
        ),
    )
    return _framed(
        title,
        format_html(
            '<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><rect class="hatch" width="2" height="5"/></pattern></defs>'
            '{}<line class="zero" x1="{}" x2="{}" y1="{}" y2="{}"/>',
            marks,
            LEFT,
            WIDTH,
            zero,
            zero,
        ),
        values[0].day,
        values[-1].day,
        -lowest,
        highest,
    )


def _framed(
    title: str, marks: SafeString, first: date, last: date, lowest: int, highest: int
) -> SafeString:
    return format_html(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>{}'
        '<text class="axis" x="{}" y="{}" text-anchor="end">{}</text>'
        '<text class="axis" x="{}" y="{}" text-anchor="end">{}</text>'
        '<text class="axis" x="{}" y="{}">{}</text>'
        '<text class="axis" x="{}" y="{}" text-anchor="end">{}</text></svg>',
        *(WIDTH, HEIGHT, title, title, marks),
        *(LEFT - 6, TOP + 9, f"{highest:,}"),
        *(LEFT - 6, HEIGHT - BOTTOM, f"{abs(lowest):,}"),
        *(LEFT, HEIGHT - 5, first),
        *(WIDTH, HEIGHT - 5, last),
    )
