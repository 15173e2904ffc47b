"""What an application answers that does not do as it should is one sentence."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from auth_app.smoke.context import Wrong
from auth_app.smoke.sites import Site
from tests.conftest import Databases, Outcome


@contextmanager
def answering(raw: bytes) -> Iterator[str]:
    """The address of a server that answers every request with these bytes and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(65_536)
                    client.sendall(raw)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_told(raw: bytes) -> None:
    with (
        answering(raw) as url,
        pytest.raises(Wrong, match=rf"^GET {url}/health does not answer \(.+\)$"),
    ):
        Site(url).ask("GET", "/health")


def test_a_redirect_is_told_and_not_followed() -> None:
    raw = b"HTTP/1.1 308 Moved\r\nLocation: https://fltr.example/\r\nContent-Length: 0\r\n\r\n"
    with answering(raw) as url:
        answer = Site(url).ask("GET", "/health")
        assert answer.status == 308
        with pytest.raises(Wrong, match=r"leads to https://fltr\.example/; name that address"):
            answer.require(200)


def test_what_it_says_is_shown_in_one_line_and_does_nothing_to_a_terminal(
    databases: Databases, run: Callable[..., Outcome]
) -> None:
    body = b"\x1b[31m\r\nall is well\x07" + b"x" * 5_000
    raw = b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with answering(raw) as url:
        outcome = run("smoke_apps", "--web", url, "--api", url)
    assert outcome.code == 1
    (line,) = [each for each in outcome.out.splitlines() if "API is healthy" in each]
    assert "answers 500: \\x1b[31m all is well" in line
    assert "\x1b" not in outcome.out
    assert "\x07" not in outcome.out
    assert len(line) < 400


def test_cookies_of_a_hostile_server_are_no_trouble() -> None:
    cookies = b"".join(
        b"Set-Cookie: %s\r\n" % each
        for each in (b"a=1; Path=/", b"\xff\xfe", b"=", b"b=2; Expires=never", b"c;d")
    )
    raw = b"HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\n{}" % cookies
    with answering(raw) as url:
        answer = Site(url).ask("GET", "/health")
    assert answer.cookies == {"a": "1", "b": "2"}
