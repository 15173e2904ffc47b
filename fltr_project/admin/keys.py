"""API keys in addresses: a key is a secret, so its page is addressed by its user and a digest."""

from __future__ import annotations

from django.urls import reverse
from django.utils.crypto import salted_hmac

from auth_app.models import ApiKeyCredits

# Hexadecimal digits: enough for the keys of one user, and nobody who reads them can try keys out without SECRET_KEY.
LENGTH = 16


def digest(api_key: str) -> str:
    """What stands for the key in an address; another SECRET_KEY makes another."""
    return salted_hmac("fltr_project.admin.keys", api_key, algorithm="sha256").hexdigest()[:LENGTH]


def address(user_id: str, api_key: str) -> str:
    return reverse("admin:auth_app_apikeycredits_page", args=[user_id, digest(api_key)])


def find(user_id: str, wanted: str) -> ApiKeyCredits | None:
    """The user's key with this digest, read from the user's keys, which have an index."""
    keys = (
        ApiKeyCredits.objects.using("auth").filter(user_id=user_id).select_related("user", "team")
    )
    return next((key for key in keys if digest(key.pk) == wanted), None)
