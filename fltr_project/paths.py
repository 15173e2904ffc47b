"""How a path is told to a person."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings


def shown(path: Path) -> str:
    """Relative to the checkout where it is in it, else whole."""
    inside = path.is_relative_to(settings.BASE_DIR)
    return str(path.relative_to(settings.BASE_DIR) if inside else path)
