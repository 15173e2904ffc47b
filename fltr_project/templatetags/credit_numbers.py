"""How the templates of the admin write numbers."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def credits(value: int | None) -> str:  # noqa: A001 - the word of the pages
    """With thousands apart; a dash for what nobody knows."""
    return "-" if value is None else f"{value:,}"


@register.filter
def signed(value: int) -> str:
    """With its sign and thousands apart."""
    return f"{value:+,}"
