"""Addresses of applications on the command line."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from urllib.parse import urlsplit


def site_address(text: str) -> str:
    """The address without a slash at its end. Raises ArgumentTypeError where it is none of http or https."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if known and parts.username is not None:
        raise ArgumentTypeError("an address with a user or a password is not taken")
    if not known or parts.query or parts.fragment or not re.fullmatch(r"[!-~]+", text):
        raise ArgumentTypeError(f"{text!r} is no address such as http://localhost:3000")
    return text.rstrip("/")
