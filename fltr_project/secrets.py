"""What no page of an error shows, with DEBUG neither: the passwords of the database URLs."""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterator
from pprint import pformat
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

# The keys of a database's settings, and of its OPTIONS, whose values are secret.
KEYS = re.compile("PASSWORD|SECRET", re.IGNORECASE)


class SecretsHidden(SafeExceptionReporterFilter):
    """Hides URLs by the names of their variables, and passwords wherever they stand.

    Django hides settings by their names only, and shows the variables of the code as they are.
    """

    hidden_settings = re.compile(
        f"{SafeExceptionReporterFilter.hidden_settings.pattern}|URL|DSN|CONNINFO", re.IGNORECASE
    )

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: Any
    ) -> ItemsView[str, Any]:
        shown = super().get_traceback_frame_variables(request, tb_frame)
        secrets = sorted(set(_secrets(settings.DATABASES)), key=len, reverse=True)
        return {name: self._without(secrets, value) for name, value in shown}.items()

    def _without(self, secrets: list[str], value: Any) -> Any:
        try:
            text = pformat(value)
        except Exception:
            # Django says so of a value that cannot be shown.
            return value
        if not any(secret in text for secret in secrets):
            return value
        for secret in secrets:
            text = text.replace(secret, self.cleansed_substitute)
        return text


def _secrets(found: Any, secret: bool = False) -> Iterator[str]:
    """The secret values of nested settings, as they are, as they stand in a URL, and as Python writes them."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from _secrets(value, secret or bool(KEYS.search(str(key))))
    elif secret and isinstance(found, str) and found:
        yield from {found, quote(found, safe=""), quote(found), repr(found)[1:-1]}
