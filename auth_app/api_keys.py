"""API keys as a person may see them."""

from __future__ import annotations


def masked(api_key: str) -> str:
    """A key with too little of it to spend with: its beginning, and of a long one its end too."""
    if len(api_key) <= 12:
        return "…"
    # Keys of one maker begin alike; their ends tell them apart.
    return f"{api_key[:4]}…{api_key[-4:] if len(api_key) >= 24 else ''}"
