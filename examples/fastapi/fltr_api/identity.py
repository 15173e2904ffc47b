"""Who asks: a session of Better Auth, by cookie or bearer token, or an API key."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Request
from sqlalchemy import func
from sqlmodel import select

from .databases import Databases
from .generated.auth import ApiKeyCredits, Session
from .problems import Refused
from .settings import Settings

# Better Auth prefixes the name where it is served over HTTPS.
COOKIES = ("__Secure-better-auth.session_token", "better-auth.session_token")


@dataclass(frozen=True)
class Identity:
    user_id: str
    # The key that pays, if one was used, as the database knows it.
    api_key: str | None = None


def databases(request: Request) -> Databases:
    found: Databases = request.app.state.databases
    return found


def settings(request: Request) -> Settings:
    found: Settings = request.app.state.settings
    return found


async def identify(
    request: Request,
    databases: Annotated[Databases, Depends(databases)],
    settings: Annotated[Settings, Depends(settings)],
) -> Identity:
    """Who asks. Raises Refused (401) for everybody else, and does not say why."""
    if key := request.headers.get("x-api-key"):
        return await _by_key(stored_key(key), databases)
    token = session_token(signed(request), settings.better_auth_secret)
    if token is None:
        raise UNKNOWN
    # Better Auth writes times of UTC into columns without a time zone.
    live = select(Session.user_id).where(
        Session.token == token, Session.expires_at > func.timezone("utc", func.now())
    )
    async with databases.in_auth() as session:
        user_id = (await session.exec(live)).one_or_none()
    if user_id is None:
        raise UNKNOWN
    return Identity(user_id)


def signed(request: Request) -> str:
    """The signed token that the request carries, or an empty text."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return unquote(token.strip())
    return next((unquote(request.cookies[name]) for name in COOKIES if name in request.cookies), "")


def session_token(signed: str, secret: str) -> str | None:
    """The token of ``TOKEN.SIGNATURE``, which Better Auth signs with HMAC-SHA256; None if it is not its."""
    token, _, signature = signed.rpartition(".")
    # A token is 32 letters and digits; what PostgreSQL would refuse is none.
    if not token.isascii() or not token.isalnum():
        return None
    digest = hmac.new(secret.encode(), token.encode(), hashlib.sha256).digest()
    right = base64.b64encode(digest)
    return token if hmac.compare_digest(signature.encode(errors="replace"), right) else None


def stored_key(key: str) -> str:
    """How the database knows an API key: by its hash, so that who reads the table cannot use it."""
    return "sha256:" + hashlib.sha256(key.encode(errors="replace")).hexdigest()


async def _by_key(stored: str, databases: Databases) -> Identity:
    async with databases.in_auth() as session:
        found = await session.get(ApiKeyCredits, stored)
    if found is None or not hmac.compare_digest(found.api_key, stored):
        raise UNKNOWN
    return Identity(found.user_id, found.api_key)


UNKNOWN = Refused(401, "unauthorized", "sign in, or send an API key")
Known = Annotated[Identity, Depends(identify)]
InDatabases = Annotated[Databases, Depends(databases)]
InSettings = Annotated[Settings, Depends(settings)]
