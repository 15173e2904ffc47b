"""Requests to running applications, as a browser or a script sends them. No redirect is followed."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from fltr_project.words import visible

from .context import Wrong

# Seconds that an application has to answer; a server without a build compiles a page when it is first asked for.
PATIENCE = 30
# Bytes of an answer that are read.
LARGEST = 1_000_000


@dataclass(frozen=True)
class Answer:
    # The request, for sentences.
    request: str
    status: int
    # Parsed where it is JSON.
    body: Any
    cookies: Mapping[str, str]
    headers: Mapping[str, str]

    def describe(self) -> str:
        """The request, the status and what the application says, in one line of people's length."""
        said = self.body if isinstance(self.body, str) else json.dumps(self.body)
        if self.status in range(300, 400):
            said = f"leads to {self.headers.get('location', 'nowhere')}; name that address"
        return f"{self.request} answers {self.status}" + (f": {short(said)}" if said else "")

    def require(self, *statuses: int) -> None:
        """Raise Wrong where the status is none of these."""
        if self.status not in statuses:
            raise Wrong(self.describe())

    def field(self, *names: str) -> Any:
        """The first of the fields that the body has, at its top or under ``data``, or None."""
        for place in (self.body, self.body.get("data") if isinstance(self.body, dict) else None):
            for name in names:
                if isinstance(place, dict) and name in place:
                    return place[name]
        return None


@dataclass(frozen=True)
class Site:
    # Without a slash at its end.
    url: str

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request. Raises Wrong where there is no answer of HTTP in ``PATIENCE`` seconds."""
        name = f"{method} {self.url}{path}"
        sent = {"Accept": "application/json", "User-Agent": "clean-slate", **(headers or {})}
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        if cookies:
            sent["Cookie"] = "; ".join(f"{key}={value}" for key, value in cookies.items())
        # The address was checked to be http or https.
        request = urllib.request.Request(  # noqa: S310
            self.url + path, data=data, headers=sent, method=method
        )
        try:
            try:
                response = _opener().open(request, timeout=PATIENCE)
            except urllib.error.HTTPError as refused:
                response = refused
            with response:
                return _answer(name, response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            said = short(str(reason)) or type(reason).__name__
            raise Wrong(f"{name} does not answer ({said})") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirect)


def _answer(name: str, response: Any) -> Answer:
    raw = response.read(LARGEST)
    # A read with a limit does not tell that the connection has ended before the answer.
    promised = response.headers.get("Content-Length") or ""
    if promised.isdecimal() and len(raw) < min(int(promised), LARGEST):
        raise http.client.IncompleteRead(raw, int(promised) - len(raw))
    text = raw.decode(errors="replace")
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    headers = {key.lower(): value for key, value in response.headers.items()}
    cookies: dict[str, str] = {}
    for line in response.headers.get_all("Set-Cookie") or ():
        try:
            cookies |= {key: morsel.coded_value for key, morsel in SimpleCookie(line).items()}
        except CookieError:
            continue
    return Answer(name, response.status, body, cookies, headers)


def short(text: str) -> str:
    """In one line of 200 characters at most, without what a terminal would obey."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= 200 else f"{line[:200]}..."
